"""The building blocks of an HTML report: sections, tables, figures, notes, how it was made. All texts are escaped.

Only what is said to be HTML is taken as it is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

_LEFT = ' class="words"'


def section(title: str, *parts: str) -> str:
    """A section under its heading; the parts are HTML."""
    return f"<section><h2>{escape(title)}</h2>{''.join(parts)}</section>"


def note(text: str) -> str:
    """A paragraph in a softer colour."""
    return f'<p class="note">{escape(text)}</p>'


def banner(name: str, figure: str, words: str, *, kind: str) -> str:
    """A name, a large figure, and a sentence on it; kind is "better", "worse" or "same" and decides the colour."""
    return (
        f'<div class="headline {kind}"><div>{escape(name)}</div><div class="figure">{escape(figure)}</div>'
        f"<div>{escape(words)}</div></div>"
    )


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table that scrolls by itself where the screen is narrow; columns of words to the left, numbers to the right."""
    words = [not all(_is_number(row[column]) for row in rows) for column in range(len(header))]
    head = _cells("th", header, words)
    body = "".join(f"<tr>{_cells('td', row, words)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cells(tag: str, cells: Sequence[str], words: Sequence[bool]) -> str:
    return "".join(
        f"<{tag}{_LEFT if left else ''}>{escape(cell)}</{tag}>" for cell, left in zip(cells, words, strict=True)
    )


def _is_number(cell: str) -> bool:
    return not cell or cell == "nan" or cell.lstrip("+-")[:1].isdigit()


def figure(chart: str, caption: str) -> str:
    """A chart over its caption, both HTML."""
    return f"<figure>{chart}<figcaption>{caption}</figcaption></figure>"


def cut(text: str, length: int) -> str:
    """The text on one line, at most `length` characters of it."""
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 1] + "…"


def made(about: Mapping[str, Any]) -> str:
    """How it was made: the command, and folded away the settings, inputs and versions.

    Args:
        about: a manifest (`sharprank.provenance.manifest`).
    """
    command = f"<pre>{escape(' '.join(about['command']))}</pre>"
    rest = {key: about[key] for key in ("settings", "inputs", "versions")}
    details = escape(json.dumps(_finite(rest), ensure_ascii=False, indent=1))
    return f"{command}<details><summary>Settings, inputs, versions</summary><pre>{details}</pre></details>"


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
