"""What is to be re-ranked, one query at a time: JSON objects from a file or stdin, or a TREC run with its texts.

Streamed, except that a run and the texts it names are held in memory. Knows no model.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO

from sharprank.errors import UserError
from sharprank.formats.bad_rows import BadRows, shown
from sharprank.formats.collections import iter_corpus, read_queries
from sharprank.formats.encoding import is_broken
from sharprank.formats.pool import passage_id, passage_text
from sharprank.formats.sources import Source, iter_records
from sharprank.formats.trec import read_run
from sharprank.metrics.orders import best_first
from sharprank.records import Place, Record
from sharprank.serving.config import PASSAGE_KEYS, STDIN, RerankConfig

_QUERY_ID_KEYS = ("query_id", "qid")


@dataclass(frozen=True, kw_only=True)
class Request:
    """One query and its passages.

    Attributes:
        given_ids: one a passage, None where it has none.
        fields: the object as it was read; empty for a run.
        tail, first_scores: of a run, the passages beyond the re-ranked depth, and all its scores.
    """

    query_id: str
    query: str
    passages: Sequence[str]
    given_ids: Sequence[str | None]
    fields: Mapping[str, Any] = field(default_factory=dict)
    tail: Sequence[str] = ()
    first_scores: Mapping[str, float] = field(default_factory=dict)

    @property
    def passage_ids(self) -> list[str]:
        """One a passage: as given, or the 0-based place."""
        return _or_places(self.given_ids)


def read_requests(config: RerankConfig, bad_rows: BadRows, *, stdin: BinaryIO | None = None) -> Iterator[Request]:
    """The requests that the flags name, in their order.

    Raises:
        UserError: a malformed object (unless those are skipped), a run that does not fit its texts.
    """
    if config.run is not None:
        yield from _requests_of_run(config.run, config.data, depth=config.depth)
        return
    if config.data == STDIN:
        records = _stdin_records(stdin or sys.stdin.buffer, bad_rows)
    else:
        records = iter_records(Source(config.data), bad_rows=bad_rows)
    for number, record in enumerate(records, start=1):
        request = _request(record, number, config, bad_rows)
        if request is not None:
            yield request


def _stdin_records(stdin: BinaryIO, bad_rows: BadRows) -> Iterator[Record]:
    """JSON lines as they come; or, when neither the first nor the second is whole, one JSON document of objects."""
    lines = io.TextIOWrapper(stdin, encoding="utf-8-sig", errors="surrogateescape")
    numbered = ((number, line) for number, line in enumerate(lines, start=1) if line.strip())
    head = list(islice(numbered, 1))
    if head and not _is_whole(head[0][1]):
        head += islice(numbered, 1)
        if _begins_document([line for _, line in head]):
            yield from _document("".join(line for _, line in head) + lines.read())
            return
    for number, line in chain(head, numbered):
        place = Place("<stdin>", number)
        try:
            value = _loaded(line)
        except ValueError as error:
            bad_rows.reject(place, f"malformed JSON: {error}", fix="write one object a line", reason="malformed JSON")
            continue
        if isinstance(value, dict):
            yield Record(value, place)
        elif isinstance(value, list) and number == head[0][0]:
            yield from _objects(value)
        else:
            bad_rows.reject(place, "not an object", fix="write one object a line", reason="not an object")


def _is_whole(line: str) -> bool:
    try:
        _loaded(line)
    except ValueError:
        return False
    return True


def _begins_document(head: Sequence[str]) -> bool:
    """Whether a first line that is not whole begins a document, rather than being a damaged one before whole ones."""
    objects = [line for line in head[1:] if line.lstrip().startswith("{") and _is_whole(line)]
    return head[0].lstrip().startswith("[") or not objects


def _document(text: str) -> Iterator[Record]:
    try:
        value = _loaded(text)
    except ValueError as error:
        raise UserError(
            f"<stdin>: malformed JSON: {error}", fix="send one object a line, or one JSON document"
        ) from error
    yield from _objects(value if isinstance(value, list) else [value])


def _objects(values: Sequence[Any]) -> Iterator[Record]:
    for number, value in enumerate(values, start=1):
        place = Place("<stdin>", number)
        if not isinstance(value, dict):
            raise UserError(f"{place}: {shown(value)} is not an object", fix='write it as {"query": ...}')
        yield Record(value, place)


def _loaded(text: str) -> Any:
    if is_broken(text):
        raise ValueError("bytes that are not UTF-8")
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None


class _Bad(Exception):
    """One object's problem, on its way to BadRows."""

    def __init__(self, problem: str, *, fix: str, reason: str) -> None:
        super().__init__(problem)
        self.problem, self.fix, self.reason = problem, fix, reason


def _request(record: Record, number: int, config: RerankConfig, bad_rows: BadRows) -> Request | None:
    try:
        query = _query(record.fields, config.query_key)
        passages, ids = _passages(record.fields, config.passages_key)
        name = next((record.fields[key] for key in _QUERY_ID_KEYS if key in record.fields), None)
        query_id = str(name) if name is not None else passage_id(record.fields) or str(number)
        return Request(query_id=query_id, query=query, passages=passages, given_ids=ids, fields=record.fields)
    except _Bad as bad:
        bad_rows.reject(record.place, bad.problem, fix=bad.fix, reason=bad.reason)
        return None


def _query(fields: Mapping[str, Any], key: str) -> str:
    if key not in fields:
        raise _Bad(f"no field {key!r} ({_there(fields)})", fix="add it, or pass --query_key", reason="no query")
    query = fields[key]
    if not isinstance(query, str) or not query.strip():
        raise _Bad(f"{key!r} is {shown(query)}, not a text", fix="give it words", reason="no query")
    return query


def _passages(fields: Mapping[str, Any], key: str | None) -> tuple[list[str], list[str | None]]:
    names = [name for name in ((key,) if key else PASSAGE_KEYS) if name in fields]
    if not names:
        wanted = repr(key) if key else f"with passages: {', '.join(PASSAGE_KEYS)}"
        raise _Bad(f"no field {wanted} ({_there(fields)})", fix="add it, or pass --passages_key", reason="no passages")
    if len(names) > 1:
        raise _Bad(f"passages in both {names[0]!r} and {names[1]!r}", fix="pass --passages_key", reason="two lists")
    values = fields[names[0]]
    if not isinstance(values, list):
        raise _Bad(f"{names[0]!r} is {shown(values)}, not a list", fix="make it a list of texts", reason="no passages")
    texts, ids = [], []
    for place, value in enumerate(values):
        text = value if isinstance(value, str) else passage_text(value) if isinstance(value, dict) else None
        if text is None:
            problem = f"{names[0]}[{place}] is {shown(value)}, not a text"
            raise _Bad(problem, fix="give every passage its text", reason="passage without text")
        texts.append(text)
        ids.append(passage_id(value) if isinstance(value, dict) else None)
    named = _or_places(ids)
    twice = next((one for one in named if named.count(one) > 1), None) if len(set(named)) < len(named) else None
    if twice is not None:
        raise _Bad(f"{names[0]!r} has id {twice!r} twice", fix="give every passage its own id", reason="an id twice")
    return texts, ids


def _or_places(ids: Sequence[str | None]) -> list[str]:
    return [str(place) if one is None else one for place, one in enumerate(ids)]


def _there(fields: Mapping[str, Any]) -> str:
    return f"fields there: {', '.join(map(repr, list(fields)[:8])) or 'none'}"


# --- a TREC run ----------------------------------------------------------------------------------------------------


def _requests_of_run(run_path: str, folder: str, *, depth: int | None) -> Iterator[Request]:
    if not Path(folder).is_dir():
        raise UserError(
            f"--data {folder} is no folder", fix="with --run, name the folder of corpus.jsonl and queries.jsonl"
        )
    run = read_run(run_path)
    queries = read_queries(folder)
    named = {passage_id for scores in run.values() for passage_id in scores}
    texts = {p.passage_id: p.text for p in iter_corpus(folder) if p.passage_id in named}
    for query_id, scores in run.items():
        if query_id not in queries:
            raise UserError(f"{run_path}: query {query_id!r} has no text in {folder}", fix="name the run's own queries")
        missing = next((passage_id for passage_id in scores if passage_id not in texts), None)
        if missing is not None:
            raise UserError(
                f"{run_path}: query {query_id!r} lists passage {missing!r}, which the corpus in {folder} does not have",
                fix="name a run made on this corpus",
            )
    for query_id, scores in run.items():
        ids = best_first(scores)
        head = ids[:depth]
        yield Request(
            query_id=query_id,
            query=queries[query_id],
            passages=[texts[name] for name in head],
            given_ids=head,
            tail=ids[len(head) :],
            first_scores=scores,
        )
