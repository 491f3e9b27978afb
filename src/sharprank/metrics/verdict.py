"""Is the reranker worth using, alone or fused with the first stage? Decided on validation queries, with a paired test.

Knows no models and no files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sharprank.metrics.compare import LEVEL, Comparison, compare, spoken_p
from sharprank.metrics.fusion import FusionFit, cross_fitted, fit_fusion, no_worse_than
from sharprank.metrics.ranking import DEFAULT_MEASURES, measure_run
from sharprank.records import Qrels, Run

Use = Literal["first stage", "reranker", "fused"]

COMPARED = ("gain", "p", "fused", "gain", "95% interval", "p", "verdict")
"""Headings of what `compared` gives: the reranker alone, then fused, each against the first stage."""


@dataclass(frozen=True)
class Verdict:
    """First stage, reranker and both together, on the same queries and candidates.

    Attributes:
        use: what is recommended, by the first measure.
        fit: the weight of the first stage, fitted on all these queries.
        alone, fused: each measure against the first stage; fused is cross-fitted, so that it does not flatter itself.
    """

    use: Use
    fit: FusionFit
    alone: Sequence[Comparison]
    fused: Sequence[Comparison]

    @property
    def weight(self) -> float:
        """What the first stage's score should count: 0 is the reranker alone, 1 the first stage alone."""
        return {"first stage": 1.0, "reranker": 0.0, "fused": self.fit.weight}[self.use]

    @property
    def best(self) -> Comparison:
        """The first measure of what is recommended; where that is the first stage, of the better of the others."""
        pair = (self.alone[0], self.fused[0])
        if self.use == "first stage":
            return max(pair, key=lambda comparison: comparison.reranked)
        return pair[self.use == "fused"]


def compared(alone: Comparison, fused: Comparison) -> tuple[str, ...]:
    """The cells of a table under COMPARED, for one measure."""
    return (
        f"{alone.difference:+.4f}",
        f"{alone.p:.4f}",
        f"{fused.reranked:.4f}",
        f"{fused.difference:+.4f}",
        f"[{fused.low:+.4f}, {fused.high:+.4f}]",
        f"{fused.p:.4f}",
        fused.verdict,
    )


def judge(
    qrels: Qrels,
    first_stage: Mapping[str, Mapping[str, float]],
    reranked: Run,
    *,
    measures: Sequence[str] = DEFAULT_MEASURES,
    seed: int = 0,
) -> Verdict:
    """Compare the three on validation queries.

    Args:
        qrels: judgements of the validation queries.
        first_stage: scores every re-ranked candidate; what else it scores is left out.
        reranked: the reranker's scores.
        measures: names; the first one decides.
        seed: of the paired tests.
    """
    heads = {query_id: {p: first_stage[query_id][p] for p in scores} for query_id, scores in reranked.items()}
    first = measure_run(qrels, heads, measures)
    fit = fit_fusion(qrels, heads, reranked, measure=measures[0])
    by_reranker, by_both = (
        measure_run(qrels, reranked, measures),
        cross_fitted(qrels, heads, reranked, measures=measures),
    )
    alone, fused = (compare(first, values, seed=seed) for values in (by_reranker, by_both))
    no_worse = no_worse_than(by_both[measures[0]], by_reranker[measures[0]])
    return Verdict(_use(alone[0], fused[0], fit.weight, no_worse), fit, alone, fused)


def _use(alone: Comparison, fused: Comparison, weight: float, no_worse: bool) -> Use:
    """Two sources err less than one: where the queries cannot tell both together from the reranker alone, both."""
    if 0 < weight < 1 and no_worse and fused.reranked > fused.first:
        return "fused"
    return "reranker" if alone.reranked > alone.first else "first stage"


def figures(verdict: Verdict) -> str:
    """The three figures of the first measure."""
    alone, fused = verdict.alone[0], verdict.fused[0]
    return (
        f"validation {alone.measure}: first stage {alone.first:.4f}, reranker {alone.reranked:.4f}, "
        f"fused {fused.reranked:.4f}, {alone.num_queries:,} queries"
    )


def recommend(verdict: Verdict) -> str:
    """One sentence on what to use, with the figures it rests on."""
    if verdict.use == "first stage":
        return f"use: no reranker; the first stage alone is best ({figures(verdict)})"
    sentence = "the reranker alone; the first stage's score adds nothing to it"
    if verdict.use == "fused":
        share = f"{1 - verdict.weight:.1f} reranker + {verdict.weight:.1f} first stage"
        sentence = f"{share}, both standardised over a query's candidates"
    best = verdict.best
    gain = f"{best.difference:+.4f}, 95% interval [{best.low:+.4f}, {best.high:+.4f}], {spoken_p(best.p)}"
    doubt = "" if best.p < LEVEL else "; that could be chance, so measure on more queries before you rely on it"
    return f"use: {sentence} ({figures(verdict)}; gain {gain}){doubt}"
