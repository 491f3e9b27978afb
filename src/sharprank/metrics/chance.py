"""What a random order would get: the expected value of each measure, query by query.

A query's passages are a head, whose order is random, and a tail that keeps its order behind it (what a run holds
beyond the re-ranked depth). The usual measures have closed forms; any other is averaged over seeded random orders.

Shapes: H passages in the head, T in the tail; relevance as 0/1 unless it says gains.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from sharprank.metrics.ranking import PAIR_ACCURACY, PerQuery, measure_run, parse_measure
from sharprank.records import Qrels, Run

_NUM_RANDOM_ORDERS = 200
_NEVER_CUT = 10**9


def chance_levels(
    qrels: Qrels,
    heads: Mapping[str, Sequence[str]],
    measures: Sequence[str],
    *,
    tails: Mapping[str, Sequence[str]] | None = None,
    seed: int = 0,
) -> PerQuery:
    """Expected value of each measure for each judged query.

    Args:
        qrels: the judgements.
        heads: passage ids of each query that are put in random order.
        measures: names as `measure_run` takes them.
        tails: passage ids of each query that follow in this order.
        seed: for the measures without a closed form.

    >>> chance_levels({"q": {"a": 1}}, {"q": ["a", "b"]}, ["MRR@10"])
    {'MRR@10': {'q': 0.75}}
    """
    tails = tails or {}
    levels: PerQuery = {}
    for name in measures:
        expected = _closed_form(parse_measure(name))
        if expected is not None:
            levels[name] = {q: _expected(expected, qrels[q], heads.get(q, ()), tails.get(q, ())) for q in qrels}
        elif name == PAIR_ACCURACY and not any(tails.values()):
            halves = measure_run(qrels, {q: dict.fromkeys(ids, 0.0) for q, ids in heads.items()}, [name])
            levels[name] = halves[name]
        else:
            levels[name] = _simulated(qrels, heads, tails, name, seed=seed)
    return levels


Expected = Callable[[np.ndarray, np.ndarray, np.ndarray], float]
"""(relevance of the head [H], of the tail [T], of all judged passages) -> expected value."""


def _expected(form: Expected, judged: Mapping[str, int], head: Sequence[str], tail: Sequence[str]) -> float:
    head_H = np.array([max(0, judged.get(passage_id, 0)) for passage_id in head], dtype=np.float64)
    tail_T = np.array([max(0, judged.get(passage_id, 0)) for passage_id in tail], dtype=np.float64)
    return float(form(head_H, tail_T, np.maximum(0, np.array(list(judged.values()), dtype=np.float64))))


def _closed_form(measure: Any) -> Expected | None:
    if measure is None or measure.NAME not in _FORMS or not set(measure.params) <= {"cutoff", "rel"}:
        return None
    form = _FORMS[measure.NAME]
    cutoff, relevant_from = int(measure.params.get("cutoff", _NEVER_CUT)), int(measure.params.get("rel", 1))

    def expected(head: np.ndarray, tail: np.ndarray, judged: np.ndarray) -> float:
        if measure.NAME == "nDCG":
            return form(head, tail, judged, cutoff)
        head, tail, judged = ((gains >= relevant_from).astype(np.float64) for gains in (head, tail, judged))
        return form(head, tail, judged, cutoff)

    return expected


def _ndcg(head: np.ndarray, tail: np.ndarray, judged: np.ndarray, cutoff: int) -> float:
    ideal = _dcg(np.sort(judged)[::-1], cutoff)
    everywhere = np.full(len(head), head.mean() if len(head) else 0.0)
    return _dcg(np.concatenate([everywhere, tail]), cutoff) / ideal if ideal else 0.0


def _dcg(gains: np.ndarray, cutoff: int) -> float:
    gains = gains[:cutoff]
    return float((gains / np.log2(np.arange(2, len(gains) + 2))).sum())


def _reciprocal_rank(head: np.ndarray, tail: np.ndarray, judged: np.ndarray, cutoff: int) -> float:
    num, relevant = len(head), int(head.sum())
    if not relevant:
        first = num + int(tail.argmax()) + 1 if tail.any() else _NEVER_CUT + 1
        return 1 / first if first <= cutoff else 0.0
    total, none_before = 0.0, 1.0
    for place in range(1, min(num, cutoff) + 1):
        here = relevant / (num - place + 1)
        total += none_before * here / place
        none_before *= 1 - here
        if none_before <= 0:
            break
    return total


def _average_precision(head: np.ndarray, tail: np.ndarray, judged: np.ndarray, cutoff: int) -> float:
    num, relevant = len(head), head.sum()
    places_H = np.arange(1, num + 1)
    others = (relevant - 1) / (num - 1) if num > 1 else 0.0
    head_terms = relevant / max(num, 1) * (1 + (places_H - 1) * others) / places_H
    tail_terms = tail * (relevant + np.cumsum(tail)) / np.arange(num + 1, num + len(tail) + 1)
    total = np.concatenate([head_terms, tail_terms])[:cutoff].sum()
    return total / judged.sum() if judged.any() else 0.0


def _success(head: np.ndarray, tail: np.ndarray, judged: np.ndarray, cutoff: int) -> float:
    num, relevant = len(head), int(head.sum())
    if tail[: max(0, cutoff - num)].any():
        return 1.0
    places = np.arange(min(num, cutoff))
    return 1.0 - float(np.prod(np.maximum(0, num - relevant - places) / (num - places)))


def _found(head: np.ndarray, tail: np.ndarray, cutoff: int) -> float:
    """Expected number of relevant passages down to the cutoff."""
    seen = min(len(head), cutoff) / len(head) if len(head) else 0.0
    return head.sum() * seen + tail[: max(0, cutoff - len(head))].sum()


def _recall(head: np.ndarray, tail: np.ndarray, judged: np.ndarray, cutoff: int) -> float:
    return _found(head, tail, cutoff) / judged.sum() if judged.any() else 0.0


def _precision(head: np.ndarray, tail: np.ndarray, judged: np.ndarray, cutoff: int) -> float:
    return _found(head, tail, cutoff) / cutoff


_FORMS: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray, int], float]] = {
    "nDCG": _ndcg,
    "RR": _reciprocal_rank,
    "AP": _average_precision,
    "Success": _success,
    "R": _recall,
    "P": _precision,
}


def _simulated(
    qrels: Qrels, heads: Mapping[str, Sequence[str]], tails: Mapping[str, Sequence[str]], name: str, *, seed: int
) -> dict[str, float]:
    generator = np.random.default_rng(seed)
    sums: dict[str, float] = {}
    for _ in range(_NUM_RANDOM_ORDERS):
        run: Run = {}
        for query_id, head in heads.items():
            scores = 1.0 + generator.permutation(len(head))
            run[query_id] = dict(zip(head, scores.tolist(), strict=True))
            run[query_id].update({passage_id: -float(i) for i, passage_id in enumerate(tails.get(query_id, ()))})
        for query_id, value in measure_run(qrels, run, [name])[name].items():
            sums[query_id] = sums.get(query_id, 0.0) + value
    return {query_id: total / _NUM_RANDOM_ORDERS for query_id, total in sums.items()}
