"""Training rows: {query, pos, neg, pos_scores, neg_scores, prompt}, checked one by one where their line is known.

In tables a list stands in its cell as JSON (`["a", "b"]`) or as Python or numpy prints it; any other cell is one text.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sharprank.errors import UserError
from sharprank.formats.bad_rows import BadRows, shown
from sharprank.formats.collections import is_collection
from sharprank.formats.fields import BadField, query_in, score_list, scores_in, texts_in, with_lists
from sharprank.formats.sources import Source, iter_records
from sharprank.progress import say
from sharprank.records import Record, TrainRow

__all__ = ["NEGATIVE_SIMILARITY", "POSITIVE_SIMILARITY", "BadRows", "RowKeys", "parse_row", "read_rows"]

NEGATIVE_SIMILARITY, POSITIVE_SIMILARITY = "neg_similarity", "pos_similarity"
"""What `sharprank mine` writes beside the texts: their cosines with the query."""


@dataclass(frozen=True)
class RowKeys:
    """Names of the fields in the user's data."""

    query: str = "query"
    positives: str = "pos"
    negatives: str = "neg"
    pos_scores: str = "pos_scores"
    neg_scores: str = "neg_scores"
    prompt: str = "prompt"

    @classmethod
    def of_flags(cls, flags: Any) -> RowKeys:
        """The names that a stage's flags give; where it has no flag for a field, the usual one."""
        usual = cls()
        return cls(
            query=flags.query_key,
            positives=flags.positive_key,
            negatives=flags.negative_key,
            pos_scores=getattr(flags, "pos_scores_key", usual.pos_scores),
            neg_scores=getattr(flags, "neg_scores_key", usual.neg_scores),
        )


def read_rows(
    source: Source,
    *,
    keys: RowKeys = RowKeys(),
    bad_rows: BadRows | None = None,
    default_split: str | None = "train",
) -> Iterator[TrainRow]:
    """The rows of a source, checked.

    Raises:
        UserError: the first bad row (unless bad rows are skipped), or no row at all.
    """
    _refuse_collection(source)
    bad_rows = bad_rows or BadRows()
    told_of_single_texts = found = False
    for record in iter_records(source, default_split=default_split, bad_rows=bad_rows):
        row = parse_row(record, keys=keys, bad_rows=bad_rows)
        if row is None:
            continue
        if not told_of_single_texts and row.positives == (record.fields[keys.positives],):
            say(f"note: {record.place}: {keys.positives!r} is a text, not a list; such a text counts as one positive")
            told_of_single_texts = True
        found = True
        yield row
    if not found:
        raise no_rows(source, keys, bad_rows)


def _refuse_collection(source: Source) -> None:
    folder = Path(source.path).expanduser()
    if source.subset is None and is_collection(folder):
        raise UserError(
            f"{folder} is a collection (corpus, queries, judgements), not rows",
            fix="name the file of rows, if it has one",
        )


def no_rows(source: Source, keys: RowKeys, bad_rows: BadRows) -> UserError:
    """The error for a source without any row that can be used."""
    reasons = ", ".join(f"{count} {reason}" for reason, count in bad_rows.counts.most_common())
    return UserError(
        f"{source} holds no usable row" + (f" (skipped: {reasons})" if reasons else ""),
        fix=f"give it rows with {keys.query!r} and {keys.positives!r}",
    )


def parse_row(record: Record, *, keys: RowKeys, bad_rows: BadRows) -> TrainRow | None:
    """One record as a row; None when it is bad and bad rows are skipped.

    Raises:
        UserError: it is bad and bad rows are not skipped.
    """
    try:
        return _parse(record, keys)
    except BadField as bad:
        bad_rows.reject(record.place, bad.problem, fix=bad.fix, reason=bad.reason)
        return None


def _parse(record: Record, keys: RowKeys) -> TrainRow:
    fields = with_lists(
        record, text_keys=(keys.positives, keys.negatives), score_keys=(keys.pos_scores, keys.neg_scores)
    )
    query = query_in(fields, keys.query)
    positives = texts_in(fields, keys.positives)
    if not positives:
        name = repr(keys.positives)
        problem = f"{name} is {_empty(fields[keys.positives])}" if keys.positives in fields else f"no field {name}"
        raise BadField(problem, fix=f"give {name} at least one text", reason="no positives")
    negatives = texts_in(fields, keys.negatives)
    return TrainRow(
        query=query,
        positives=positives,
        negatives=negatives,
        pos_scores=scores_in(fields, keys.pos_scores, len(positives), keys.positives),
        neg_scores=scores_in(fields, keys.neg_scores, len(negatives), keys.negatives),
        prompt=_prompt(fields, keys.prompt),
        place=record.place,
        fields=fields,
    )


Similarities = tuple[float | None, ...]


def similarities_of(row: TrainRow) -> tuple[Similarities, Similarities] | None:
    """The miner's cosines of a row's positives and negatives; None where they are not there or belong to other texts.

    They describe the row and were not asked for, so fields of the same name that mean something else are no mistake.
    """
    sides = ((POSITIVE_SIMILARITY, row.positives), (NEGATIVE_SIMILARITY, row.negatives))
    positive, negative = (_numbers(row.fields.get(key), len(texts)) for key, texts in sides)
    if positive is None or negative is None or all(value is None for value in (*positive, *negative)):
        return None
    return positive, negative


def _numbers(cell: Any, count: int) -> Similarities | None:
    """So many finite numbers or nulls; None where it is anything else."""
    values = score_list(cell)
    if not isinstance(values, (list, tuple)) or len(values) != count:
        return None
    known = [value for value in values if value is not None]
    if not all(isinstance(v, (int, float)) and not isinstance(v, bool) and math.isfinite(v) for v in known):
        return None
    return tuple(None if value is None else float(value) for value in values)


def _prompt(fields: Mapping[str, Any], key: str) -> str | None:
    value = fields.get(key)
    if value is not None and not isinstance(value, str):
        raise BadField(f"{key!r} is {shown(value)}, not a text", fix="make it a text", reason=f"{key} is not a text")
    return value


def _empty(value: Any) -> str:
    return "null" if value is None else "empty"
