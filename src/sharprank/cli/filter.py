"""`sharprank filter`: parse the flags, filter the rows, print what was dropped on stdout."""

from __future__ import annotations

from sharprank.cli.options import parse, run_command
from sharprank.mining.refilter_config import RefilterConfig

PROG = "sharprank filter"
DESCRIPTION = (
    "Filter mined rows again by the scores they carry, without mining again: cosines of `sharprank mine "
    "--output_scores True`, teacher scores of `--teacher`. Loads no model."
)


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return run_command(lambda: _filter(argv))


def _filter(argv: list[str] | None) -> None:
    config = parse(RefilterConfig, argv, prog=PROG, description=DESCRIPTION)
    from sharprank.mining.refilter import refilter, summary

    print(summary(refilter(config).stats))
    print(f"output     {config.output_file} (statistics: {config.output_file}.stats.json)")
