"""One factor of our recipe at a time: what helps the reranker, and what does not.

    python -m benchmarks.quality.factors [--data FOLDER] [--only NAME ...] [--collections ...] [--seeds 42 43 44]

Every variant differs from the default settings in one thing, and is trained on the same number of tokens unless it
says how many passes over the rows. Its cells lie beside those of `python -m benchmarks.quality`, resume like them and
are kept in the same file. Choose by the validation columns (fused there is cross-fitted): test is for the report, and
the last column, over the queries of both, says which differences are more than chance.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.marks import put_into
from benchmarks.quality.cells import OURS, TOKENS, Bench, Cell, forget, run_cell
from benchmarks.quality.compare import ALONE, FUSED, MAIN, done_of
from benchmarks.quality.kept import KEPT, read_kept, write_kept
from benchmarks.quality.prepared import ALL_COLLECTIONS, TEST, VALIDATION
from benchmarks.quality.variants import (
    Averaged,
    Continued,
    FilteredByItself,
    Scaled,
    TaughtByAnEnsemble,
    WarmStart,
)
from benchmarks.quality.with_sharprank import Sharprank
from sharprank.formats.writers import write_json
from sharprank.metrics.ranking import measure_run
from sharprank.metrics.significance import randomisation_test

HERE = Path(__file__).parent
RECIPES = HERE.parent.parent / "docs" / "recipes.md"

VARIANTS: dict[str, Sharprank] = {
    "default settings": Sharprank(),
    "both texts read together": Sharprank({"pooling": "maxsim", "distillation_weight": 0}),
    "both texts read together, as it was by default": Sharprank(
        {"pooling": "maxsim", "distillation_weight": 1, "teacher_temperature": 0.05, "learning_rate": 2e-4}
    ),
    "plain head": Sharprank({"pooling": "plain"}),
    "plain head, 8 groups a step": Sharprank({"pooling": "plain", "per_device_train_batch_size": 8}),
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
    "a trained reranker, further, half of the start": Continued({"start_share": 0.5}),
    "a trained reranker, further, learning rate x 3": Continued({"learning_rate": 6e-5}),
    "a trained reranker, further, learning rate x 10": Continued({"learning_rate": 2e-4}),
    "loss lambda": Sharprank({"loss": "lambda", "distillation_weight": 0}),
    "loss bce": Sharprank({"loss": "bce", "distillation_weight": 0}),
    "temperature x 2": Scaled(scale=10.0),
    "temperature / 2": Scaled(scale=40.0),
    "negatives from ranks 2-50": Sharprank(mine_flags={"range_for_sampling": "2-50"}),
    "negatives without likely positives": Sharprank(mine_flags={"false_negatives": "topk_percpos"}),
    "half the negatives from BM25": Sharprank(mine_flags={"sources": "dense:1,bm25:1"}),
    "judged negatives kept": Sharprank(mine_flags={"keep_existing": True}),
    "several positives a group": Sharprank({"positives_per_group": 2}),
    "mean of the last three checkpoints": Averaged(),
    "as trained, without the start": Sharprank({"start_share": 0}),
    "a quarter of the start": Sharprank({"start_share": 0.25}),
    "half of the start": Sharprank({"start_share": 0.5}),
    "three quarters of the start": Sharprank({"start_share": 0.75}),
    "half of the tokens on made-up queries first": WarmStart(),
    "taught by three of its own": TaughtByAnEnsemble({"distillation_weight": 1}),
    "negatives filtered by one of its own": FilteredByItself(),
}
BASE = next(iter(VARIANTS))


def main(argv: list[str] | None = None) -> None:
    """Run what is missing, print everything."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality.factors", description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the given collections; the others need none")
    parser.add_argument("--work", type=Path, default=Path("out/quality"), help="where everything is kept")
    parser.add_argument("--collections", nargs="+", choices=ALL_COLLECTIONS, default=["python_docs"])
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), help="leave the others out")
    parser.add_argument("--seeds", nargs="+", type=int, default=[42])
    parser.add_argument("--tokens", type=int, default=400_000, help="useful tokens of a training")
    parser.add_argument("--max_len", type=int, default=128, help="tokens of a pair")
    parser.add_argument("--queries", type=int, default=150, help="of each split that a variant is scored on")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--again", action="store_true", help="forget what is kept of these")
    parser.add_argument("--kept", type=Path, default=KEPT, help="what is kept of finished cells")
    parser.add_argument("--report", action="store_true", help="train nothing: only show what is done")
    parser.add_argument("--output", type=Path, default=HERE / "factors.json", help="the figures")
    parser.add_argument("--docs", nargs="?", const="factors", help="put the table into docs/recipes.md, at this mark")
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    bench = Bench(
        data=options.data,
        work=options.work,
        tokens=options.tokens,
        max_len=options.max_len,
        variants={cell_name(name): recipe for name, recipe in VARIANTS.items() if name != BASE},
        variant_queries=options.queries,
    )
    names = options.only or list(VARIANTS)
    cells = [Cell(c, cell_name(n), TOKENS, seed) for seed in options.seeds for c in options.collections for n in names]
    if options.again:
        for cell in cells:
            forget(bench, cell)
    kept = {} if options.again else read_kept(options.kept, bench)
    bench = replace(
        bench, kept={cell: kept[cell] for cell in cells if cell in kept and _has_all(bench, cell, kept[cell])}
    )
    if not options.report:
        for cell in cells:
            run_cell(bench, cell)
            write_kept(options.kept, bench, done_of(bench, [cell]))
    found = list(figures(bench, done_of(bench, cells)))
    write_json(options.output, {"tokens": bench.tokens, "max_len": bench.max_len, "cells": found})
    print(table(found, bench.tokens))
    if options.docs:
        put_into(RECIPES, table(found, bench.tokens), name=options.docs)


def cell_name(variant: str) -> str:
    """The system of a variant's cells; the default settings are the same cells as everywhere.

    >>> cell_name("default settings"), cell_name("plain head"), cell_name("learning rate / 2")
    ('sharprank', 'sharprank, plain head', 'sharprank, learning rate : 2')
    """
    return OURS if variant == BASE else f"{OURS}, {variant.replace('/', ':')}"


def _has_all(bench: Bench, cell: Cell, result: Mapping[str, Any]) -> bool:
    """Whether a kept result has the values of all queries that factors are measured on."""
    places = {split: result["values"].get(split) for split in _columns(bench, cell.collection).values()}
    return all(
        values and not _some(bench, cell.collection, s) - set(values[ALONE][MAIN]) for s, values in places.items()
    )


def _columns(bench: Bench, collection: str) -> dict[str, str]:
    """{column: split}: of the test splits the last one, which asks most."""
    return {VALIDATION: VALIDATION, TEST: bench.prepared(collection).measured[-1]}


def _some(bench: Bench, collection: str, split: str) -> set[str]:
    """The queries of a split that every variant has, and the default settings among others."""
    return set(bench.judged(Cell(collection, next(iter(bench.variants)), TOKENS, 0), split))


def figures(bench: Bench, done: Mapping[Cell, Mapping[str, Any]]) -> Iterable[dict[str, Any]]:
    """Means over queries and seeds of each variant, alone and fused, on validation and on the last test split.

    `difference` and `p` are those of the reranker alone, less the default settings' of the same seeds, over the queries
    of both splits.
    """
    for collection, variant in dict.fromkeys((cell.collection, cell.system) for cell in done):
        here = {cell: result for cell, result in done.items() if cell.collection == collection}
        mine = {cell.seed: result for cell, result in here.items() if cell.system == variant}
        base = {cell.seed: result for cell, result in here.items() if cell.system == OURS and cell.seed in mine}
        prepared, columns = bench.prepared(collection), _columns(bench, collection)
        some = {split: sorted(_some(bench, collection, split)) for split in columns.values()}
        found: dict[str, Any] = {"collection": collection, "variant": variant, "seeds": list(mine)}
        found["split"] = columns[TEST]
        for column, split in columns.items():
            first = measure_run(prepared.read(split).qrels, prepared.first_stage(split), [MAIN])[MAIN]
            kinds = {kind: _values(mine.values(), kind, {split: some[split]}) for kind in (ALONE, FUSED)}
            values = {"first": [first[query] for query in some[split]], **kinds}
            found[column] = {kind: _mean(value) for kind, value in values.items()}
        if base and variant != OURS:
            theirs = _values((mine[seed] for seed in base), ALONE, some)
            ours = _values(base.values(), ALONE, some)
            found["difference"] = round(_mean(theirs) - _mean(ours), 4)
            found["p"] = round(randomisation_test(theirs, ours), 4)
        yield found


def _values(results: Iterable[Mapping[str, Any]], kind: str, queries: Mapping[str, Sequence[str]]) -> list[float]:
    """Values of the queries of each split, averaged over the results of several seeds."""
    results = list(results)
    return [
        sum(result["values"][split][kind][MAIN][query] for result in results) / len(results)
        for split, some in queries.items()
        for query in some
    ]


def _mean(values: Sequence[float]) -> float:
    return round(sum(values) / len(values), 4)


def table(found: Sequence[Mapping[str, Any]], tokens: int) -> str:
    """A table a collection: a line a variant, means over its seeds, best validation figure first."""
    parts = [f"{MAIN}, {tokens:,} useful tokens a training."]
    for collection in dict.fromkeys(row["collection"] for row in found):
        parts.append("\n".join(_lines(collection, [row for row in found if row["collection"] == collection])))
    return "\n\n".join(parts)


def _lines(collection: str, rows: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    named = {VALIDATION: VALIDATION, TEST: rows[0]["split"]}
    columns = [(column, kind) for column in named for kind in (ALONE, FUSED)]
    first = ", ".join(f"{name} {rows[0][column]['first']:.4f}" for column, name in named.items())
    yield f"**{collection}** (first stage: {first})"
    yield ""
    yield f"| | seeds | {' | '.join(f'{named[column]} {kind}' for column, kind in columns)} | alone, both splits | p |"
    yield "|---" * (len(columns) + 4) + "|"
    for row in sorted(rows, key=lambda row: -row[VALIDATION][FUSED]):
        name = BASE if row["variant"] == OURS else row["variant"].removeprefix(f"{OURS}, ").replace(" : ", " / ")
        means = " | ".join(f"{row[column][kind]:.4f}" for column, kind in columns)
        compared = f"{row['difference']:+.4f} | {row['p']:.4f}" if "p" in row else " | "
        yield f"| {name} | {len(row['seeds'])} | {means} | {compared} |"


if __name__ == "__main__":
    main()
