"""Rows {query, pos, neg} as a ranking task: each row is a query whose candidates are its positives and negatives.

A row without negatives has nothing to get wrong: its pairs count in precision, recall, F1 and AUC, and it is left
out of the ranking measures.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from sharprank.errors import UserError
from sharprank.evaluation.config import EvaluationConfig
from sharprank.evaluation.task import RankingTask
from sharprank.formats.rows import BadRows, RowKeys, read_rows
from sharprank.formats.sources import Source
from sharprank.records import TrainRow

DEFAULT_SPLIT = "test"


def read_row_task(config: EvaluationConfig, *, default_split: str = DEFAULT_SPLIT) -> RankingTask:
    """Read the rows that `config.data` names.

    Raises:
        UserError: a bad row (unless they are skipped), no row at all, or a flag that only collections know.
    """
    if config.run is not None:
        raise UserError(
            f"--run {config.run} needs a collection, but {config.data} holds rows",
            fix="leave --run out, or name a folder with corpus.jsonl, queries.jsonl and qrels/",
        )
    if config.first_stage != "bm25":
        raise UserError(
            f"--first_stage {config.first_stage} needs a collection to search, but {config.data} holds rows",
            fix="leave --first_stage out, or name a folder with corpus.jsonl, queries.jsonl and qrels/",
        )
    keys = RowKeys.of_flags(config)
    bad_rows = BadRows(config.on_bad_row)
    source = Source(config.data, config.sub_data_name, config.split)
    rows = read_rows(source, keys=keys, bad_rows=bad_rows, default_split=default_split)
    return row_task(rows, title=_title(config), skipped=bad_rows.counts)


def row_task(rows: Iterable[TrainRow], *, title: str = "rows", skipped: Mapping[str, int] | None = None) -> RankingTask:
    """Number the rows (query ids "1", "2", ...) and their passages ("1.pos1", "1.neg1", ...).

    Args:
        rows: used once; `skipped` is read after them.
        title: what they are, for the heading.
        skipped: rows that were left out while reading, by reason.
    """
    queries: dict[str, str] = {}
    passages: dict[str, str] = {}
    labels: dict[str, dict[str, int]] = {}
    files: dict[str, None] = {}
    for number, row in enumerate(rows, start=1):
        query_id = str(number)
        queries[query_id], labels[query_id] = row.query, {}
        for name, relevance, texts in (("pos", 1, row.positives), ("neg", 0, row.negatives)):
            for place, text in enumerate(texts, start=1):
                passage_id = f"{query_id}.{name}{place}"
                passages[passage_id], labels[query_id][passage_id] = text, relevance
        files[row.place.path] = None
    qrels = {query_id: judged for query_id, judged in labels.items() if not all(judged.values())}
    counts = {"rows": len(labels), "rows without negatives": len(labels) - len(qrels), **_prefixed(skipped or {})}
    return RankingTask(
        title=f"{title}: {len(labels):,} rows, {len(passages):,} pairs",
        queries=queries,
        passages=passages,
        candidates={query_id: list(judged) for query_id, judged in labels.items()},
        qrels=qrels,
        pair_labels=labels,
        input_paths=[path for path in files if Path(path).is_file()],
        counts=counts,
        notes=_notes(counts, skipped or {}),
    )


def _title(config: EvaluationConfig) -> str:
    return config.data + (f" [{config.sub_data_name}]" if config.sub_data_name else "")


def _prefixed(skipped: Mapping[str, int]) -> dict[str, int]:
    return {f"skipped: {reason}": count for reason, count in skipped.items()}


def _notes(counts: Mapping[str, int], skipped: Mapping[str, int]) -> list[str]:
    notes = [f"{count:,} rows skipped: {reason}" for reason, count in skipped.items() if count]
    lonely = counts["rows without negatives"]
    if lonely:
        notes.append(
            f"{lonely:,} of {counts['rows']:,} rows have no negatives: any order of theirs is perfect, so they "
            "are left out of the ranking measures"
        )
    return notes
