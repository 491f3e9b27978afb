"""`sharprank demo`: the main job on the documentation of this Python, offline."""

from __future__ import annotations

from sharprank.cli.options import parse, run_command
from sharprank.pipeline.demo import DemoConfig

PROG = "sharprank demo"
DESCRIPTION = (
    "Learn to find the documentation of Python from one-line summaries: mine, train and evaluate on the docstrings of "
    "the standard library, in about ten minutes on two cores, without network. Run it again to continue after a stop."
)


def main(argv: list[str] | None = None) -> int:
    """Parse, run, print the report; returns the exit code."""
    return run_command(lambda: _demo(argv))


def _demo(argv: list[str] | None) -> None:
    config = parse(DemoConfig, argv, prog=PROG, description=DESCRIPTION)
    from sharprank.pipeline.demo import demo

    print(demo(config))
    print(f"\nreranker: {config.output_dir}/reranker")
