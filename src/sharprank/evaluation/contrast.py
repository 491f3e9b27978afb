"""Systems side by side: is a difference real, which queries got worse, which passages moved, how deep must one go.

Reads nothing and prints nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import combinations
from typing import Any

from sharprank.errors import UserError
from sharprank.evaluation.systems import Contestants, System
from sharprank.metrics.compare import LEVEL, Comparison, compare, correct_for_several, spoken_p
from sharprank.metrics.orders import best_first, with_tail
from sharprank.metrics.ranking import average, measure_run, pessimistic
from sharprank.records import Qrels, Run

_TIE = 1e-9


@dataclass(frozen=True)
class Move:
    """A judged passage's ranks (1-based) in the two systems; None: not in the ranking."""

    passage_id: str
    relevance: int
    before: int | None
    after: int | None


@dataclass(frozen=True)
class Regression:
    """A query whose headline value fell, and the relevant passages that moved."""

    query_id: str
    before: float
    after: float
    moves: Sequence[Move] = ()


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two systems over the queries that both have.

    Attributes:
        before, after: names; `after` comes later on the command line.
        comparisons: one a measure (`first` is before, `reranked` is after).
        counts: {measure: (wins, ties, losses)} of `after`, in queries.
        worse: queries whose headline value fell, worst first.
        depths: {depth: headline value} if only so many of before's passages were re-ranked by `after`.
        before_is_first_stage: `after` re-ranks it, so any fall is worth a warning.
        before_is_baseline: it was named first; a fall that is no chance is worth a warning.
    """

    before: str
    after: str
    comparisons: Sequence[Comparison]
    counts: Mapping[str, tuple[int, int, int]]
    worse: Sequence[Regression]
    depths: Mapping[int, float] = field(default_factory=dict)
    before_is_first_stage: bool = False
    before_is_baseline: bool = False

    def verdict(self, comparison: Comparison) -> str:
        """The result in words; corrected p below 0.05 counts as shown."""
        if comparison.p >= LEVEL or comparison.difference == 0:
            return "no difference shown"
        better, worse = (self.after, self.before) if comparison.difference > 0 else (self.before, self.after)
        return f"{better} is better than {worse}"


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """All systems and all pairs of them.

    Attributes:
        measures: those that every system has; the first is the headline.
        means: {system: {measure: mean over the shared queries}}.
        num_queries: queries that all systems have.
        num_left_out: queries that some system lacks.
    """

    measures: Sequence[str]
    means: Mapping[str, Mapping[str, float]]
    pairs: Sequence[Pair]
    num_queries: int
    num_left_out: int

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        pairs = []
        for pair in self.pairs:
            rows = [
                {
                    **asdict(c),
                    "difference": c.difference,
                    "wins_ties_losses": pair.counts[c.measure],
                    "verdict": pair.verdict(c),
                }
                for c in pair.comparisons
            ]
            worse = [asdict(regression) for regression in pair.worse]
            pairs.append(
                {
                    "before": pair.before,
                    "after": pair.after,
                    "measures": rows,
                    "worse": worse,
                    "depths": dict(pair.depths),
                }
            )
        return {
            "measures": list(self.measures),
            "queries": self.num_queries,
            "queries_left_out": self.num_left_out,
            "means": {name: dict(values) for name, values in self.means.items()},
            "pairs": pairs,
        }


def contrast(contestants: Contestants, *, depths: Sequence[int] = (), seed: int = 0) -> Contrast:
    """Compare every two systems, over the queries that all of them have.

    p is corrected by Holm over the pairs, measure by measure.

    Raises:
        UserError: no query or no measure that all systems have.
    """
    measures = _shared_measures(contestants.systems)
    systems, num_queries, num_left_out = _on_shared_queries(contestants.systems, measures)
    couples = list(combinations(systems, 2))
    comparisons = correct_for_several([compare(a.per_query, b.per_query, seed=seed) for a, b in couples])
    pairs = [
        _pair(a, b, own, contestants.qrels, depths if a is systems[0] else ())
        for (a, b), own in zip(couples, comparisons, strict=True)
    ]
    pairs = [replace(pair, before_is_baseline=pair.before == systems[0].name) for pair in pairs]
    means = {system.name: average(system.per_query) for system in systems}
    return Contrast(measures=measures, means=means, pairs=pairs, num_queries=num_queries, num_left_out=num_left_out)


def _shared_measures(systems: Sequence[System]) -> list[str]:
    shared = [name for name in systems[0].per_query if all(name in system.per_query for system in systems)]
    if not shared:
        raise UserError(
            f"{systems[0].name} and the others have no measure in common", fix="evaluate them with the same --measures"
        )
    return shared


def _on_shared_queries(systems: Sequence[System], measures: Sequence[str]) -> tuple[list[System], int, int]:
    sets = [set().union(*(system.per_query[name] for name in measures)) for system in systems]
    shared, every = set.intersection(*sets), set.union(*sets)
    if not shared:
        raise UserError("the systems have no query in common", fix="evaluate them on the same queries")
    cut = [
        replace(
            system,
            per_query={name: {q: v for q, v in system.per_query[name].items() if q in shared} for name in measures},
        )
        for system in systems
    ]
    return cut, len(shared), len(every) - len(shared)


def _pair(a: System, b: System, comparisons: Sequence[Comparison], qrels: Qrels, depths: Sequence[int]) -> Pair:
    headline = comparisons[0].measure
    reorders = a.run is not None and b.run is not None and _same_passages(a.run, b.run, qrels)
    return Pair(
        before=a.name,
        after=b.name,
        comparisons=comparisons,
        counts={name: wins_ties_losses(a.per_query[name], b.per_query[name]) for name in a.per_query},
        worse=regressions(a, b, qrels, headline),
        depths=depth_effect(a.run or {}, b.run or {}, qrels, headline, depths=depths) if reorders else {},
        before_is_first_stage=a.name == b.first_stage,
    )


def _same_passages(before: Run, after: Run, qrels: Qrels) -> bool:
    """Whether one is the other in another order, so that one can be thought of as re-ranking the other."""
    return all(before.get(query_id, {}).keys() == after.get(query_id, {}).keys() for query_id in qrels)


def wins_ties_losses(before: Mapping[str, float], after: Mapping[str, float]) -> tuple[int, int, int]:
    """Queries that got better, stayed as they were, and got worse.

    >>> wins_ties_losses({"a": 0.5, "b": 0.5, "c": 1.0}, {"a": 1.0, "b": 0.5, "c": 0.0})
    (1, 1, 1)
    """
    differences = [after[query_id] - before[query_id] for query_id in after if query_id in before]
    wins = sum(difference > _TIE for difference in differences)
    losses = sum(difference < -_TIE for difference in differences)
    return wins, len(differences) - wins - losses, losses


def regressions(a: System, b: System, qrels: Qrels, headline: str) -> list[Regression]:
    """The queries whose value fell from `a` to `b`, worst first."""
    before, after = a.per_query[headline], b.per_query[headline]
    fallen = [query_id for query_id in after if query_id in before and after[query_id] < before[query_id] - _TIE]
    fallen.sort(key=lambda query_id: (after[query_id] - before[query_id], query_id))
    return [
        Regression(query_id, before[query_id], after[query_id], _moves(query_id, a.run, b.run, qrels))
        for query_id in fallen
    ]


def _moves(query_id: str, before: Run | None, after: Run | None, qrels: Qrels) -> list[Move]:
    """The relevant passages whose rank changed, furthest down first."""
    if before is None or after is None:
        return []
    judged = {query_id: qrels.get(query_id, {})}
    ranks = [
        {name: rank for rank, name in enumerate(best_first(pessimistic(judged, run).get(query_id, {})), 1)}
        for run in (before, after)
    ]
    moves = [
        Move(name, relevance, ranks[0].get(name), ranks[1].get(name))
        for name, relevance in judged[query_id].items()
        if relevance > 0 and ranks[0].get(name) != ranks[1].get(name)
    ]
    return sorted(moves, key=lambda move: (move.before or 10**9) - (move.after or 10**9))


def depth_effect(first: Run, reranked: Run, qrels: Qrels, measure: str, *, depths: Sequence[int]) -> dict[int, float]:
    """The measure's mean if only the best `depth` passages of `first` were put in the order of `reranked`.

    Depths beyond the longest list are that list's length.
    """
    deepest = max((len(first.get(query_id, {})) for query_id in qrels), default=0)
    found: dict[int, float] = {}
    for depth in sorted({min(depth, deepest) for depth in depths if deepest and depth > 0}):
        run = {q: _reordered(first[q], reranked[q], depth) for q in qrels if first.get(q)}
        found[depth] = average(measure_run(qrels, run, [measure]))[measure]
    return found


def _reordered(first: Mapping[str, float], scores: Mapping[str, float], depth: int) -> dict[str, float]:
    ids = best_first(first)
    return with_tail({name: scores[name] for name in ids[:depth]}, ids[depth:], first)


def warnings_of(result: Contrast) -> list[str]:
    """What must be shouted: a system below the first stage that it re-ranks, or truly below the baseline.

    One whose first measure is below the baseline's, perhaps by chance, is named in a lower voice: a TREC run does not
    say whether it is a first stage.
    """
    sentences = []
    for pair in result.pairs:
        below = [c for c in pair.comparisons if c.is_below]
        shown = [c for c in below if c.p < LEVEL]
        if pair.before_is_first_stage and below:
            sentences.append(f"WARNING: {pair.after} is BELOW the first stage {pair.before}: {_figures(below)}")
        elif pair.before_is_baseline and shown:
            sentences.append(f"WARNING: {pair.after} is BELOW the baseline {pair.before}: {_figures(shown)}")
        elif pair.before_is_baseline and pair.comparisons[0].is_below:
            sentences.append(
                f"note: {pair.after} stands below the baseline {pair.before}: {_figures(below)}. That may be chance, "
                "but nothing here shows that it is better."
            )
    return sentences


def _figures(comparisons: Sequence[Comparison]) -> str:
    return ", ".join(f"{c.measure} {c.first:.4f} -> {c.reranked:.4f} ({spoken_p(c.p)})" for c in comparisons)
