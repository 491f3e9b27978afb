"""One query's scores in the form that was asked for: a list, the row with its scores, a ranking, TREC lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sharprank.formats.trec import run_lines
from sharprank.formats.writers import json_line
from sharprank.metrics.orders import best_first, with_tail
from sharprank.serving.requests import Request


def answer(
    request: Request,
    scores: Sequence[float],
    shown: Sequence[float],
    *,
    output_format: str,
    top_k: int | None,
    tag: str,
) -> str:
    """The text for one query, with its line feed.

    Args:
        scores: raw, one a passage, in input order; they alone say which are best, since large ones all have
            probability 1.
        shown: what is written: they, or their probabilities. A run has nothing else: of equal ones the ids decide.
        output_format: list, rows, ranking or trec.
        top_k: how many a ranking or a run keeps.
        tag: last column of a TREC run.
    """
    if output_format == "list":
        return str([float(score) for score in shown]) + "\n"
    if output_format == "rows":
        named = {"query_id": request.query_id, "query": request.query, "passage_ids": list(request.passage_ids)}
        return json_line({**(request.fields or named), "scores": list(shown)}) + "\n"
    if output_format == "ranking":
        ranking = [_ranked(request, index, shown[index]) for index in _order(scores)[:top_k]]
        return json_line({"query_id": request.query_id, "query": request.query, "ranking": ranking}) + "\n"
    best = best_first(_with_tail(request, scores))[:top_k]
    by_id = _with_tail(request, shown)
    return "".join(run_lines(request.query_id, {passage_id: by_id[passage_id] for passage_id in best}, tag=tag))


def _with_tail(request: Request, scores: Sequence[float]) -> dict[str, float]:
    return with_tail(dict(zip(request.passage_ids, scores, strict=True)), request.tail, request.first_scores)


def _order(scores: Sequence[float]) -> list[int]:
    """Places by falling score; equal scores keep their order."""
    return sorted(range(len(scores)), key=lambda index: -scores[index])


def _ranked(request: Request, index: int, score: float) -> dict[str, Any]:
    found = {"index": index, "score": score, "passage": request.passages[index]}
    own_id = request.given_ids[index]
    return found if own_id is None else {"id": own_id, **found}
