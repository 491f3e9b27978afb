"""Judged collections to rows: BEIR folders, and TREC's queries, judgements and runs beside a file of passages.

Positives are the passages judged relevant. Negatives are those judged not relevant, and then, where a run is given, the
best of its candidates that nobody judged; only mining looks for false negatives among those.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from sharprank.errors import UserError
from sharprank.formats.bad_rows import BadRows
from sharprank.formats.collections import is_collection, iter_corpus
from sharprank.formats.convert.tally import Row, Tally
from sharprank.formats.encoding import open_text
from sharprank.formats.pool import ID_KEYS, passage_id, read_passages
from sharprank.formats.sources import Source, iter_records
from sharprank.records import Collection, Place, Qrels, Run

_TEXT_KEYS = ("text", "query", "title", "question")
NOT_THERE = "judged or ranked, but not in the corpus"


def judged_rows(
    collection: Collection, *, tally: Tally, run: Run | None = None, num_negatives: int, min_relevance: int = 1
) -> Iterator[Row]:
    """One row for every judged query.

    Args:
        run: candidates that fill the negatives up.
        num_negatives: up to how many of a run's candidates; the judged ones are all taken.
        min_relevance: judged this or higher is a positive, judged lower a negative.
    """
    passages = collection.passages
    for query_id, judged in collection.qrels.items():
        positives = [passage for passage, relevance in judged.items() if relevance >= min_relevance]
        negatives = [passage for passage, relevance in judged.items() if relevance < min_relevance]
        candidates = [passage for passage in unjudged((run or {}).get(query_id, {}), judged) if passage in passages]
        negatives += candidates[: max(0, num_negatives - len(negatives))]
        there = [[passages[name] for name in names if name in passages] for names in (positives, negatives)]
        tally.texts[NOT_THERE] += len(positives) + len(negatives) - sum(map(len, there))
        row = tally.row(collection.queries[query_id], *there)
        if row is not None:
            yield row


def unjudged(ranking: Mapping[str, float], judged: Mapping[str, int]) -> list[str]:
    """A run's candidates that nobody judged, best first, equal scores by id."""
    ranked = sorted(ranking.items(), key=lambda item: (-item[1], item[0]))
    return [passage for passage, _ in ranked if passage not in judged]


def trec_collection(
    passages_path: str, queries_path: str, qrels: Qrels, *, bad_rows: BadRows | None = None
) -> Collection:
    """Passages, queries and judgements that lie in files of their own.

    Raises:
        UserError: a passage or query without id (unless bad rows are skipped), an id twice, a judged query without
            text.
    """
    bad_rows = bad_rows or BadRows()
    queries = read_queries(queries_path, bad_rows)
    missing = [query_id for query_id in qrels if query_id not in queries]
    if missing:
        raise UserError(
            f"{queries_path}: {len(missing)} judged queries have no text, first: {missing[0]}",
            fix="name the queries that the judgements belong to",
        )
    return Collection(_read_passages(passages_path, bad_rows), queries, qrels, "all")


def read_queries(path: str, bad_rows: BadRows) -> dict[str, str]:
    """{query_id: text}: records with an id and a text, or lines `id TAB text` without a header.

    Raises:
        UserError: a query without id or text (unless bad rows are skipped), an id twice.
    """
    if _has_no_header(path):
        return _two_columns(path, bad_rows)
    queries: dict[str, str] = {}
    for record in iter_records(Source(path), default_split=None, bad_rows=bad_rows):
        text = next((record.fields[key] for key in _TEXT_KEYS if key in record.fields), None)
        query_id = passage_id(record.fields) or passage_id({"id": record.fields.get("query_id")})
        if query_id is None or not isinstance(text, str) or not text.strip():
            problem = "a query without id or text"
            bad_rows.reject(record.place, problem, fix="give it '_id' and 'text'", reason=problem)
            continue
        _add(queries, query_id, text, str(record.place))
    return queries


def _read_passages(path: str, bad_rows: BadRows) -> Mapping[str, str]:
    if is_collection(path):
        return {passage.passage_id or "": passage.text for passage in iter_corpus(path)}
    if _has_no_header(path):
        return _two_columns(path, bad_rows)
    passages: dict[str, str] = {}
    for passage in read_passages(Source(path), bad_rows=bad_rows):
        if passage.passage_id is None:
            problem, fix = "a passage without id", "give it '_id', which the judgements name it by"
            bad_rows.reject(passage.place, problem, fix=fix, reason=problem)
            continue
        _add(passages, passage.passage_id, passage.text, str(passage.place))
    return passages


def _has_no_header(path: str) -> bool:
    """Whether a table is one of `id TAB text` lines, as TREC tracks hand them out."""
    file_path = Path(path)
    if not file_path.is_file() or not file_path.name.lower().removesuffix(".gz").endswith((".tsv", ".txt")):
        return False
    with open_text(file_path) as file:
        cells = [cell.strip().lower() for cell in file.readline().split("\t")]
    return len(cells) == 2 and cells[0] not in (*ID_KEYS, "query_id", "query-id", "qid", "passage_id", "doc_id")


def _two_columns(path: str, bad_rows: BadRows) -> dict[str, str]:
    texts: dict[str, str] = {}
    with open_text(path) as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            name, _, text = line.rstrip("\r\n").partition("\t")
            if not name.strip() or not text.strip():
                problem = "not `id TAB text`"
                bad_rows.reject(Place(path, number), problem, fix="write an id, a tab and a text", reason=problem)
                continue
            _add(texts, name.strip(), text, f"{path}:{number}")
    return texts


def _add(texts: dict[str, str], name: str, text: str, place: str) -> None:
    if name in texts:
        raise UserError(f"{place}: id {name} a second time", fix="keep one of them")
    texts[name] = text
