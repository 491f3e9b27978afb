"""`sharprank ablate`: which way of retrieving helps."""

from __future__ import annotations

from pathlib import Path

from sharprank.cli.options import parse, run_command
from sharprank.synthesis.ablation_config import AblateConfig
from sharprank.synthesis.config import flags_of_004
from sharprank.synthesis.endpoint import EndpointConfig

PROG = "sharprank ablate"
DESCRIPTION = (
    "Compare ways of retrieving over the same attempts: nearest passages, diverse retrieval, either with a reranker. "
    "A success is a passage that the judgements, or a language model, approve of."
)


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return run_command(lambda: _ablate(argv))


def _ablate(argv: list[str] | None) -> None:
    config, endpoint = parse(
        (AblateConfig, EndpointConfig), argv, prog=PROG, description=DESCRIPTION, flags_of_file=flags_of_004
    )
    from sharprank.synthesis.ablation import ablate
    from sharprank.synthesis.ablation_report import table

    report = ablate(config, endpoint)
    print(table(report["results"], report["tests"]))
    lost = sum(attempt["query"] is None for attempt in report["attempts"])
    print(f"\nattempts   {len(report['attempts']):,}, {lost:,} of them lost before retrieval")
    print(f"output     {config.output_file} (picture: {Path(config.output_file).with_suffix('.svg')})")
