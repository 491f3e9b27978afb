"""What `sharprank audit` can be told. Loads nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from sharprank.errors import UserError
from sharprank.formats.rows import RowKeys
from sharprank.formats.sources import Source
from sharprank.retrieval.filters import NEAR_DUPLICATE


def _flag(help_text: str, default: Any = None) -> Any:
    return field(default=default, metadata={"help": help_text})


@dataclass(kw_only=True)
class AuditConfig:
    """The flags of `sharprank audit`."""

    input_file: str = field(metadata={"help": "mined rows {query, pos, neg, ...}: a file, a folder, or a hub dataset"})
    sub_data_name: str | None = _flag("subset (configuration) of the dataset that --input_file names")
    near_duplicate: float = _flag(
        "overlap (Jaccard, 3-token shingles) from which two texts are near-duplicates; 2 switches it off",
        NEAR_DUPLICATE,
    )
    examples: int = _flag("findings shown of each kind", 3)
    output_format: Literal["text", "json"] = _flag("what is printed; json lists every finding", "text")
    query_key: str = _flag("name of the query in the rows", "query")
    positive_key: str = _flag("name of the positives", "pos")
    negative_key: str = _flag("name of the negatives", "neg")
    pos_scores_key: str = _flag("name of the positives' teacher scores", "pos_scores")
    neg_scores_key: str = _flag("name of the negatives' teacher scores", "neg_scores")

    @property
    def source(self) -> Source:
        """What is read."""
        return Source(self.input_file, self.sub_data_name)

    @property
    def keys(self) -> RowKeys:
        """Names of the fields."""
        return RowKeys.of_flags(self)

    def check(self) -> None:
        """Refuse what cannot work.

        Raises:
            UserError: naming the flag.
        """
        if not self.near_duplicate > 0:
            raise UserError(
                f"--near_duplicate {self.near_duplicate} would call all texts near-duplicates",
                fix="use a value above 0: 0.8 is the default, 2 switches it off",
            )
        if self.examples < 0:
            raise UserError(f"--examples {self.examples} is less than 0", fix="use 0 or more")
