"""`sharprank test_reranker`: parse the flags, measure, write the JSON file, print the table."""

from __future__ import annotations

from sharprank.cli.options import parse, run_command

PROG = "sharprank test_reranker"
DESCRIPTION = "Measure one reranker on rows {query, pos, neg} and write metrics and per-query values as JSON."


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return run_command(lambda: _test(argv))


def _test(argv: list[str] | None) -> None:
    from sharprank.evaluation.report import render
    from sharprank.evaluation.reranker_test import RerankerTestConfig, test_reranker

    config = parse(RerankerTestConfig, argv, prog=PROG, description=DESCRIPTION)
    print(render(test_reranker(config), "text"))
    print(f"written to {config.output_file}")
