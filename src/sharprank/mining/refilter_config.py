"""What `sharprank filter` can be told, and what of it cannot work. Loads nothing."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from sharprank.errors import UserError
from sharprank.formats.rows import RowKeys
from sharprank.formats.writers import check_apart
from sharprank.mining.checks import check_scores
from sharprank.mining.config import PRESETS
from sharprank.retrieval.filters import ScoreRule

_CHANGE_NO_BYTE = {"output_file", "overwrite"}


def _flag(help_text: str, default: Any = None) -> Any:
    return field(default=default, metadata={"help": help_text})


@dataclass(kw_only=True)
class RefilterConfig:
    """The flags of `sharprank filter`."""

    input_file: str = field(metadata={"help": "mined rows with neg_similarity (mine) or neg_scores (mine --teacher)"})
    output_file: str = field(metadata={"help": "the same rows with fewer negatives, as JSON lines (.gz understood)"})
    sub_data_name: str | None = _flag("subset (configuration) of the dataset that --input_file names")
    false_negatives: Literal["none", "topk_abs", "topk_marginpos", "topk_percpos"] = _flag(
        "NV-Retriever's rules on cosines, as in mine", "none"
    )
    max_score: float | None = _flag("drop negatives whose cosine is above this")
    min_score: float | None = _flag("drop negatives whose cosine is below this")
    absolute_margin: float | None = _flag("drop negatives that come within this of the lowest positive's cosine")
    relative_margin: float | None = _flag(
        "drop cosines of at least pos - |pos| * this, pos being the lowest positive's"
    )
    teacher_margin: float | None = _flag("drop what the teacher scores (raw) within this of the row's lowest positive")
    negative_number: int | None = _flag("negatives that a row keeps at most, drawn by --seed; default all")
    seed: int = _flag("another seed, another draw", 42)
    on_bad_row: Literal["error", "skip"] = _flag("stop at a bad row, or skip and count it", "error")
    overwrite: bool = _flag("filter again even if the output exists", False)
    query_key: str = _flag("name of the query in the rows", "query")
    positive_key: str = _flag("name of the positives", "pos")
    negative_key: str = _flag("name of the negatives", "neg")
    pos_scores_key: str = _flag("name of the positives' teacher scores", "pos_scores")
    neg_scores_key: str = _flag("name of the negatives' teacher scores", "neg_scores")

    @property
    def keys(self) -> RowKeys:
        """Names of the fields."""
        return RowKeys.of_flags(self)

    @property
    def score_rule(self) -> ScoreRule:
        """What cosines decide."""
        own = ScoreRule(self.max_score, self.min_score, self.absolute_margin, self.relative_margin)
        return own.over(PRESETS[self.false_negatives])

    def check(self) -> None:
        """Refuse what cannot work, before anything is read.

        Raises:
            UserError: naming the flag.
        """
        if not self.score_rule and self.teacher_margin is None and self.negative_number is None:
            raise UserError("nothing to filter by", fix="use --relative_margin 0.05, --teacher_margin 0, ...")
        check_scores(self)
        if self.negative_number is not None and self.negative_number < 1:
            raise UserError(f"--negative_number {self.negative_number} is less than 1", fix="use 1 or more")
        check_apart({"output_file": self.output_file}, [("--input_file", self.input_file)])

    def settings(self) -> dict[str, Any]:
        """All that decides the bytes of the output, the contents of the input apart."""
        return {name: value for name, value in asdict(self).items() if name not in _CHANGE_NO_BYTE}
