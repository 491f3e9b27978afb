"""What a training run is told about its data: where it is, how its fields are called, what labels are worth."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from sharprank.errors import UserError, check_read
from sharprank.formats.groups import paths_read
from sharprank.formats.sources import Source

MEASURED_SPLIT = "test"
"""Of data to measure on, where it has several and none is named."""

_FLAGS_OF_OTHERS = {
    "eval_sub_data_name": "eval_data",
    "eval_split": "eval_data",
    "eval_run": "eval_data",
    "test_run": "test_data",
}
"""Flags that only say how what another flag names is read."""


def _flag(help_text: str, default: Any = None) -> Any:
    return field(default=default, metadata={"help": help_text})


@dataclass(kw_only=True)
class DataOptions:
    """What to train and to measure on."""

    train_data: str = field(
        metadata={
            "help": "rows {query, pos, neg}, graded pairs {query, doc, label}, lists {query, docs, scores}, or a "
            "collection: a file, a folder, or a Hugging Face dataset (hub id or folder)"
        }
    )
    sub_data_name: str | None = _flag("subset (configuration) of the dataset")
    train_split: str | None = _flag("split of the training data, where there are several (default: train)")
    train_run: str | None = _flag("TREC run whose candidates are a collection's negatives, where nobody judged them")
    validation_split: float | None = _flag(
        "share of the queries to rank during training instead of learning from them; by default a tenth of 500 or more "
        "(at most 500) is kept for the comparison at the end, where there is a first stage to compare with; 0: none"
    )
    eval_data: str | None = _flag("data in any of the forms to rank during training: all passages of each query")
    eval_sub_data_name: str | None = _flag("subset of the evaluation dataset")
    eval_split: str | None = _flag("split of the evaluation data (default: test)")
    eval_run: str | None = _flag("TREC run for evaluation data that is a collection")
    test_data: str | None = _flag("data in any of the forms, measured once at the end with the model that is kept")
    test_run: str | None = _flag("TREC run for test data that is a collection")
    run_depth: int = _flag("candidates of a run that are taken for each query", 100)
    train_group_size: int = _flag("passages a query and step: 1 positive, the rest negatives", 8)
    positives_per_group: int | None = _flag(
        "positives among them; default 1, or with graded labels every grade in turn"
    )
    max_len: int | None = _flag("tokens of a pair; default as trained, else 512 or the model's limit")
    query_max_len: int | None = _flag("tokens a query keeps; default 3/4 of max_len")
    query_key: str = _flag("name of the query field", "query")
    positive_key: str = _flag("name of the positives field", "pos")
    negative_key: str = _flag("name of the negatives field", "neg")
    pos_scores_key: str = _flag("name of the positives' teacher scores", "pos_scores")
    neg_scores_key: str = _flag("name of the negatives' teacher scores", "neg_scores")
    passage_key: str | None = _flag("name of the text in graded pairs; default doc, document, passage or text")
    passages_key: str | None = _flag("name of the texts in lists; default docs, documents or passages")
    label_key: str | None = _flag("name of the label in graded pairs; default label or relevance")
    label_map: str | None = _flag("relevance (0 to 1) of each label: 3=1,2=0.75,1=0.5,0=0.25; default linear")
    min_label: float = _flag("label of relevance 0 on the linear scale", 0.0)
    max_label: float | None = _flag("label of relevance 1 on the linear scale; default the highest in the data")
    scores_are: Literal["label", "teacher"] | None = _flag(
        "what scores without labels are; default labels in lists, a teacher's in rows"
    )
    on_bad_row: str = _flag("error: stop at the first bad row; skip: skip and count", "error")

    def check(self) -> None:
        """Refuse what cannot work, before anything is read."""
        if self.train_group_size < 2:
            raise UserError(
                f"--train_group_size {self.train_group_size} leaves no room for a negative",
                fix="use --train_group_size 2 or more (8 is the default)",
            )
        if self.positives_per_group is not None and not 0 < self.positives_per_group < self.train_group_size:
            raise UserError(
                f"--positives_per_group {self.positives_per_group} in groups of {self.train_group_size}",
                fix=f"use a number from 1 to {self.train_group_size - 1}",
            )
        if self.on_bad_row not in ("error", "skip"):
            raise UserError(f"--on_bad_row {self.on_bad_row!r} is unknown", fix="use error or skip")
        if self.run_depth < 1:
            raise UserError(f"--run_depth {self.run_depth} takes no candidate", fix="use --run_depth 1 or more")
        check_read(self, _FLAGS_OF_OTHERS)
        self._check_validation()

    def _check_validation(self) -> None:
        if not self.validation_split:
            return
        if not 0 < self.validation_split < 1:
            raise UserError(f"--validation_split {self.validation_split} is no share", fix="use 0.1 for a tenth")
        if self.eval_data is not None:
            raise UserError("--validation_split and --eval_data both say what to rank", fix="leave one of them out")

    @property
    def has_evaluation(self) -> bool:
        """Whether anything is ranked during training."""
        return self.eval_data is not None or bool(self.validation_split)

    @property
    def train_source(self) -> Source:
        """Where the training data is."""
        return Source(self.train_data, self.sub_data_name, self.train_split)

    @property
    def eval_source(self) -> Source | None:
        """Where the data is that is ranked during training."""
        return None if self.eval_data is None else Source(self.eval_data, self.eval_sub_data_name, self.eval_split)

    def train_paths(self) -> list[str]:
        """What is read to train on."""
        return [*paths_read(self.train_source), *([self.train_run] if self.train_run else [])]

    def eval_paths(self) -> list[str]:
        """What is read to measure on during training."""
        read = [] if self.eval_source is None else paths_read(self.eval_source, default_split=MEASURED_SPLIT)
        return [*read, *([self.eval_run] if self.eval_run else [])]

    @property
    def first_stage_run(self) -> str | None:
        """The run that gives the queries which are measured their first-stage scores."""
        return self.train_run if self.eval_data is None else self.eval_run
