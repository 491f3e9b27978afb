"""A measured table's place in a document: between two marks that carry its name."""

from __future__ import annotations

from pathlib import Path


def put_into(path: Path, table: str, *, name: str) -> None:
    """Replace what stands between the marks `name: begin` and `name: end` in a Markdown file.

    Raises:
        ValueError: the marks are not there.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    text = path.read_text(encoding="utf-8")
    if begin not in text or end not in text:
        raise ValueError(f"{path} lacks the marks {begin} and {end}")
    head, rest = text.split(begin, 1)
    path.write_text(f"{head}{begin}\n{table}\n{end}{rest.split(end, 1)[1]}", encoding="utf-8")
