"""`sharprank compare A B [C ...]`: parse the flags, compare, print the result on stdout."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from sharprank.cli.options import parse, run_command
from sharprank.evaluation.compare_config import CompareConfig

PROG = "sharprank compare"
DESCRIPTION = (
    "Is B really better than A? `sharprank compare A B [C ...] [flags]` takes files of `sharprank evaluate "
    "--output_file`, or TREC runs with --data or --qrels: paired tests, intervals, the queries that got worse."
)


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return run_command(lambda: _compare(sys.argv[1:] if argv is None else argv))


def _compare(argv: Sequence[str]) -> None:
    config = parse(CompareConfig, _with_flag(argv), prog=PROG, description=DESCRIPTION)
    config.check()
    from sharprank.evaluation.contrast import contrast, warnings_of
    from sharprank.evaluation.contrast_report import render_contrast
    from sharprank.evaluation.systems import input_paths, read_contestants
    from sharprank.formats.writers import check_writable, refuse_other_inputs, refuse_other_settings, write_json
    from sharprank.progress import say
    from sharprank.provenance import describe_inputs, manifest

    settings = {key: value for key, value in vars(config).items() if key not in ("output_file", "overwrite")}
    if config.output_file:
        path = config.output_file
        check_writable(path)
        refuse_other_settings(path, settings, manifest_path=path, overwrite=config.overwrite)
    contestants = read_contestants(config)
    inputs = describe_inputs(input_paths(config)) if config.output_file else {}
    if config.output_file:
        refuse_other_inputs(config.output_file, inputs, manifest_path=config.output_file, overwrite=config.overwrite)
    result = contrast(contestants, depths=config.depths, seed=config.seed)
    for sentence in warnings_of(result):
        say(sentence)
    if config.output_file:
        about = manifest(command=["sharprank", "compare", *argv], settings=settings, inputs=inputs)
        write_json(config.output_file, {**about, **result.as_json()})
    texts = {"queries": contestants.queries, "passages": contestants.passages}
    print(render_contrast(result, config.output_format, worst=config.worst, **texts))


def _with_flag(argv: Sequence[str]) -> list[str]:
    """The leading words are the systems."""
    num_leading = next((i for i, word in enumerate(argv) if word.startswith("-")), len(argv))
    return [*(["--systems"] if num_leading else []), *argv]
