"""What `sharprank compare` is told, and what it refuses before anything is read."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from sharprank.errors import UserError, check_seed
from sharprank.metrics.ranking import check_measures


@dataclass(kw_only=True)
class CompareConfig:
    """Flags of `sharprank compare`."""

    systems: list[str] = field(
        metadata={"help": "files of `sharprank evaluate --output_file`, or TREC runs; the first is the baseline"}
    )
    data: str | None = field(
        default=None, metadata={"aliases": ["-d"], "help": "runs: the collection folder with judgements and texts"}
    )
    split: str | None = field(default=None, metadata={"help": "split of the collection's judgements (default: test)"})
    qrels: str | None = field(default=None, metadata={"help": "runs: a file of judgements, in the place of --data"})
    measures: list[str] | None = field(
        default=None,
        metadata={"help": "ir-measures names; the first is the headline (default: nDCG@10 MRR@10 MAP Hit@1)"},
    )
    worst: int = field(default=5, metadata={"help": "queries shown that got worse, per pair"})
    depths: list[int] = field(
        default_factory=lambda: [5, 10, 20, 50, 100],
        metadata={"help": "runs: re-ranking only so many of the baseline's passages, what would be left of the gain?"},
    )
    output_format: Literal["text", "markdown", "json"] = field(default="text", metadata={"help": "what is printed"})
    output_file: str | None = field(default=None, metadata={"help": "JSON file with everything, all queries included"})
    overwrite: bool = field(default=False, metadata={"help": "replace an output that other settings made"})
    seed: int = field(default=0, metadata={"help": "seed of the tests and intervals"})

    def check(self) -> None:
        """Refuse what cannot work.

        Raises:
            UserError: naming the flag.
        """
        if not self.systems:
            raise UserError("nothing to compare", fix="sharprank compare A.json B.json, or A.trec B.trec --data FOLDER")
        places = [str(Path(system).resolve()) for system in self.systems]
        twice = next((name for name, place in zip(self.systems, places, strict=True) if places.count(place) > 1), None)
        if twice is not None:
            raise UserError(f"{twice} is named twice", fix="name each system once")
        if self.data is not None and self.qrels is not None:
            raise UserError("--data and --qrels both name judgements", fix="leave one of them out")
        if self.worst < 0:
            raise UserError(f"--worst {self.worst} is negative", fix="use 0 or more")
        if any(depth < 1 for depth in self.depths):
            raise UserError(f"--depths {min(self.depths)} re-ranks nothing", fix="use depths of 1 or more")
        if self.measures is not None and not self.measures:
            raise UserError("--measures names no measure", fix="name some, or leave the flag out")
        check_measures(self.measures or ())
        check_seed(self.seed)
