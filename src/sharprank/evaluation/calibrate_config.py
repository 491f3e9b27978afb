"""What `sharprank calibrate` is told, and what it refuses before anything is read or loaded."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from sharprank.errors import UserError
from sharprank.evaluation.config import EvaluationConfig, as_in_evaluate, shared_settings

_ONLY_HERE = ("model_name_or_path", "output_file", "output_format", "overwrite")


@dataclass(kw_only=True)
class CalibrateConfig:
    """Flags of `sharprank calibrate`."""

    model_name_or_path: str = field(metadata={"aliases": ["-m"], "help": "a reranker: a folder or a hub id"})
    data: str = field(
        metadata={
            "aliases": ["-d"],
            "help": "validation rows {query, pos, neg}, or a collection folder; never test data",
        }
    )
    sub_data_name: str | None = as_in_evaluate("sub_data_name")
    split: str | None = as_in_evaluate("split", "split (default for rows: validation)")
    run: str | None = as_in_evaluate("run", "collection: TREC run with the passages to judge (default: --first_stage)")
    first_stage: str = as_in_evaluate("first_stage")
    embedding_cache: str | None = as_in_evaluate("embedding_cache")
    depth: int = as_in_evaluate("depth", "collection: passages of each query that are judged")
    precision: float | None = field(
        default=None, metadata={"help": "threshold for at least this precision (default: the threshold of best F1)"}
    )
    recall: float | None = field(default=None, metadata={"help": "threshold for at least this recall"})
    output_file: str | None = field(
        default=None,
        metadata={
            "help": "where the calibration goes (default: into the model's folder, where it is found by itself); "
            "needed for a hub id"
        },
    )
    overwrite: bool = field(default=False, metadata={"help": "replace an --output_file that other settings made"})
    max_length: int | None = as_in_evaluate("max_length")
    query_key: str = as_in_evaluate("query_key")
    positive_key: str = as_in_evaluate("positive_key")
    negative_key: str = as_in_evaluate("negative_key")
    on_bad_row: Literal["error", "skip"] = as_in_evaluate("on_bad_row")
    output_format: Literal["text", "json"] = field(default="text", metadata={"help": "what is printed"})
    dry_run: bool = field(default=False, metadata={"help": "print the figures, store nothing"})
    device: str | None = as_in_evaluate("device")
    dtype: str | None = as_in_evaluate("dtype")
    trust_remote_code: bool = as_in_evaluate("trust_remote_code")
    seed: int = as_in_evaluate("seed", "seed of the folds for held-out errors")

    def check(self) -> None:
        """Refuse what cannot work.

        Raises:
            UserError: naming the flag.
        """
        self.evaluation().check()
        for name in ("precision", "recall"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= 1:
                raise UserError(f"--{name} {value} cannot be reached", fix=f"use 0 < {name} <= 1")
        if self.precision is not None and self.recall is not None:
            raise UserError("--precision and --recall ask for two thresholds", fix="leave one of them out")

    def place(self, file_name: str) -> Path | None:
        """Where the calibration goes: the file named, or the model's own folder; None when nothing is stored.

        Raises:
            UserError: the model is no folder, and no file is named.
        """
        if self.dry_run:
            return None
        if self.output_file is not None:
            return Path(self.output_file)
        folder = Path(self.model_name_or_path).expanduser()
        if not folder.is_dir():
            raise UserError(
                f"model {self.model_name_or_path} is no folder of yours, so its calibration needs a place",
                fix="name a file with --output_file; `sharprank rerank` and `evaluate` take it as --calibration, "
                "Reranker.from_pretrained as calibration=",
            )
        return folder / file_name

    def evaluation(self) -> EvaluationConfig:
        """The same data, read and scored as `sharprank evaluate` does."""
        shared = {name: value for name, value in shared_settings(self).items() if name not in _ONLY_HERE}
        return EvaluationConfig(model_name_or_path=[self.model_name_or_path], **shared)
