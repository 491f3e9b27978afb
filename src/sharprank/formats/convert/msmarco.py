"""MS MARCO v1.1 and v2.1 question answering: each record a query and about ten passages, some of them selected.

`passages` holds three parallel lists (`is_selected`, `passage_text`, `url`) or a list of objects. In a CSV cell it is
JSON or what Python printed, which is parsed as Python: no quote, apostrophe or escape in a passage can break it.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sharprank.formats.bad_rows import shown
from sharprank.formats.convert.tally import Row, Tally
from sharprank.records import Record

_SHAPE = "{'is_selected': [...], 'passage_text': [...]}"


def msmarco_rows(records: Iterable[Record], *, tally: Tally) -> Iterator[Row]:
    """Rows whose positives are the selected passages and whose negatives are the others, in their order."""
    for record in records:
        query = tally.text(record.fields, "query", record.place)
        passages = record.fields.get("passages")
        texts = _passages(passages)
        if texts is None:
            problem = f"'passages' is {shown(passages)}" if "passages" in record.fields else "no field 'passages'"
            tally.reject(record.place, problem, fix=f"write it as {_SHAPE}", reason="unreadable passages")
        elif query is not None:
            selected = [text for chosen, text in texts if chosen]
            row = tally.row(query, selected, [text for chosen, text in texts if not chosen])
            if row is not None:
                yield row


def _passages(value: Any) -> list[tuple[bool, str]] | None:
    """(selected, text) of every passage; None when the value is of another shape."""
    if isinstance(value, str):
        value = _parsed(value)
    if isinstance(value, Mapping):
        flags, texts = value.get("is_selected"), value.get("passage_text")
        if not isinstance(flags, (list, tuple)) or not isinstance(texts, (list, tuple)) or len(flags) != len(texts):
            return None
        pairs = list(zip(flags, texts, strict=True))
    elif isinstance(value, (list, tuple)) and all(isinstance(item, Mapping) for item in value):
        pairs = [(item.get("is_selected"), item.get("passage_text")) for item in value]
    else:
        return None
    if not all(flag in (0, 1) and isinstance(text, str) for flag, text in pairs):
        return None
    return [(flag == 1, text) for flag, text in pairs]


def _parsed(cell: str) -> Any:
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(_WithoutArrays().visit(ast.parse(cell.strip(), mode="eval")))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


class _WithoutArrays(ast.NodeTransformer):
    """`array([0, 1], dtype=int32)`, as numpy prints it, to `[0, 1]`; nothing is ever executed."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if isinstance(node.func, ast.Name) and node.func.id == "array" and len(node.args) == 1:
            return self.visit(node.args[0])
        return node
