"""`sharprank COMMAND ...`: find the command, hand over the rest of the line.

Each command is a module of `sharprank.cli` with `main(argv) -> int`; it is imported only when it is asked for.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from sharprank import __version__
from sharprank.cli.options import run_command
from sharprank.errors import UserError

COMMANDS = {
    "run": "the main job on your data: mine, train, evaluate, in one command",
    "demo": "the main job on the documentation of this Python, offline",
    "mine": "find hard negatives for (query, positives) rows in a pool of passages",
    "filter": "filter mined rows again by the scores they carry",
    "audit": "check mined rows: positives among the negatives, duplicates, broken scores",
    "teach": "add a bigger reranker's scores to training data, to distil it",
    "train": "train a cross-encoder reranker on groups of 1 positive and mined negatives",
    "evaluate": "measure rerankers on rows, or re-rank a first stage on a test collection",
    "test_reranker": "measure one reranker on rows and write the metrics as JSON",
    "calibrate": "make scores probabilities: fit on validation data, find a threshold, store both",
    "compare": "say whether one system is really better than another, and where it is worse",
    "sample": "draw documents of a corpus: ids for synthesize and ablate to begin with",
    "synthesize": "make rows from documents alone, offline or with a language model",
    "ablate": "compare ways of retrieving: nearest or diverse, with and without a reranker",
    "convert": "other systems' data to rows, and rows to theirs",
    "cache": "what mining keeps on disk for the next run: show it, free it",
    "download": "fetch a model from the Hugging Face hub for use without a network",
    "rerank": "score and rank passages: JSON or TREC run in, scores or rankings out",
    "doctor": "say what is installed, what is missing, and how to get it",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command named by the first word; without one, print the commands."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help", "help"):
        return run_command(lambda: print(help_text()))
    if words[0] == "--version":
        return run_command(lambda: print(f"sharprank {__version__}"))
    if words[0] not in COMMANDS:
        return run_command(lambda: _refuse(words[0]))
    return importlib.import_module(f"sharprank.cli.{words[0]}").main(words[1:])


def help_text() -> str:
    """The commands, one line each."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {purpose}" for name, purpose in COMMANDS.items()]
    return "\n".join(
        [
            "usage: sharprank COMMAND [flags]",
            "",
            "Mine hard negatives, train a reranker, prove that it ranks better.",
            "",
            *lines,
            "",
            "`sharprank COMMAND --help` lists the flags of a command.",
        ]
    )


def _refuse(word: str) -> int:
    raise UserError(f"sharprank has no command {word!r}", fix=f"use one of: {', '.join(COMMANDS)}")
