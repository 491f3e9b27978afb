"""The checks of single fields that all forms of training data share: a query, texts, scores, cells that spell lists."""

from __future__ import annotations

import ast
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from token import STRING
from tokenize import TokenError, TokenInfo, generate_tokens
from typing import Any

from sharprank.formats.bad_rows import shown
from sharprank.formats.readers import known_suffix
from sharprank.records import Record


class BadField(Exception):
    """One record's problem, on its way to BadRows."""

    def __init__(self, problem: str, *, fix: str, reason: str) -> None:
        super().__init__(problem)
        self.problem, self.fix, self.reason = problem, fix, reason


def query_in(fields: Mapping[str, Any], key: str) -> str:
    """The query, which is a text that is not blank."""
    if key not in fields:
        present = ", ".join(map(repr, list(fields)[:8])) or "none"
        fix = f"add it, or say which field holds the query (fields there: {present})"
        raise BadField(f"no field {key!r}", fix=fix, reason="no query")
    value = fields[key]
    if not isinstance(value, str):
        raise BadField(f"{key!r} is {shown(value)}, not a text", fix="make it a text", reason="query is not a text")
    if not value.strip():
        raise BadField(f"{key!r} is empty", fix="give the query a text", reason="empty query")
    return value


def texts_in(fields: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """The texts of a field; none where it is absent, null or an empty cell."""
    value = fields.get(key)
    if value is None:
        return ()
    if not isinstance(value, (list, tuple)):
        raise BadField(
            f"{key!r} is {shown(value)}, not a list of texts", fix="make it a list", reason=f"{key} is not a list"
        )
    for number, text in enumerate(value):
        if not isinstance(text, str):
            problem = f"{key}[{number}] is {shown(text)}, not a text"
            raise BadField(problem, fix="remove it or make it a text", reason=f"{key} holds what is no text")
        if not text.strip():
            raise BadField(f"{key}[{number}] is blank", fix="remove it", reason=f"{key} holds a blank text")
    return tuple(value)


def _list_in(cell: str) -> list[Any]:
    """The list that a cell spells out; a cell that spells none is a list of one text, an empty one of none."""
    text = cell.strip()
    if text.startswith("[") and text.endswith("]"):
        value = spelled_in(text)
        if isinstance(value, list) and (not value or any(isinstance(item, str) for item in value)):
            return value
    return _list_of_one(cell)


_MAY_LACK_A_COMMA = re.compile(r"""['"]\s*[a-zA-Z]{0,2}['"]|['"]\s+(?:None|[.]{3})|(?:None|[.]{3})\s+['"]""")
"""Where a text may follow another without a comma; to be sure takes long."""


def spelled_in(cell: str) -> Any:
    """The value that a cell spells as JSON or as Python and numpy print it; None where it spells none.

    It is parsed as Python, so no quote, apostrophe or escape in a text can break it; nothing is ever executed.

    Raises:
        BadField: two texts without a comma between them, where it is not an array as numpy prints it.
    """
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        pass
    text = cell.strip()
    tokens = _tokens_of(text) if _MAY_LACK_A_COMMA.search(text) else []
    by_numpy = _is_an_array(tokens)
    if by_numpy:
        text = f"[{', '.join(token.string for token in tokens[1:-1])}]"
    try:
        value = ast.literal_eval(_WithoutArrays().visit(ast.parse(text, mode="eval")))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    if not by_numpy and any(before.type == after.type == STRING for before, after in pairwise(tokens)):
        raise BadField(
            f"no comma between two texts of the list {shown(text)}",
            fix='write it as JSON: ["a", "b"]',
            reason="no comma between two texts",
        )
    return value


def _tokens_of(text: str) -> list[TokenInfo]:
    """The text's tokens as Python has them, line breaks left out; none where it is no Python."""
    try:
        return [token for token in generate_tokens(io.StringIO(text).readline) if token.string.strip()]
    except (TokenError, SyntaxError):
        return []


def _is_an_array(tokens: Sequence[TokenInfo]) -> bool:
    """Whether it is `['a' 'b']`, as numpy prints texts; Python would take them together as one.

    Where one text touches the next, somebody has doubled a quote: `['it''s']`.
    """
    inside = tokens[1:-1]
    return (
        len(inside) > 1
        and (tokens[0].string, tokens[-1].string) == ("[", "]")
        and all(token.type == STRING or token.string in ("None", "...") for token in inside)
        and all(before.end != after.start for before, after in pairwise(inside))
    )


class _WithoutArrays(ast.NodeTransformer):
    """`array([0, 1], dtype=int32)` and `np.str_('a')`, as numpy prints them, to `[0, 1]` and `'a'`."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        called = ast.unparse(node.func)
        is_numpys = called == "array" or called.startswith("np.")
        return self.visit(node.args[0]) if is_numpys and len(node.args) == 1 else node


def scores_in(fields: Mapping[str, Any], key: str, num_texts: int, texts_key: str) -> tuple[float, ...] | None:
    """One finite number for each text; None where the field is absent."""
    value = score_list(fields.get(key))
    if value is None:
        return None
    if not isinstance(value, (list, tuple)):
        raise BadField(
            f"{key!r} is {shown(value)}, not a list", fix="make it a list of numbers", reason=f"broken {key}"
        )
    if len(value) != num_texts:
        raise BadField(
            f"{key!r} has {len(value)} scores for {num_texts} texts in {texts_key!r}",
            fix="give every text one score",
            reason=f"{key} of the wrong length",
        )
    return tuple(number_in(score, f"{key}[{number}]", key) for number, score in enumerate(value))


def score_list(value: Any) -> Any:
    """A list as it is; from a table's cell the list or the one number it spells out."""
    if isinstance(value, str):
        if not value.strip():
            return None
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return value
    return [value] if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def number_in(score: Any, name: str, key: str) -> float:
    """A finite number."""
    if score is None:
        problem = f"{name} is null: only some texts are scored"
        raise BadField(problem, fix=f"score all of them, or leave {key!r} out", reason="partially scored")
    try:
        number = float(score) if isinstance(score, (int, float)) and not isinstance(score, bool) else math.nan
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise BadField(f"{name} is {shown(score)}", fix="make it a finite number", reason=f"broken {key}")
    return number


def with_lists(record: Record, *, text_keys: Sequence[str], score_keys: Sequence[str]) -> Mapping[str, Any]:
    """The record with its cells taken apart, so that whoever writes it back writes lists.

    In JSON, which has lists, a text is one text even if it looks like a list (a passage about Python may well).
    """
    fields = record.fields
    texts = [key for key in text_keys if isinstance(fields.get(key), str)]
    scores = [key for key in score_keys if isinstance(fields.get(key), str)]
    if not texts and not scores:
        return fields
    apart = _list_of_one if known_suffix(Path(record.place.path)) in (".json", ".jsonl") else _list_in
    return {**fields, **{key: apart(fields[key]) for key in texts}, **{key: score_list(fields[key]) for key in scores}}


def _list_of_one(text: str) -> list[Any]:
    return [text] if text.strip() else []
