"""What `sharprank calibrate` is told, and what it refuses before anything is read or loaded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from sharprank.errors import UserError
from sharprank.evaluation.config import EvaluationConfig


@dataclass(kw_only=True)
class CalibrateConfig:
    """Flags of `sharprank calibrate`."""

    model_name_or_path: str = field(metadata={"aliases": ["-m"], "help": "the reranker's folder"})
    data: str = field(
        metadata={
            "aliases": ["-d"],
            "help": "validation rows {query, pos, neg}, or a collection folder; never test data",
        }
    )
    sub_data_name: str | None = field(
        default=None, metadata={"aliases": ["-sd"], "help": "subset: a dataset's configuration, or a sub-folder"}
    )
    split: str | None = field(default=None, metadata={"help": "split (default for rows: validation)"})
    run: str | None = field(default=None, metadata={"help": "collection: first-stage run to judge (default: BM25)"})
    depth: int = field(default=100, metadata={"help": "collection: passages of each query that are judged"})
    precision: float | None = field(
        default=None, metadata={"help": "threshold for at least this precision (default: the threshold of best F1)"}
    )
    recall: float | None = field(default=None, metadata={"help": "threshold for at least this recall"})
    max_length: int | None = field(
        default=None, metadata={"help": "tokens of a pair (default: as trained, else 512 or the model's limit)"}
    )
    query_key: str = field(default="query", metadata={"help": "name of the query field"})
    positive_key: str = field(default="pos", metadata={"help": "name of the positives field"})
    negative_key: str = field(default="neg", metadata={"help": "name of the negatives field"})
    on_bad_row: Literal["error", "skip"] = field(
        default="error", metadata={"help": "error: stop at the first bad row; skip: leave it out and count it"}
    )
    output_format: Literal["text", "json"] = field(default="text", metadata={"help": "what is printed"})
    dry_run: bool = field(default=False, metadata={"help": "print the figures, store nothing"})
    device: str | None = field(default=None, metadata={"help": "cpu, cuda, cuda:1, mps (default: the best there is)"})
    dtype: str | None = field(default=None, metadata={"help": "float32, bfloat16, float16 or auto"})
    trust_remote_code: bool = field(default=False, metadata={"help": "run code that comes with the model"})
    seed: int = field(default=0, metadata={"help": "seed of the folds for held-out errors"})

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

    def evaluation(self) -> EvaluationConfig:
        """The same data, read and scored as `sharprank evaluate` does."""
        shared: dict[str, Any] = {
            name: getattr(self, name)
            for name in EvaluationConfig.__dataclass_fields__
            if name in self.__dataclass_fields__ and name not in ("model_name_or_path", "output_format")
        }
        return EvaluationConfig(model_name_or_path=[self.model_name_or_path], **shared)
