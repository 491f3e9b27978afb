"""TREC runs and judgements: `query Q0 passage rank score tag`, `query 0 passage relevance`, and BEIR's tables."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from sharprank.errors import UserError
from sharprank.formats.encoding import is_broken, open_text
from sharprank.formats.writers import atomic_open
from sharprank.metrics.orders import best_first
from sharprank.records import Place, Qrels, Run

_RUN_LINE = "write `query Q0 passage rank score tag`"
_HEADER_WORDS = {"score", "relevance", "rel", "label", "judgement", "judgment", "grade"}


def _lines(path: str | Path) -> Iterator[tuple[Place, str]]:
    with open_text(path) as file:
        for number, line in enumerate(file, 1):
            place = Place(str(path), number)
            if is_broken(line):
                problem = f"{place}: bytes that are no characters in the file's encoding"
                raise UserError(problem, fix="write the file again as UTF-8")
            if line.strip():
                yield place, line.rstrip("\r\n")


def read_run(path: str | Path) -> Run:
    """A TREC run; the scores count, the ranks do not.

    Raises:
        UserError: a line that is no run line, a score that is no number, a passage twice for a query, an empty file.
    """
    run: Run = {}
    for place, query_id, passage_id, score in iter_run(path):
        ranking = run.setdefault(query_id, {})
        if passage_id in ranking:
            raise twice(place, query_id, passage_id)
        ranking[passage_id] = score
    return run


def iter_run(path: str | Path) -> Iterator[tuple[Place, str, str, float]]:
    """The lines of a TREC run, one at a time: (place, query id, passage id, score).

    Raises:
        UserError: a line that is no run line, a score that is no number, an empty file.
    """
    is_empty = True
    for place, line in _lines(path):
        fields = line.split()
        if len(fields) != 6:
            raise UserError(f"{place}: {len(fields)} fields", fix=_RUN_LINE)
        is_empty = False
        yield place, fields[0], fields[2], _score(fields[4], place)
    if is_empty:
        raise UserError(f"{path} is empty", fix="name a run with at least one line")


def twice(place: Place | str, query_id: str, passage_id: str) -> UserError:
    """The error for a passage that a run names twice for one query."""
    return UserError(f"{place}: passage {passage_id} a second time for query {query_id}", fix="keep one of them")


def _score(text: str, place: Place) -> float:
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        raise UserError(f"{place}: score {text!r} is not a number", fix=_RUN_LINE)
    return score


def write_run(path: str | Path, run: Mapping[str, Mapping[str, float]], *, tag: str) -> None:
    """Write a TREC run: queries in their order, passages best first, equal scores by id.

    Raises:
        UserError: an id with white space, which the format cannot hold.
    """
    with atomic_open(path) as file:
        for query_id, ranking in run.items():
            file.writelines(run_lines(query_id, ranking, tag=tag))


def run_lines(query_id: str, ranking: Mapping[str, float], *, tag: str) -> Iterator[str]:
    """One query's lines of a TREC run.

    Raises:
        UserError: an id with white space, or a score that is not finite.
    """
    tag = re.sub(r"\s+", "_", tag) or "run"
    scores = {passage_id: float(score) for passage_id, score in ranking.items()}
    for rank, passage_id in enumerate(best_first(scores), 1):
        _check_line(query_id, passage_id, scores[passage_id])
        yield f"{query_id} Q0 {passage_id} {rank} {scores[passage_id]!r} {tag}\n"


def check_ids(names: Iterable[str], *, fix: str = "use ids without white space") -> None:
    """Refuse ids that a TREC run cannot hold.

    Raises:
        UserError: naming the first that is empty or has white space.
    """
    for name in names:
        if not name or re.search(r"\s", name):
            raise UserError(f"id {name!r} cannot stand in a TREC run", fix=fix)


def _check_line(query_id: str, passage_id: str, score: float) -> None:
    check_ids((query_id, passage_id))
    if not math.isfinite(score):
        raise UserError(
            f"the score of passage {passage_id} for query {query_id} is {score}", fix="use a model with finite scores"
        )


def read_qrels(path: str | Path) -> Qrels:
    """Judgements, as TREC has them (four columns) or as BEIR has them (three, tab-separated, under a header).

    Raises:
        UserError: another number of columns, a relevance that is no whole number, a passage judged twice differently.
    """
    qrels: Qrels = {}
    for place, line in _lines(path):
        fields = [field.strip() for field in (line.split("\t") if "\t" in line else line.split())]
        if place.line == 1 and fields[-1].lower() in _HEADER_WORDS:
            continue
        if len(fields) not in (3, 4):
            fix = "write `query 0 passage relevance`, or BEIR's three columns"
            raise UserError(f"{place}: {len(fields)} columns", fix=fix)
        query_id, passage_id, relevance = fields[0], fields[-2], _relevance(fields[-1], place)
        judged = qrels.setdefault(query_id, {})
        if judged.get(passage_id, relevance) != relevance:
            problem = f"{place}: passage {passage_id} is judged {relevance} for query {query_id}, and before"
            raise UserError(f"{problem} {judged[passage_id]}", fix="keep one judgement")
        judged[passage_id] = relevance
    if not qrels:
        raise UserError(f"{path} holds no judgement", fix="name a file with at least one")
    return qrels


def _relevance(text: str, place: Place) -> int:
    """A whole number, also where it is written as 1.0."""
    try:
        relevance = float(text)
    except ValueError:
        relevance = math.nan
    if not relevance.is_integer():
        raise UserError(f"{place}: relevance {text!r} is no whole number", fix="use 0, 1, 2, ...")
    return int(relevance)
