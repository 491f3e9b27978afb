"""Is the reranker worth using, alone or fused with the first stage? Decided on validation queries, with a paired test.

Knows no models and no files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sharprank.metrics.compare import LEVEL, Comparison, compare, spoken_p
from sharprank.metrics.fusion import FusionFit, cross_fitted, fit_fusion, fuse, no_worse_than
from sharprank.metrics.orders import same_order
from sharprank.metrics.ranking import DEFAULT_MEASURES, measure_run
from sharprank.records import Qrels, Run

Use = Literal["first stage", "reranker", "fused", "undecided"]

FEWEST_QUERIES = 6
"""Fewer decide nothing: the randomisation test calls even a gain on all of five p 2/32, which is above LEVEL."""

COMPARED = ("gain", "p", "fused", "gain", "95% interval", "p", "verdict")
"""Headings of what `compared` gives: the reranker alone, then fused, each against the first stage."""


@dataclass(frozen=True)
class Verdict:
    """First stage, reranker and both together, on the same queries and candidates.

    Attributes:
        use: what is recommended, by the first measure; "undecided" where the queries show nothing.
        fit: the weight of the first stage, fitted on all these queries.
        alone, fused: each measure against the first stage; fused is cross-fitted, so that it does not flatter itself.
    """

    use: Use
    fit: FusionFit
    alone: Sequence[Comparison]
    fused: Sequence[Comparison]

    @property
    def weight(self) -> float | None:
        """What the first stage's score should count: 0 is the reranker alone, 1 the first stage; None: undecided."""
        return {"first stage": 1.0, "reranker": 0.0, "fused": self.fit.weight, "undecided": None}[self.use]

    @property
    def best(self) -> Comparison:
        """The first measure of what is recommended; where no reranker is, what speaks against the one there is."""
        return self.fused[0] if self.use == "fused" else self.alone[0]


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
    differs = all(_tell_apart(fuse(heads, reranked, fit.weight), run) for run in (heads, reranked))
    may_fuse = differs and no_worse_than(by_both[measures[0]], by_reranker[measures[0]])
    return Verdict(_use(alone[0], fused[0], may_fuse=may_fuse), fit, alone, fused)


def _tell_apart(run: Run, other: Mapping[str, Mapping[str, float]]) -> bool:
    """Whether they rank any query's candidates differently."""
    return not all(same_order(scores, other[query_id]) for query_id, scores in run.items())


def _use(alone: Comparison, fused: Comparison, *, may_fuse: bool) -> Use:
    """What the queries speak for: a gain, which may be called chance yet, or a loss that is none.

    Args:
        alone, fused: against the first stage.
        may_fuse: together they rank otherwise than either alone, and no worse than the reranker. Two sources err less
            than one, so that is enough where the queries cannot tell both from the reranker alone.
    """
    if alone.num_queries < FEWEST_QUERIES:
        return "undecided"
    if may_fuse and fused.is_above:
        return "fused"
    if alone.is_above:
        return "reranker"
    return "first stage" if alone.is_below and alone.p < LEVEL else "undecided"


def figures(verdict: Verdict) -> str:
    """The three figures of the first measure."""
    alone, fused = verdict.alone[0], verdict.fused[0]
    return (
        f"validation {alone.measure}: first stage {alone.first:.4f}, reranker {alone.reranked:.4f}, "
        f"fused {fused.reranked:.4f}, {alone.num_queries:,} queries"
    )


def recommend(verdict: Verdict) -> str:
    """One sentence on what to use, with the figures it rests on."""
    best = verdict.best
    tested = f"{best.difference:+.4f}, 95% interval [{best.low:+.4f}, {best.high:+.4f}], {spoken_p(best.p)}"
    if verdict.use == "first stage":
        return f"use: no reranker; the first stage alone is best ({figures(verdict)}; the reranker {tested})"
    if verdict.use == "undecided":
        few = best.num_queries < FEWEST_QUERIES
        what = "are too few to tell the reranker from the first stage" if few else "show no gain from the reranker"
        return (
            f"use: undecided; {best.num_queries:,} queries {what} ({figures(verdict)}; the reranker {tested}); "
            "measure on more queries before you use it"
        )
    sentence = "the reranker alone; the first stage's score adds nothing to it"
    if verdict.use == "fused":
        weight = verdict.fit.weight
        sentence = f"{1 - weight:.1f} reranker + {weight:.1f} first stage, both standardised over a query's candidates"
    doubt = "" if best.p < LEVEL else "; that could be chance, so measure on more queries before you rely on it"
    return f"use: {sentence} ({figures(verdict)}; gain {tested}){doubt}"
