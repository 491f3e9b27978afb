"""Measure speed beside FlagEmbedding and sentence-transformers, in one run on one thread.

    python -m benchmarks.speed [--full] [--only training] [--output FILE.json]
    python -m benchmarks.speed --profile

Prints a table and writes it, with every round's seconds, as JSON; `--docs` also puts the table into docs/results.md.
`--profile` measures no ratios and prints what the time of each side consists of.
Peers are measured at their default and at the best of a few settings; ratios are medians over interleaved rounds.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.marks import put_into
from benchmarks.speed.measure import MEASUREMENTS, Size
from benchmarks.speed.profile import print_profile
from benchmarks.speed.table import render
from sharprank.formats.writers import write_json
from sharprank.provenance import versions

HERE = Path(__file__).parent
RESULTS = HERE.parent.parent / "docs" / "results.md"

QUICK = Size(
    training_rows=8, rounds=3, scoring_rows=12, encoding_rows=16, queries=1000, passages=100_000, flat=(1_000, 100_000)
)
FULL = Size(
    training_rows=16, rounds=5, scoring_rows=40, encoding_rows=64, queries=1000, passages=100_000, flat=(1_000, 100_000)
)


def main(argv: list[str] | None = None) -> None:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed", description="Measure speed beside FlagEmbedding and sentence-transformers."
    )
    parser.add_argument("--full", action="store_true", help="more rows, more rounds (about an hour)")
    parser.add_argument("--only", nargs="+", choices=list(MEASUREMENTS), help="leave the others out")
    parser.add_argument("--profile", action="store_true", help="only print where the time goes (about two minutes)")
    parser.add_argument("--threads", type=int, default=1, help="threads of every side")
    parser.add_argument("--output", type=Path, help="JSON file (default: beside this file)")
    parser.add_argument("--docs", action="store_true", help="put the table into docs/results.md")
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    size = FULL if options.full else QUICK
    if options.profile:
        with tempfile.TemporaryDirectory() as folder:
            print_profile(Path(folder), rows=size.encoding_rows)
        return
    output = options.output or HERE / ("full.json" if options.full else "quick.json")
    report: dict[str, Any] = {"machine": machine(), "size": vars(size), "versions": versions(), "measured": {}}
    with tempfile.TemporaryDirectory() as folder:
        for name in options.only or MEASUREMENTS:
            print(f"{name} (load average {os.getloadavg()[0]:.1f})", file=sys.stderr)
            report["measured"][name] = MEASUREMENTS[name](size, Path(folder))
            write_json(output, report)  # after each, so that a run that is stopped leaves what it has
    print(render(report))
    if options.docs:
        put_into(RESULTS, render(report), name="speed")


def machine() -> dict[str, Any]:
    """What ran it, as far as that can be told."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "load": round(os.getloadavg()[0], 2),
    }


if __name__ == "__main__":
    main()
