"""From score files to figures: each system alone and fused with the first stage, and ours against each of the others.

Everything is computed from the cells' TREC runs, so that another measure needs no training; of cells that were done
elsewhere the values of the queries are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.quality.cells import OURS, SYSTEMS, TOKENS, Bench, Cell, read_result
from benchmarks.quality.prepared import TEST, VALIDATION
from sharprank.formats.trec import read_run
from sharprank.metrics.fusion import cross_fitted, fit_fusion, fuse
from sharprank.metrics.ranking import PerQuery, average, measure_run
from sharprank.metrics.significance import bootstrap_interval, randomisation_test

MEASURES = ("nDCG@10", "MRR@10", "MAP")
MAIN = MEASURES[0]
ALONE, FUSED = "alone", "fused"
FIRST_STAGE = "first stage"
_EFFORT = ("steps", "tokens", "wall", "cpu")

Values = dict[str, PerQuery]
"""{alone or fused: {measure: {query_id: value}}}"""


def figures(bench: Bench, cell: Cell) -> dict[str, Any]:
    """What is kept of a cell that was done here.

    Returns:
        `weight` of the first stage, fitted on validation; `values`: {split: {alone or fused: {measure: {query: x}}}},
        validation included, where each query is fused with the weight that the others ask for.
    """
    first_stage, folder = bench.prepared(cell.collection).first_stage, bench.folder(cell)
    qrels, first = bench.judged(cell, VALIDATION), first_stage(VALIDATION)
    reranked = read_run(folder / f"{VALIDATION}.trec")
    weight = fit_fusion(qrels, first, reranked, measure=MAIN).weight
    fused = cross_fitted(qrels, first, reranked, measures=MEASURES)
    values = {VALIDATION: {ALONE: measure_run(qrels, reranked, MEASURES), FUSED: fused}}
    reranked = read_run(folder / f"{TEST}.trec")
    for split in bench.measured(cell):
        runs = {ALONE: reranked, FUSED: fuse(first_stage(split), reranked, weight)}
        judged = bench.judged(cell, split)
        values[split] = {kind: measure_run(judged, run, MEASURES) for kind, run in runs.items()}
    return {"weight": weight, "values": {split: _as_kept(found) for split, found in values.items()}}


def done_of(bench: Bench, cells: Iterable[Cell]) -> dict[Cell, dict[str, Any]]:
    """The results of those cells that are done, each with its figures."""
    results = {cell: read_result(bench, cell) for cell in cells}
    return {
        cell: result if "values" in result else {**result, **figures(bench, cell)}
        for cell, result in results.items()
        if result is not None
    }


def _as_kept(values: Values) -> Values:
    return {kind: _as_kept_values(by_measure) for kind, by_measure in values.items()}


def _as_kept_values(by_measure: PerQuery) -> PerQuery:
    return {name: {q: round(value, 4) for q, value in found.items()} for name, found in by_measure.items()}


def done_cells(
    bench: Bench, collections: Sequence[str], budgets: Sequence[str], seeds: Sequence[int]
) -> dict[Cell, dict[str, Any]]:
    """The cells of every system that are done (see `done_of`)."""
    wanted = [
        Cell(collection, system, budget, seed)
        for collection in collections for system in SYSTEMS for budget in budgets for seed in seeds
    ]  # fmt: skip
    return done_of(bench, wanted)


def compare(bench: Bench, done: Mapping[Cell, Mapping[str, Any]]) -> dict[str, Any]:
    """All figures of the cells that are done (see `done_cells`).

    Returns:
        `rows`: a system's means over its seeds, by collection, split and budget; `tests`: ours minus another system's
        (or the first stage's), a query's values averaged over the seeds that both have.
    """
    report: dict[str, Any] = {"tokens": bench.tokens, "max_len": bench.max_len, "rows": [], "tests": [], "cells": []}
    for collection in dict.fromkeys(cell.collection for cell in done):
        cells = {cell: result for cell, result in done.items() if cell.collection == collection}
        prepared = bench.prepared(collection)
        report["cells"] += [_effort_of(result) for result in cells.values()]
        for split in prepared.measured:
            first = _as_kept_values(measure_run(prepared.read(split).qrels, prepared.first_stage(split), MEASURES))
            place = {"collection": collection, "split": split}
            num_queries = len(first[MAIN])
            report["rows"].append(
                {**place, "system": FIRST_STAGE, "queries": num_queries, ALONE: _rounded(average(first))}
            )
            found = {cell: result["values"][split] for cell, result in cells.items()}
            report["rows"] += [{**place, **row} for row in _rows(cells, found)]
            report["tests"] += [{**place, **test} for test in _tests(found, first)]
    return report


def _effort_of(result: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in result.items() if name != "values"}


def _rows(done: Mapping[Cell, Mapping[str, Any]], found: Mapping[Cell, Values]) -> Iterable[dict[str, Any]]:
    for (system, budget), cells in _by_system(found).items():
        effort = {name: sum(done[cell][name] for cell in cells) / len(cells) for name in _EFFORT}
        yield {
            "system": system,
            "budget": budget,
            "seeds": [cell.seed for cell in cells],
            **{kind: _rounded(average(over_seeds([found[c][kind] for c in cells]))) for kind in (ALONE, FUSED)},
            "by_seed": {kind: [round(average(found[c][kind])[MAIN], 4) for c in cells] for kind in (ALONE, FUSED)},
            "weights": [done[cell]["weight"] for cell in cells],
            **{name: round(value, 1) for name, value in effort.items()},
        }


def _by_system(cells: Iterable[Cell]) -> dict[tuple[str, str], list[Cell]]:
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.system, cell.budget), []).append(cell)
    return groups


def _tests(found: Mapping[Cell, Values], first: PerQuery) -> Iterable[dict[str, Any]]:
    """Ours, trained on the tokens that the others were given too, against each of them and the first stage."""
    groups = _by_system(found)
    ours = {cell.seed: cell for cell in groups.get((OURS, TOKENS), [])}
    for kind in (ALONE, FUSED):
        if ours:
            mine = over_seeds([found[cell][kind] for cell in ours.values()])
            yield _test(mine, first, {"kind": kind, "against": FIRST_STAGE, "seeds": list(ours)})
        for (system, budget), cells in groups.items():
            theirs = {cell.seed: cell for cell in cells}
            seeds = [seed for seed in ours if seed in theirs]
            if system != OURS and seeds:
                a, b = (over_seeds([found[side[seed]][kind] for seed in seeds]) for side in (ours, theirs))
                yield _test(a, b, {"kind": kind, "against": system, "budget": budget, "seeds": seeds})


def _test(mine: PerQuery, theirs: PerQuery, what: dict[str, Any]) -> dict[str, Any]:
    queries = sorted(mine[MAIN])
    a, b = ([side[MAIN][query] for query in queries] for side in (mine, theirs))
    differences = [x - y for x, y in zip(a, b, strict=True)]
    low, high = bootstrap_interval(differences)
    return {
        **what,
        "measure": MAIN,
        "difference": round(sum(differences) / len(differences), 4),
        "interval": [round(low, 4), round(high, 4)],
        "p": round(randomisation_test(a, b), 4),
    }


def over_seeds(runs: Sequence[PerQuery]) -> PerQuery:
    """Each query's value averaged over the seeds.

    >>> over_seeds([{"MAP": {"q": 1.0}}, {"MAP": {"q": 0.0}}])
    {'MAP': {'q': 0.5}}
    """
    return {
        measure: {query: sum(run[measure][query] for run in runs) / len(runs) for query in values}
        for measure, values in runs[0].items()
    }


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items()}
