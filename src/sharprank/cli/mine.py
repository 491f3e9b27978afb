"""`sharprank mine`: parse the flags, run the stage, print what was mined on stdout."""

from __future__ import annotations

from sharprank.cli.options import parse, run_command
from sharprank.mining.config import MineConfig
from sharprank.progress import is_first_rank

PROG = "sharprank mine"
DESCRIPTION = (
    "Find hard negatives: rank a pool of passages for every query with a bi-encoder and sample a window of ranks. "
    "What is a positive, nearly a positive, the query, or there already never becomes a negative."
)


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return run_command(lambda: _mine(argv))


def _mine(argv: list[str] | None) -> None:
    config = parse(MineConfig, argv, prog=PROG, description=DESCRIPTION)
    from sharprank.mining.mine import mine
    from sharprank.mining.report import summary

    result = mine(config)
    if is_first_rank():
        print(summary(result.stats))
        print(f"output     {result.output_path} (statistics: {result.stats_path})")
