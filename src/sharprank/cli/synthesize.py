"""`sharprank synthesize`: training rows from documents alone."""

from __future__ import annotations

from typing import Any

from sharprank.cli.options import parse, run_command
from sharprank.synthesis.config import SynthesizeConfig, flags_of_004
from sharprank.synthesis.endpoint import EndpointConfig

PROG = "sharprank synthesize"
DESCRIPTION = (
    "Make rows {query, pos, neg} from a corpus: by default from the documents' own words, offline; or with a language "
    "model that writes queries and judges passages. The same command again continues after a stop."
)


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return run_command(lambda: _synthesize(argv))


def _synthesize(argv: list[str] | None) -> None:
    config, endpoint = parse(
        (SynthesizeConfig, EndpointConfig), argv, prog=PROG, description=DESCRIPTION, flags_of_file=flags_of_004
    )
    from sharprank.synthesis.synthesize import synthesize

    result = synthesize(config, endpoint)
    print("\n".join(_lines(result.report)))
    print(f"output     {result.output_path} (summary: {result.summary_path})")
    print(f"next       {_next(config)}")


def _next(config: SynthesizeConfig) -> str:
    """How to find more negatives for the rows: in passages of the form that the rows have."""
    mine = f"sharprank mine --model_name_or_path MODEL --input_file {config.output_file} --output_file MINED"
    if config.generator == "llm":
        return f"{mine} --candidate_pool {config.corpus_path}"
    if config.output_pool:
        return f"{mine} --candidate_pool {config.output_pool}"
    return (
        "for `sharprank mine`, run this again with --output_pool POOL: it is to search passages in the rows' own form"
    )


def _lines(report: dict[str, Any]) -> list[str]:
    summary = report["summary"]
    attempts, rows = summary["total_attempts"], summary["successful_examples"]
    lines = [f"made       {rows:,} rows of {attempts:,} attempts ({summary['success_rate']:.1%}); {report['ended']}"]
    lines += [f"failed     {count:,} {reason}" for reason, count in report["failures"].items()]
    if report["verdicts"]:
        lines.append("verdicts   " + ", ".join(f"{count:,} {name}" for name, count in report["verdicts"].items()))
    if "endpoint" in report:
        spent = report["endpoint"]
        tokens = f"{spent['prompt_tokens_of_all_runs']:,} + {spent['completion_tokens_of_all_runs']:,} tokens"
        lines.append(f"spent      {tokens}, {spent['cost']:g} at the prices given")
    return lines
