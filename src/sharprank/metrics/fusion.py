"""Fusing two rankings of the same candidates: the reranker's scores and those of the first stage.

Both are brought to mean 0 and standard deviation 1 within each query's candidates, so that a cosine and a logit can
be added; the weight of the first stage is fitted on validation queries. Weight 0 is the reranker alone, weight 1 the
first stage alone: a fit that ends there says that one of the two adds nothing.

Source: linear combination of normalised scores, as in Bruch, Gai and Ingber, "An Analysis of Fusion Functions for
Hybrid Retrieval", ACM TOIS 2023.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sharprank.metrics.ranking import PerQuery, average, measure_run
from sharprank.records import Qrels, Run

WEIGHTS = tuple(round(0.1 * step, 1) for step in range(11))
NUM_FOLDS = 5


@dataclass(frozen=True)
class FusionFit:
    """A fitted weight, and how every weight tried did.

    Attributes:
        weight: of the first stage, 0 to 1.
        measure: what was maximised.
        by_weight: {weight: mean of the measure over the validation queries}.
    """

    weight: float
    measure: str
    by_weight: Mapping[float, float]


def standardised(scores: Mapping[str, float]) -> dict[str, float]:
    """Scores of one query's candidates with mean 0 and standard deviation 1; all 0 where they are equal.

    >>> standardised({"a": 1.0, "b": 3.0})
    {'a': -1.0, 'b': 1.0}
    """
    values = np.fromiter(scores.values(), dtype=np.float64, count=len(scores))
    deviation = values.std() if len(values) else 0.0
    centred = (values - values.mean()) / deviation if deviation > 0 else np.zeros_like(values)
    return dict(zip(scores, centred.tolist(), strict=True))


def fuse_scores(first_stage: Sequence[float], reranked: Sequence[float], weight: float) -> list[float]:
    """(1 - weight) * reranked + weight * first stage, both standardised: one query's candidates, in one order.

    Raises:
        ValueError: what `check_weight` and `check_first_stage` refuse.

    >>> fuse_scores([1.0, 3.0], [5.0, 1.0], 0.25)
    [0.5, -0.5]
    """
    check_first_stage(first_stage, num_passages=len(reranked))
    run = fuse(
        {"": {str(place): score for place, score in enumerate(first_stage)}},
        {"": {str(place): score for place, score in enumerate(reranked)}},
        weight,
    )
    return list(run[""].values())


def check_weight(weight: float) -> None:
    """Refuse what is no share.

    Raises:
        ValueError: naming the weight.
    """
    if not 0 <= weight <= 1:
        raise ValueError(f"the first stage's weight is {weight}; use a number from 0 to 1")


def check_first_stage(scores: Sequence[float], *, num_passages: int) -> None:
    """Refuse one query's first-stage scores that are not one finite number a passage.

    A single NaN, infinity or None would leave nothing of the others: they have no mean and no deviation.

    Raises:
        ValueError: naming the number of scores, or the first that is no finite number and its place.
    """
    if len(scores) != num_passages:
        raise ValueError(f"{len(scores)} first-stage scores for {num_passages} passages")
    for place, score in enumerate(scores):
        if not _is_finite(score):
            raise ValueError(f"the first-stage score of passage {place} is {score!r}; give every passage a number")


def _is_finite(score: object) -> bool:
    try:
        return math.isfinite(score)  # pyright: ignore[reportArgumentType]  # whatever a caller may have put there
    except TypeError:
        return False


def fuse(first_stage: Mapping[str, Mapping[str, float]], reranked: Run, weight: float) -> Run:
    """(1 - weight) * reranked + weight * first stage, of each query's re-ranked candidates.

    Args:
        first_stage: must score every re-ranked candidate; what else it scores is left out.
        weight: of the first stage, 0 to 1.

    Raises:
        ValueError: a candidate that the first stage gives no finite score, or what `check_weight` refuses.
    """
    check_weight(weight)
    fused: Run = {}
    for query_id, scores in reranked.items():
        ours = standardised(scores)
        theirs = standardised(_first_stage_of(query_id, scores, first_stage))
        fused[query_id] = {p: (1 - weight) * ours[p] + weight * theirs[p] for p in scores}
    return fused


def _first_stage_of(
    query_id: str, reranked: Mapping[str, float], first_stage: Mapping[str, Mapping[str, float]]
) -> dict[str, float]:
    """The first stage's scores of a query's re-ranked candidates, all of them there and finite."""
    scores = first_stage.get(query_id, {})
    for passage_id in reranked:
        if not _is_finite(scores.get(passage_id)):
            raise ValueError(
                f"the first stage scores passage {passage_id!r} of query {query_id!r} as {scores.get(passage_id)!r}; "
                "it needs a number"
            )
    return {passage_id: scores[passage_id] for passage_id in reranked}


def fit_fusion(
    qrels: Qrels,
    first_stage: Mapping[str, Mapping[str, float]],
    reranked: Run,
    *,
    measure: str = "nDCG@10",
    weights: Sequence[float] = WEIGHTS,
) -> FusionFit:
    """The weight to use, by the mean of a measure over validation queries (see `_choose`).

    Args:
        qrels: judgements of the validation queries.
        first_stage, reranked: scores of the same candidates.
    """
    tried = {weight: measure_run(qrels, fuse(first_stage, reranked, weight), [measure])[measure] for weight in weights}
    by_weight = {weight: average({measure: values})[measure] for weight, values in tried.items()}
    return FusionFit(_choose(tried, list(qrels)), measure, by_weight)


def cross_fitted(
    qrels: Qrels,
    first_stage: Mapping[str, Mapping[str, float]],
    reranked: Run,
    *,
    measures: Sequence[str],
    weights: Sequence[float] = WEIGHTS,
    num_folds: int = NUM_FOLDS,
) -> PerQuery:
    """What fusion gets on queries its weight was not fitted on: each fold's by the weight that is best on the others.

    A weight fitted and measured on the same queries flatters itself; this does not.

    Args:
        measures: names; the weight is fitted to the first one.

    Returns:
        {measure: {query_id: value}}.
    """
    tried = {weight: measure_run(qrels, fuse(first_stage, reranked, weight), measures) for weight in weights}
    fitted = measures[0]
    found: PerQuery = {measure: {} for measure in measures}
    for fold in range(num_folds):
        measured = list(qrels)[fold::num_folds]
        others = qrels.keys() - set(measured)
        weight = _choose({weight: values[fitted] for weight, values in tried.items()}, list(others))
        for measure, values in tried[weight].items():
            found[measure] |= {query_id: values[query_id] for query_id in measured if query_id in values}
    return found


def _choose(tried: Mapping[float, Mapping[str, float]], queries: Sequence[str]) -> float:
    """The weight nearest to one half of those that these queries cannot tell from the best one.

    A hundred queries seldom tell a weight from its neighbours, and the best of eleven is partly luck. So every weight
    whose paired difference from the best is within a standard error counts as equally good (the one-standard-error
    rule of Breiman et al., Classification and Regression Trees, 1984), and the least one-sided of them is taken; of two
    equally near, the one that trusts the reranker more.

    Args:
        tried: {weight: {query_id: value}}.
        queries: the ones to look at; those without a value are left out.
    """
    measured = [query_id for query_id in queries if all(query_id in values for values in tried.values())]
    if not measured:
        return min(tried, key=_one_sided)
    values = {weight: {query_id: found[query_id] for query_id in measured} for weight, found in tried.items()}
    best = max(values.values(), key=lambda found: math.fsum(found.values()))
    return min((weight for weight, found in values.items() if no_worse_than(found, best)), key=_one_sided)


def no_worse_than(values: Mapping[str, float], others: Mapping[str, float]) -> bool:
    """Whether the mean of `values` is at most a standard error of the paired differences below that of `others`.

    Args:
        values, others: {query_id: value} of the same queries.
    """
    lost = np.array([others[query_id] - value for query_id, value in values.items()])
    error = lost.std(ddof=1) / math.sqrt(len(lost)) if len(lost) > 1 else 0.0
    return bool(lost.mean() <= error + 1e-12)


def _one_sided(weight: float) -> tuple[float, float]:
    return (round(abs(weight - 0.5), 9), weight)
