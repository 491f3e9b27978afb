"""Rows to what other trainers read: triplets of sentence-transformers, distillation rows of FlagEmbedding."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sharprank.formats.convert.tally import NO_NEGATIVES, Row, Tally
from sharprank.records import TrainRow

NO_SCORES = "no teacher scores"


def to_triplets(rows: Iterable[TrainRow], *, tally: Tally) -> Iterator[Row]:
    """`anchor`, `positive`, `negative`: every positive with every negative of its row."""
    for row in rows:
        if not row.negatives:
            tally.num_read += 1
            tally.drop(NO_NEGATIVES)
            continue
        found = tally.row(row.query, row.positives, row.negatives)
        for positive in found["pos"] if found else ():
            for negative in found["neg"] if found else ():
                yield {"anchor": row.query, "positive": positive, "negative": negative}


def to_flagembedding(rows: Iterable[TrainRow], *, tally: Tally) -> Iterator[Row]:
    """Rows with `pos_scores` and `neg_scores`, as `--knowledge_distillation True` asks of every row.

    Texts stay as they are, aligned with their scores.
    """
    for row in rows:
        tally.num_read += 1
        if row.pos_scores is None or (row.negatives and row.neg_scores is None):
            tally.drop(NO_SCORES)
        elif not row.negatives:
            tally.drop(NO_NEGATIVES)
        else:
            tally.num_written += 1
            yield {
                "query": row.query,
                "pos": list(row.positives),
                "neg": list(row.negatives),
                "pos_scores": list(row.pos_scores),
                "neg_scores": list(row.neg_scores or ()),
            } | ({"prompt": row.prompt} if row.prompt else {})
