"""`sharprank train`: train a reranker on clicked pairs, graded judgements or a teacher's scores."""

from __future__ import annotations

import sys

from sharprank.cli.options import parse, run_command
from sharprank.cli.sections import flags_of_sections
from sharprank.cli.spellings import FLAGS, our_spelling

PROG = "sharprank train"
DESCRIPTION = (
    "Train a cross-encoder reranker on rows, graded pairs, lists or a judged collection; run it again to continue "
    f"after a stop. Other trainers' flags are understood too: {', '.join(FLAGS)}."
)


def main(argv: list[str] | None = None) -> int:
    """Parse, train, print the final measures; returns the exit code."""
    return run_command(lambda: _run(argv))


def _run(argv: list[str] | None) -> int:
    from sharprank.training.config import DataOptions, ModelOptions, RerankTrainingArguments

    model_options, data, args = parse(
        (ModelOptions, DataOptions, RerankTrainingArguments),
        our_spelling(sys.argv[1:] if argv is None else argv),
        prog=PROG,
        description=DESCRIPTION,
        flags_of_file=flags_of_sections,
    )
    from sharprank.training.train import train

    result = train(model_options, data, args)
    if args.should_save:
        for name, value in result.measures.items():
            print(f"{name}: {value:.4f}")
        for name, value in result.test_measures.items():
            print(f"test {name}: {value:.4f}")
        if result.ending:
            print(result.ending)
        print(f"reranker: {result.output_dir}")
    return 0
