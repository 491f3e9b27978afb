"""`sharprank audit FILE`: parse the flags, check the rows, print what was found; exit code 1 when something was."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from sharprank.cli.options import parse, run_command
from sharprank.mining.audit_config import AuditConfig

PROG = "sharprank audit"
DESCRIPTION = (
    "Check mined rows, whoever mined them: positives among the negatives, repeated or empty texts, the query as a "
    "passage, broken scores. `sharprank audit FILE [flags]` exits 1 when it finds something, 0 when not."
)
FOUND = 1


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return run_command(lambda: _audit(sys.argv[1:] if argv is None else argv))


def _audit(argv: Sequence[str]) -> int:
    words = ["--input_file", *argv] if argv and not argv[0].startswith("-") else argv
    config = parse(AuditConfig, words, prog=PROG, description=DESCRIPTION)
    config.check()
    from sharprank.mining.audit import audit
    from sharprank.mining.audit_report import as_json, render

    found = audit(config)
    if config.output_format == "json":
        print(json.dumps(as_json(found), ensure_ascii=False, indent=1))
    else:
        print(render(found, examples=config.examples))
    return FOUND if found.findings else 0
