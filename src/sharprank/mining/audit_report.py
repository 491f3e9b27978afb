"""An audit as a person reads it, and as a machine does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sharprank.mining.audit import Audit


def render(audit: Audit, *, examples: int) -> str:
    """A few lines for a terminal: counts, every kind of finding with its first places, notes."""
    lines = [f"rows       {audit.num_rows:,}", f"negatives  {audit.num_negatives:,}, {audit.num_distinct:,} different"]
    for kind, count in audit.counts.items():
        lines.append(f"found      {count:,} times: {kind}")
        shown = [finding for finding in audit.findings if finding.kind == kind][:examples]
        lines += [f"             {finding.place}: {finding.detail}" for finding in shown]
    lines += [f"note       {words}" for words in _notes(audit)]
    verdict = f"{len(audit.findings):,} findings" if audit.findings else "nothing found"
    return "\n".join([*lines, f"result     {verdict}"])


def _notes(audit: Audit) -> Iterator[str]:
    if audit.num_above:
        share = audit.num_above / audit.num_compared
        yield (
            f"{audit.num_above:,} of {audit.num_compared:,} scored negatives ({share:.1%}) score as high as a positive "
            "of their row"
        )
    text, number = audit.commonest
    if number > 1:
        yield f"the commonest negative stands in {number:,} rows: {text}"


def as_json(audit: Audit) -> dict[str, Any]:
    """Everything, every finding with its file and line."""
    return {
        "rows": audit.num_rows,
        "negatives": audit.num_negatives,
        "distinct_negatives": audit.num_distinct,
        "scored_negatives": audit.num_compared,
        "scored_as_high_as_a_positive": audit.num_above,
        "commonest_negative": {"text": audit.commonest[0], "rows": audit.commonest[1]},
        "counts": audit.counts,
        "findings": [
            {"file": one.place.path, "line": one.place.line, "kind": one.kind, "detail": one.detail}
            for one in audit.findings
        ],
    }
