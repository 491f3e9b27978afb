"""`sharprank run`: the main job on the user's data, in one command."""

from __future__ import annotations

from sharprank.cli.options import parse, run_command
from sharprank.pipeline.config import RunConfig

PROG = "sharprank run"
DESCRIPTION = (
    "Mine hard negatives, train a reranker, and measure it against the first stage and against itself untrained, on "
    "queries that training never saw. Run it again to continue after a stop."
)


def main(argv: list[str] | None = None) -> int:
    """Parse, run, print the report; returns the exit code."""
    return run_command(lambda: _run(argv))


def _run(argv: list[str] | None) -> None:
    config = parse(RunConfig, argv, prog=PROG, description=DESCRIPTION)
    from sharprank.pipeline.run import run

    print(run(config))
    print(f"\nreranker: {config.folder / 'reranker'}")
