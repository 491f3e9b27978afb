"""One factor of our recipe at a time: what helps the reranker, and what does not.

    python -m benchmarks.quality.factors [--data FOLDER] [--only NAME ...] [--collections ...] [--seeds 42 43 44]

Every variant differs from the default settings in one thing, and is trained on the same number of tokens unless it
says how many passes over the rows. Its cells lie beside those of `python -m benchmarks.quality` and resume like them.
Choose by the validation columns (fused there is cross-fitted): test is for the report.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.marks import put_into
from benchmarks.quality.cells import OURS, TOKENS, Bench, Cell, read_result, run_cell
from benchmarks.quality.prepared import COLLECTIONS, TEST, VALIDATION, Prepared, some_queries
from benchmarks.quality.variants import (
    Averaged,
    Continued,
    FilteredByItself,
    TaughtByAnEnsemble,
    WarmStart,
)
from benchmarks.quality.with_sharprank import Sharprank
from sharprank.formats.trec import read_run
from sharprank.formats.writers import write_json
from sharprank.metrics.fusion import cross_fitted, fit_fusion, fuse
from sharprank.metrics.ranking import average, measure_run

HERE = Path(__file__).parent
RECIPES = HERE.parent.parent / "docs" / "recipes.md"
MAIN = "nDCG@10"

VARIANTS: dict[str, Sharprank] = {
    "default settings": Sharprank(),
    "both texts read together": Sharprank({"pooling": "maxsim", "distillation_weight": 0}),
    "both texts read together, as it was by default": Sharprank(
        {"pooling": "maxsim", "distillation_weight": 1, "teacher_temperature": 0.05, "learning_rate": 2e-4}
    ),
    "plain head": Sharprank({"pooling": "plain"}),
    "linear head on the first token": Sharprank({"pooling": "cls"}),
    "linear head on the mean": Sharprank({"pooling": "mean"}),
    "taught by the miner's similarities": Sharprank({"distillation_weight": 1}),
    "taught by the miner's similarities, a little": Sharprank({"distillation_weight": 0.2}),
    "learning rate x 2": Sharprank({"learning_rate": 2e-4}),
    "learning rate / 2": Sharprank({"learning_rate": 5e-5}),
    "learning rate / 4": Sharprank({"learning_rate": 2.5e-5}),
    "4 groups a step": Sharprank({"per_device_train_batch_size": 4}),
    "16 groups a step": Sharprank({"per_device_train_batch_size": 16}),
    "groups of 4": Sharprank({"train_group_size": 4, "per_device_train_batch_size": 16}),
    "groups of 16": Sharprank({"train_group_size": 16, "per_device_train_batch_size": 4}),
    "the model's own dropout": Sharprank({"dropout": 0.1}),
    "constant learning rate": Sharprank({"lr_scheduler_type": "constant_with_warmup"}),
    "pairs of 192 tokens": Sharprank({"max_len": 192}),
    "one pass over all rows": Sharprank(passes=1),
    "three passes over all rows": Sharprank(passes=3),
    "a trained reranker, further": Continued(),
    "a trained reranker, further, learning rate x 3": Continued({"learning_rate": 6e-5}),
    "a trained reranker, further, learning rate x 10": Continued({"learning_rate": 2e-4}),
    "loss lambda": Sharprank({"loss": "lambda", "distillation_weight": 0}),
    "loss bce": Sharprank({"loss": "bce", "distillation_weight": 0}),
    "negatives from ranks 2-50": Sharprank(mine_flags={"range_for_sampling": "2-50"}),
    "negatives without likely positives": Sharprank(mine_flags={"false_negatives": "topk_percpos"}),
    "half the negatives from BM25": Sharprank(mine_flags={"sources": "dense:1,bm25:1"}),
    "judged negatives kept": Sharprank(mine_flags={"keep_existing": True}),
    "several positives a group": Sharprank({"positives_per_group": 2}),
    "mean of the last three checkpoints": Averaged(),
    "as trained, without the start": Sharprank({"start_share": 0}),
    "a quarter of the start": Sharprank({"start_share": 0.25}),
    "three quarters of the start": Sharprank({"start_share": 0.75}),
    "half of the tokens on made-up queries first": WarmStart(),
    "taught by three of its own": TaughtByAnEnsemble({"distillation_weight": 1}),
    "negatives filtered by one of its own": FilteredByItself(),
}
BASE = next(iter(VARIANTS))


def main(argv: list[str] | None = None) -> None:
    """Run what is missing, print everything."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality.factors", description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the given collections; python_docs needs none")
    parser.add_argument("--work", type=Path, default=Path("out/quality"), help="where everything is kept")
    parser.add_argument("--collections", nargs="+", choices=COLLECTIONS, default=["python_docs"])
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), help="leave the others out")
    parser.add_argument("--seeds", nargs="+", type=int, default=[42])
    parser.add_argument("--tokens", type=int, default=400_000, help="useful tokens of a training")
    parser.add_argument("--max_len", type=int, default=128, help="tokens of a pair")
    parser.add_argument("--queries", type=int, default=150, help="of each split that a variant is scored on")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--report", action="store_true", help="train nothing: only show what is done")
    parser.add_argument("--output", type=Path, default=HERE / "factors.json", help="the figures")
    parser.add_argument("--docs", action="store_true", help="put the table into docs/recipes.md")
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    variants = {cell_name(name): recipe for name, recipe in VARIANTS.items() if name != BASE}
    bench = Bench(
        data=options.data,
        work=options.work,
        tokens=options.tokens,
        max_len=options.max_len,
        variants=variants,
        variant_queries=options.queries,
    )
    names = options.only or list(VARIANTS)
    cells = [Cell(c, cell_name(n), TOKENS, seed) for seed in options.seeds for c in options.collections for n in names]
    if not options.report:
        for cell in cells:
            run_cell(bench, cell)
    found = list(figures(bench, cells))
    write_json(options.output, {"tokens": bench.tokens, "max_len": bench.max_len, "cells": found})
    print(table(found, bench.tokens))
    if options.docs:
        put_into(RECIPES, table(found, bench.tokens), name="factors")


def cell_name(variant: str) -> str:
    """The system of a variant's cells; the default settings are the same cells as everywhere.

    >>> cell_name("default settings"), cell_name("plain head"), cell_name("learning rate / 2")
    ('sharprank', 'sharprank, plain head', 'sharprank, learning rate : 2')
    """
    return OURS if variant == BASE else f"{OURS}, {variant.replace('/', ':')}"


def figures(bench: Bench, cells: Sequence[Cell]) -> Iterable[dict[str, Any]]:
    """Means over queries of the cells that are done, alone and fused, on validation and on the last test split."""
    for cell in cells:
        if read_result(bench, cell) is None:
            continue
        prepared = bench.prepared(cell.collection)
        weight, validation = _validation(bench, cell, prepared)
        split = prepared.measured[-1]
        qrels = prepared.read(split).qrels
        qrels = some_queries(qrels, bench.variant_queries or len(qrels))
        reranked = {q: r for q, r in read_run(bench.folder(cell) / f"{TEST}.trec").items() if q in qrels}
        first = {q: ranking for q, ranking in prepared.first_stage(split).items() if q in reranked}
        runs = {"first": first, "alone": reranked, "fused": fuse(first, reranked, weight)}
        test = {kind: _mean(measure_run(qrels, run, [MAIN])) for kind, run in runs.items()}
        place = {"collection": cell.collection, "variant": cell.system, "seed": cell.seed, "split": split}
        yield {**place, "weight": weight, VALIDATION: validation, TEST: test}


def _validation(bench: Bench, cell: Cell, prepared: Prepared) -> tuple[float, dict[str, float]]:
    qrels, first = prepared.read(VALIDATION).qrels, prepared.first_stage(VALIDATION)
    reranked = read_run(bench.folder(cell) / f"{VALIDATION}.trec")
    values = {
        "first": measure_run(qrels, first, [MAIN]),
        "alone": measure_run(qrels, reranked, [MAIN]),
        "fused": cross_fitted(qrels, first, reranked, measures=[MAIN]),
    }
    weight = fit_fusion(qrels, first, reranked, measure=MAIN).weight
    return weight, {kind: _mean(found) for kind, found in values.items()}


def _mean(values: Any) -> float:
    return round(average(values)[MAIN], 4)


def table(found: Sequence[Mapping[str, Any]], tokens: int) -> str:
    """A table a collection: a line a variant, means over its seeds, best validation figure first."""
    parts = [f"{MAIN}, {tokens:,} useful tokens a training."]
    for collection in dict.fromkeys(cell["collection"] for cell in found):
        mine = [cell for cell in found if cell["collection"] == collection]
        parts.append("\n".join(_lines(collection, mine)))
    return "\n\n".join(parts)


def _lines(collection: str, cells: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    columns = [(split, kind) for split in (VALIDATION, TEST) for kind in ("alone", "fused")]
    first = ", ".join(f"{name} {cells[0][split]['first']:.4f}" for split, name in _named(cells[0]).items())
    yield f"**{collection}** (first stage: {first})"
    yield ""
    yield f"| | seeds | {' | '.join(f'{_named(cells[0])[split]} {kind}' for split, kind in columns)} |"
    yield "|---" * (len(columns) + 2) + "|"
    rows = []
    for variant in dict.fromkeys(cell["variant"] for cell in cells):
        mine = [cell for cell in cells if cell["variant"] == variant]
        means = [sum(cell[split][kind] for cell in mine) / len(mine) for split, kind in columns]
        name = BASE if variant == OURS else variant.removeprefix(f"{OURS}, ").replace(" : ", " / ")
        rows.append((f"{name}", len(mine), means))
    for name, number, means in sorted(rows, key=lambda row: -row[2][1]):
        yield f"| {name} | {number} | {' | '.join(f'{mean:.4f}' for mean in means)} |"


def _named(cell: Mapping[str, Any]) -> dict[str, str]:
    return {VALIDATION: VALIDATION, TEST: cell["split"]}


if __name__ == "__main__":
    main()
