"""`sharprank evaluate`: parse the flags, run the stage, print the result on stdout."""

from __future__ import annotations

from sharprank.cli.options import parse, run_command
from sharprank.evaluation.config import EvaluationConfig

PROG = "sharprank evaluate"
DESCRIPTION = (
    "Measure rerankers. On rows {query, pos, neg}: precision, recall, F1 and AUC over all pairs, then ranking measures "
    "with their chance levels. On a collection folder: re-rank a first stage and say whether that made it better."
)


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return run_command(lambda: _evaluate(argv))


def _evaluate(argv: list[str] | None) -> None:
    config = parse(EvaluationConfig, argv, prog=PROG, description=DESCRIPTION)
    from sharprank.evaluation.evaluate import evaluate
    from sharprank.evaluation.report import render

    print(render(evaluate(config), config.output_format))
