"""`sharprank rerank`: parse the flags, run the stage; the answers go to stdout or to a file."""

from __future__ import annotations

from sharprank.cli.options import parse, run_command
from sharprank.serving.config import RerankConfig

PROG = "sharprank rerank"
DESCRIPTION = (
    "Score and rank passages with a reranker: JSON objects {query, documents}, one or many, from a file or stdin, or a "
    "TREC run with its texts. Large files are streamed, and an interrupted job continues where it was."
)


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return run_command(lambda: _rerank(argv))


def _rerank(argv: list[str] | None) -> None:
    config = parse(RerankConfig, argv, prog=PROG, description=DESCRIPTION)
    from sharprank.serving.rerank import rerank

    rerank(config)
