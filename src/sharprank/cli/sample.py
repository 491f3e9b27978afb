"""`sharprank sample`: draw documents of a corpus, for `--doc_ids_file` of synthesize and ablate."""

from __future__ import annotations

from sharprank.cli.options import parse, run_command
from sharprank.synthesis.sample import SampleConfig

PROG = "sharprank sample"
DESCRIPTION = (
    "Draw documents of a corpus at random and write their ids, one a line: the documents that `sharprank synthesize "
    "--doc_ids_file` and `sharprank ablate --doc_ids` begin with, so that several runs share them."
)
_TEXT_LENGTH = 70


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return run_command(lambda: _sample(argv))


def _sample(argv: list[str] | None) -> None:
    config = parse(SampleConfig, argv, prog=PROG, description=DESCRIPTION)
    from sharprank.synthesis.sample import sample

    drawn = sample(config)
    for document in drawn[: config.show]:
        text = " ".join(document.text.split())
        print(f"{document.doc_id}  {text[:_TEXT_LENGTH]}{'...' if len(text) > _TEXT_LENGTH else ''}")
    print(f"drawn      {len(drawn):,} documents of at least {config.min_length:,} characters")
    print(f"output     {config.output_file}")
