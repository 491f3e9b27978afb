"""Measures of a ranking against judgements, through ir-measures, with the rules a fair comparison needs.

- Among equal scores the relevant passage comes last: a model that scores everything alike gets the worst case.
- A judged query that the run does not have counts 0; a query without judgements is left out.
- A score that is not a number is an error.

Names are those of ir-measures (`nDCG@10`, `RR@10`, `AP(rel=2)`, `R@100`), and also `MRR@10`, `MAP`, `Hit@1` and
`Recall@100`. `PairAccuracy` is ours: the share of passage pairs of different relevance put in the right order,
a tie counting one half; a query without such a pair has no value.

Knows no files and no models.
"""

from __future__ import annotations

import math
import re
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

import ir_measures
import numpy as np

from sharprank.errors import UserError
from sharprank.metrics.pairs import pair_accuracy
from sharprank.records import Qrels, Run

PAIR_ACCURACY = "PairAccuracy"
DEFAULT_MEASURES = ("nDCG@10", "MRR@10", "MAP", "Hit@1")

_NOT_COMPUTED = (
    ValueError, NameError, TypeError, KeyError, RuntimeError, AssertionError, ZeroDivisionError, OSError,
    subprocess.SubprocessError,
)  # fmt: skip
"""What ir-measures raises for a measure that it does not have, or cannot compute here, or not on any judgements."""

PerQuery = dict[str, dict[str, float]]
"""{measure: {query_id: value}}"""


def parse_measure(name: str) -> Any:
    """The ir-measures object of a name, or None for `PairAccuracy`.

    Raises:
        UserError: no such measure, or none that can be computed here.
    """
    if name == PAIR_ACCURACY:
        return None
    fix = f"use ir-measures names such as {', '.join(DEFAULT_MEASURES)}, Recall@100, P@5, AP(rel=2), or {PAIR_ACCURACY}"
    try:
        measure = ir_measures.parse_measure(re.sub(r"^Hit\b", "Success", name.strip()))
        lacking = [key for key, info in measure.SUPPORTED_PARAMS.items() if info.required and key not in measure.params]
        if lacking == ["cutoff"]:
            fix = f"give a depth: {name.strip()}@100"
        if lacking:
            raise ValueError(f"it needs {', '.join(lacking)}")
        if int(measure.params.get("cutoff", 1)) < 1:
            raise ValueError("the cutoff must be at least 1")
        list(ir_measures.iter_calc([measure], {"q": {"p": 1}}, {"q": {"p": 1.0}}))
    except _NOT_COMPUTED as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"measure {name!r}: {reason}", fix=fix) from error
    return measure


def check_measures(names: Sequence[str]) -> None:
    """Refuse a measure that cannot be computed, before any work is done."""
    for name in names:
        parse_measure(name)


def measure_run(qrels: Qrels, run: Run, measures: Sequence[str]) -> PerQuery:
    """Values of every measure for every judged query.

    Args:
        qrels: the judgements; they say which queries count.
        run: the ranking; ties in it are broken against the relevant passages.
        measures: names, see above.

    Returns:
        {measure: {query_id: value}}, queries in the order of `qrels`.

    Raises:
        UserError: a score that is not a number, or an unknown measure.

    >>> measure_run({"q": {"a": 1, "b": 0}}, {"q": {"a": 0.5, "b": 0.5}}, ["MRR@10", "PairAccuracy"])
    {'MRR@10': {'q': 0.5}, 'PairAccuracy': {'q': 0.5}}
    """
    parsed = {name: parse_measure(name) for name in measures}
    strict = pessimistic(qrels, run)
    wanted = {measure for measure in parsed.values() if measure is not None}
    values: dict[Any, dict[str, float]] = {measure: dict.fromkeys(qrels, 0.0) for measure in wanted}
    if wanted and strict:
        for metric in ir_measures.iter_calc(list(wanted), {q: dict(qrels[q]) for q in strict}, strict):
            values[metric.measure][metric.query_id] = float(metric.value)
    return {
        name: _pair_accuracies(qrels, run) if measure is None else dict(values[measure])
        for name, measure in parsed.items()
    }


def average(per_query: PerQuery) -> dict[str, float]:
    """Mean of each measure over the queries that have a value; nan where none has."""
    return {
        name: math.fsum(values.values()) / len(values) if values else float("nan") for name, values in per_query.items()
    }


def pessimistic(qrels: Qrels, run: Run) -> Run:
    """The same ranking of the judged queries without ties: equal scores ordered by rising relevance, then by id."""
    return {
        query_id: _without_ties(query_id, run[query_id], judged)
        for query_id, judged in qrels.items()
        if run.get(query_id)
    }


def group_measures(
    group_scores: Sequence[tuple[np.ndarray, np.ndarray]], measures: Sequence[str] = DEFAULT_MEASURES
) -> dict[str, float]:
    """Mean measures over groups of scored passages whose relevance is known (evaluation during training).

    Args:
        group_scores: for each group its scores [G] and its relevance [G] (0 is not relevant).
        measures: names, as `measure_run` takes them.

    >>> group_measures([(np.array([0.1, 0.9]), np.array([1, 0]))], ["MRR@10"])
    {'MRR@10': 0.5}
    """
    run: Run = {}
    qrels: Qrels = {}
    for index, (scores, relevance) in enumerate(group_scores):
        if len(scores) != len(relevance):
            raise ValueError(f"group {index} has {len(scores)} scores for {len(relevance)} judgements")
        query_id = str(index)
        run[query_id] = {str(i): float(score) for i, score in enumerate(scores)}
        qrels[query_id] = {str(i): int(value) for i, value in enumerate(relevance)}
    return average(measure_run(qrels, run, measures))


def _without_ties(query_id: str, scores: Mapping[str, float], judged: Mapping[str, int]) -> dict[str, float]:
    for passage_id, score in scores.items():
        if math.isnan(score):
            raise UserError(
                f"query {query_id!r}, passage {passage_id!r}: the score is not a number (nan)",
                fix="find out why the model or the run gives nan there; a ranking cannot be made of it",
            )
    order = sorted(scores, key=lambda passage_id: (-scores[passage_id], judged.get(passage_id, 0), passage_id))
    return {passage_id: float(len(order) - place) for place, passage_id in enumerate(order)}


def _pair_accuracies(qrels: Qrels, run: Run) -> dict[str, float]:
    accuracies = {query_id: _pair_accuracy(judged, run.get(query_id, {})) for query_id, judged in qrels.items()}
    return {query_id: value for query_id, value in accuracies.items() if not math.isnan(value)}


def _pair_accuracy(judged: Mapping[str, int], scores: Mapping[str, float]) -> float:
    """Over all pairs of ranked passages of different relevance (an unjudged passage has relevance 0)."""
    by_relevance: dict[int, list[float]] = {}
    for passage_id, score in scores.items():
        by_relevance.setdefault(max(0, judged.get(passage_id, 0)), []).append(score)
    right = pairs = 0.0
    lower: list[float] = []
    for relevance in sorted(by_relevance):
        higher = by_relevance[relevance]
        if lower:
            right += pair_accuracy(higher, lower) * len(higher) * len(lower)
            pairs += len(higher) * len(lower)
        lower = lower + higher
    return right / pairs if pairs else float("nan")
