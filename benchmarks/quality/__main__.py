"""Train this package's recipe and the peers' documented ones from the same start, data and compute; compare them.

    python -m benchmarks.quality --data FOLDER [--collections scifact ...] [--systems NAME ...] [--seeds 42 43 44]

Every training is a cell with files of its own under --work; what is done is not done again, so the command can be
stopped at any time and typed again. FOLDER holds the given collections, each in a folder of its name.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from benchmarks.quality.cells import BUDGETS, SYSTEMS, Bench, MissingTime, ordered, run_cell
from benchmarks.quality.prepared import COLLECTIONS


def main(argv: list[str] | None = None) -> None:
    """Run what is missing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the given collections; python_docs needs none")
    parser.add_argument("--work", type=Path, default=Path("out/quality"), help="where everything is kept")
    parser.add_argument("--collections", nargs="+", choices=COLLECTIONS, default=list(COLLECTIONS))
    parser.add_argument("--systems", nargs="+", choices=list(SYSTEMS), default=list(SYSTEMS))
    parser.add_argument("--budgets", nargs="+", choices=BUDGETS, default=list(BUDGETS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[42, 43, 44])
    parser.add_argument("--tokens", type=int, default=150_000, help="useful tokens of a training")
    parser.add_argument("--max_len", type=int, default=128, help="tokens of a pair")
    parser.add_argument("--keep", action="store_true", help="keep the weights after scoring")
    options = parser.parse_args(argv)
    bench = Bench(
        data=options.data, work=options.work, tokens=options.tokens, max_len=options.max_len, keep=options.keep
    )
    for cell in ordered(options.collections, options.systems, options.budgets, options.seeds):
        start = time.perf_counter()
        try:
            result = run_cell(bench, cell)
        except MissingTime as missing:
            print(f"{cell}: left out, {missing}", file=sys.stderr)
            continue
        took = f"{result['steps']} steps, {result['tokens']} tokens, {result['cpu']:.0f} CPU s of training"
        print(f"{cell}: {took}; {time.perf_counter() - start:.0f} s in all", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
