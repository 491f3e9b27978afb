"""`sharprank teach`: parse the flags, let the teacher score, print where the scores are."""

from __future__ import annotations

from sharprank.cli.options import parse, run_command
from sharprank.training.teach_config import TeachConfig

PROG = "sharprank teach"
DESCRIPTION = (
    "Add a teacher's raw scores to training data (pos_scores and neg_scores of rows, scores of lists), for sharprank "
    "train --loss kl, margin_mse or --distillation_weight. An interrupted job continues where it was."
)


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return run_command(lambda: _teach(argv))


def _teach(argv: list[str] | None) -> None:
    config = parse(TeachConfig, argv, prog=PROG, description=DESCRIPTION)
    from sharprank.training.teach import teach

    result = teach(config)
    if result.numbers:
        agreed = result.numbers["positives_above_negatives"]
        print(f"scored     {result.numbers['pairs']:,} pairs of {result.numbers['records']:,} records")
        if agreed is not None:
            print(f"agreement  {agreed:.1%} of the positives above their negatives")
    print(f"output     {result.output_path} (statistics: {result.output_path}.stats.json)")
