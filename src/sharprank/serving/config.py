"""What `sharprank rerank` is told, and the combinations it refuses before anything is read or loaded."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from sharprank.errors import UserError
from sharprank.formats.calibration import check_calibration
from sharprank.formats.collections import text_paths
from sharprank.formats.fusion import check_weight

STDIN = "-"
PASSAGE_KEYS = ("kowndges", "knowledges", "documents", "docs", "passages")


@dataclass(kw_only=True)
class RerankConfig:
    """Flags of `sharprank rerank`."""

    model_name_or_path: str = field(
        metadata={"aliases": ["-m", "--model_dir"], "help": "a reranker: folder, hub id, or 'minilm'"}
    )
    data: str = field(
        metadata={
            "aliases": ["-d", "--data_path"],
            "help": "objects {query, documents} (.json, .jsonl, .gz; '-': JSON lines from stdin), or with --run the "
            f"folder with corpus.jsonl and queries.jsonl. The list may be named {', '.join(PASSAGE_KEYS)}",
        }
    )
    run: str | None = field(default=None, metadata={"help": "TREC run to re-rank, whose texts --data holds"})
    depth: int | None = field(
        default=None, metadata={"help": "with --run: passages of each query that are re-ranked (default: all)"}
    )
    first_stage_weight: str | None = field(
        default=None,
        metadata={
            "help": "with --run: what its scores count beside the model's (0 to 1, both standardised over a query's "
            "candidates), or auto: as fitted in training (fusion.json in the model's folder)"
        },
    )
    output_file: str | None = field(
        default=None, metadata={"help": "where the result goes (default: stdout); an interrupted job continues"}
    )
    output_format: Literal["list", "rows", "ranking", "trec"] | None = field(
        default=None,
        metadata={
            "help": "list: the scores in input order (default for .json); rows: the object as it was, with 'scores' "
            "(default); ranking: best first (default with --top_k); trec (default with --run)"
        },
    )
    top_k: int | None = field(default=None, metadata={"help": "only the best of each query"})
    scores: Literal["probability", "raw"] | None = field(
        default=None,
        metadata={"help": "probability: between 0 and 1, calibrated if the model is (default); raw (default for trec)"},
    )
    calibration: str | None = field(
        default=None,
        metadata={"help": "file of `sharprank calibrate --output_file` (default: what lies in the model's folder)"},
    )
    long_passages: Literal["cut", "split"] = field(
        default="cut",
        metadata={"help": "cut: read their beginning, as in training; split: read windows, the best one counts"},
    )
    max_length: int | None = field(
        default=None, metadata={"help": "tokens of a pair (default: as trained, else 512 or the model's limit)"}
    )
    overlap: int = field(default=50, metadata={"help": "tokens that two windows share"})
    max_windows: int = field(default=100, metadata={"help": "windows of one passage at most"})
    query_key: str = field(default="query", metadata={"help": "name of the query field"})
    passages_key: str | None = field(
        default=None, metadata={"help": "name of the field with the passages (default: the first known name)"}
    )
    on_bad_row: Literal["error", "skip"] = field(
        default="error", metadata={"help": "error: stop at the first bad object; skip: leave it out and count it"}
    )
    overwrite: bool = field(default=False, metadata={"help": "replace an output that other settings made"})
    device: str | None = field(default=None, metadata={"help": "cpu, cuda, cuda:1, mps (default: the best there is)"})
    dtype: str | None = field(default=None, metadata={"help": "float32, bfloat16, float16 or auto"})
    trust_remote_code: bool = field(default=False, metadata={"help": "run code that comes with the model"})

    def check(self) -> None:
        """Refuse what cannot work, before anything is read.

        Raises:
            UserError: naming the flag.
        """
        for name in ("top_k", "depth", "max_windows"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"--{name} {value} leaves nothing", fix=f"use --{name} 1 or more, or leave it out")
        if self.calibration is not None:
            check_calibration(self.calibration)
            if not self.gives_probabilities:
                raise UserError(
                    "--calibration has no say in raw scores", fix="leave it out, or use --scores probability"
                )
        if self.overlap < 0:
            raise UserError(f"--overlap {self.overlap} is negative", fix="use 0 or more")
        if self.top_k is not None and self.output_format in ("list", "rows"):
            raise UserError(
                f"--output_format {self.output_format} gives every score in input order, so --top_k has no place",
                fix="use --output_format ranking, or leave --top_k out",
            )
        if self.run is not None and self.data == STDIN:
            raise UserError("--run needs texts, and --data is stdin", fix="name the folder with corpus and queries")
        if self.run is None and len(text_paths(self.data)) == 2:
            raise UserError(
                f"--data {self.data} holds the texts of a run, and no run is named",
                fix="add --run FILE, or name objects with a query and its passages",
            )
        if self.depth is not None and self.run is None:
            raise UserError("--depth belongs to --run", fix="leave it out, or use --top_k")
        self._check_fusion()
        if self.data == STDIN and self.output_file:
            raise UserError(
                "what comes from stdin goes to stdout, --output_file has no place", fix="use > FILE, or name the input"
            )

    def _check_fusion(self) -> None:
        check_weight(self.first_stage_weight)
        if self.first_stage_weight is None:
            return
        if self.run is None:
            raise UserError("--first_stage_weight belongs to --run", fix="leave it out, or name the run")
        if self.gives_probabilities:
            raise UserError("fused scores are no probabilities", fix="use --scores raw, or no --first_stage_weight")

    @property
    def format(self) -> str:
        """The output format, chosen by the input where it is not given."""
        if self.output_format is not None:
            return self.output_format
        if self.run is not None:
            return "trec"
        if self.top_k is not None:
            return "ranking"
        return "list" if Path(self.data.removesuffix(".gz")).suffix == ".json" else "rows"

    @property
    def gives_probabilities(self) -> bool:
        return self.scores == "probability" if self.scores is not None else self.format != "trec"

    def settings(self) -> dict[str, Any]:
        """The settings that decide the result."""
        own = {key: value for key, value in asdict(self).items() if key not in ("output_file", "overwrite", "device")}
        return {**own, "output_format": self.format, "scores": "probability" if self.gives_probabilities else "raw"}
