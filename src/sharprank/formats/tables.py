"""Numbers and tables as text and Markdown, for every report alike."""

from __future__ import annotations

import math
from collections.abc import Sequence


def number(value: float) -> str:
    """Four decimals; `nan` where there is no value."""
    return "nan" if math.isnan(value) else f"{value:.4f}"


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns of equal width: the first and the last (if it is words) to the left, numbers to the right."""
    table = [header, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    words = {0, len(header) - 1} if header[-1] == "verdict" else {0}
    return [
        "  ".join(
            cell.ljust(width) if i in words else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A pipe table; pipes inside cells are escaped."""
    table = [header, ["---"] * len(header), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(row) + " |" for row in table)
