"""First stage against reranked, measure by measure: the difference, and whether it could be chance.

Takes per-query values; knows no runs and no models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sharprank.metrics.ranking import PerQuery
from sharprank.metrics.significance import bootstrap_interval, holm, randomisation_test

LEVEL = 0.05


@dataclass(frozen=True)
class Comparison:
    """One measure of one model, before and after re-ranking, over the same queries.

    Attributes:
        p: of the paired randomisation test (two-sided), corrected by Holm where several models are compared.
        low, high: 95% bootstrap interval of the mean difference.
        num_queries: queries that have a value on both sides.
    """

    measure: str
    first: float
    reranked: float
    low: float
    high: float
    p: float
    num_queries: int

    @property
    def difference(self) -> float:
        return self.reranked - self.first

    @property
    def is_below(self) -> bool:
        """The reranked result is lower than the first stage's, whatever the test says."""
        return self.difference < -1e-12

    @property
    def is_above(self) -> bool:
        """The reranked result is higher than the first stage's, whatever the test says."""
        return self.difference > 1e-12

    @property
    def verdict(self) -> str:
        """The result in words."""
        if self.is_below:
            return "BELOW FIRST STAGE" if self.p < LEVEL else "BELOW FIRST STAGE (not significant)"
        return "better" if self.p < LEVEL and self.difference > 0 else "no difference shown"


def compare(first: PerQuery, reranked: PerQuery, *, seed: int = 0) -> list[Comparison]:
    """Compare the two sides measure by measure.

    Args:
        first, reranked: {measure: {query_id: value}} with the same measures.
        seed: of the randomisation test and the bootstrap.
    """
    comparisons = []
    for measure, after in reranked.items():
        before = first[measure]
        shared = [query_id for query_id in after if query_id in before]
        a = np.array([after[query_id] for query_id in shared])
        b = np.array([before[query_id] for query_id in shared])
        low, high = bootstrap_interval(a - b, seed=seed)
        comparisons.append(
            Comparison(
                measure=measure,
                first=float(b.mean()) if shared else float("nan"),
                reranked=float(a.mean()) if shared else float("nan"),
                low=low,
                high=high,
                p=randomisation_test(a, b, seed=seed),
                num_queries=len(shared),
            )
        )
    return comparisons


def correct_for_several(models: Sequence[Sequence[Comparison]]) -> list[list[Comparison]]:
    """Holm's correction of each measure's p over the models; one model stays as it is."""
    corrected = [list(comparisons) for comparisons in models]
    for index in range(min(map(len, corrected), default=0)):
        p_values = holm([comparisons[index].p for comparisons in corrected])
        for comparisons, p in zip(corrected, p_values, strict=True):
            comparisons[index] = _with_p(comparisons[index], p)
    return corrected


def _with_p(comparison: Comparison, p: float) -> Comparison:
    return Comparison(**{**comparison.__dict__, "p": p})


def spoken_p(p: float) -> str:
    """A p value for a sentence.

    >>> spoken_p(0.0123), spoken_p(0.0001)
    ('p 0.012', 'p < 0.001')
    """
    return f"p {p:.3f}" if p >= 0.001 else "p < 0.001"


def warning(model: str, first_stage: str, comparisons: Sequence[Comparison]) -> str | None:
    """The sentences to shout when the reranked result is below the first stage's, or None."""
    below = [c for c in comparisons if c.is_below]
    if not below:
        return None
    figures = ", ".join(f"{c.measure} {c.first:.4f} -> {c.reranked:.4f} ({spoken_p(c.p)})" for c in below)
    return f"WARNING: {model} is BELOW the first stage {first_stage}: {figures}. " + (
        "Re-ranking makes it worse: as it is, leave the first stage's order alone."
        if any(c.p < LEVEL for c in below)
        else "That could be chance, but nothing shows here that re-ranking helps."
    )
