"""Train this package's recipe and the peers' documented ones from the same start, data and compute; compare them.

    python -m benchmarks.quality --data FOLDER [--collections scifact ...] [--systems NAME ...] [--seeds 42 43 44]

Every training is a cell with files of its own under --work; what is done is not done again, so the command can be
stopped at any time and typed again. The values of finished cells are kept beside this file, so that another machine
goes on where this one stopped (--again trains a system anew). FOLDER holds the given collections, each in a folder of
its name.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.marks import put_into
from benchmarks.quality.cells import BUDGETS, SYSTEMS, Bench, Cell, MissingTime, forget, ordered, run_cell
from benchmarks.quality.compare import compare, done_cells, done_of
from benchmarks.quality.kept import KEPT, read_kept, write_kept
from benchmarks.quality.prepared import COLLECTIONS
from benchmarks.quality.table import render
from sharprank.formats.writers import write_json

HERE = Path(__file__).parent
RESULTS = HERE.parent.parent / "docs" / "results.md"


def main(argv: list[str] | None = None) -> None:
    """Run what is missing, compare what is there."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the given collections; python_docs needs none")
    parser.add_argument("--work", type=Path, default=Path("out/quality"), help="where everything is kept")
    parser.add_argument("--collections", nargs="+", choices=COLLECTIONS, default=list(COLLECTIONS))
    parser.add_argument("--systems", nargs="+", choices=list(SYSTEMS), default=list(SYSTEMS))
    parser.add_argument("--budgets", nargs="+", choices=BUDGETS, default=list(BUDGETS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[42, 43, 44])
    parser.add_argument("--tokens", type=int, default=400_000, help="useful tokens of a training")
    parser.add_argument("--max_len", type=int, default=128, help="tokens of a pair")
    parser.add_argument("--keep", action="store_true", help="keep the weights after scoring")
    parser.add_argument("--threads", type=int, default=1, help="threads of every side")
    parser.add_argument("--again", nargs="+", choices=list(SYSTEMS), default=[], help="forget what is kept of these")
    parser.add_argument("--kept", type=Path, default=KEPT, help="what is kept of finished cells")
    parser.add_argument("--report", action="store_true", help="train nothing: only compare what is done")
    parser.add_argument("--output", type=Path, default=HERE / "results.json", help="the figures")
    parser.add_argument("--docs", action="store_true", help="put the tables into docs/results.md")
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    bench = Bench(
        data=options.data, work=options.work, tokens=options.tokens, max_len=options.max_len, keep=options.keep
    )
    bench = replace(bench, kept=read_kept(options.kept, bench, but=options.again))
    places = (options.collections, options.budgets, options.seeds)
    if not options.report:
        for cell in ordered(options.collections, options.systems, options.budgets, options.seeds):
            if cell.system in options.again:
                forget(bench, cell)
            _run(bench, cell)
            write_kept(options.kept, bench, done_of(bench, [cell]))
    done = done_cells(bench, *places)
    write_kept(options.kept, bench, done)
    report = compare(bench, done)
    write_json(options.output, report)
    print(render(report))
    if options.docs:
        put_into(RESULTS, render(report), name="quality")


def _run(bench: Bench, cell: Cell) -> None:
    start = time.perf_counter()
    try:
        result = run_cell(bench, cell)
    except MissingTime as missing:
        print(f"{cell}: left out, {missing}", file=sys.stderr)
        return
    took = f"{result['steps']} steps, {result['tokens']} tokens, {result['cpu']:.0f} CPU s of training"
    print(f"{cell}: {took}; {time.perf_counter() - start:.0f} s in all", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
