"""JSON lines, and .json files: one array, one object, or (as many tools write them) JSON lines after all.

Everything is streamed: of an array, one item at a time is in memory. Knows nothing of what the fields mean.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from sharprank.errors import UserError
from sharprank.formats.bad_rows import BadRows
from sharprank.formats.encoding import is_broken, open_text
from sharprank.records import Place, Record

CHUNK_CHARACTERS = 1 << 16
_BLANKS = re.compile(r"[ \t\r\n\ufeff]*")
_BROKEN = {"fix": "write the text again as UTF-8", "reason": "broken characters"}


class _NamedTwice(dict[str, Any]):
    """An object in which a key stands twice, so that one of its values is lost."""

    key = ""


def _fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        fields = _NamedTwice(fields)
        names = [name for name, _ in pairs]
        fields.key = next(name for name in names if names.count(name) > 1)
    return fields


_DECODER = json.JSONDecoder(object_pairs_hook=_fields)


def read_jsonl(path: Path, bad_rows: BadRows) -> Iterator[Record]:
    """One record a line; blank lines do not count."""
    with open_text(path) as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield from _parsed(line, Place(str(path), number), bad_rows)


def read_json(path: Path, bad_rows: BadRows) -> Iterator[Record]:
    """The objects of an array, of JSON lines, or one after the other."""
    if _holds_json_lines(path):
        yield from read_jsonl(path, bad_rows)
        return
    with open_text(path) as file:
        for number, item, may_be_broken in _Items(file, path):
            yield from _as_record(item, Place(str(path), number), bad_rows, may_be_broken=may_be_broken)


def _parsed(line: str, place: Place, bad_rows: BadRows) -> Iterator[Record]:
    if is_broken(line):
        bad_rows.reject(place, "bytes that are no characters in the file's encoding", **_BROKEN)
        return
    try:
        fields = _DECODER.decode(line)
    except (ValueError, RecursionError) as error:
        message = f"malformed JSON: {_reason(error)}"
        bad_rows.reject(place, message, fix="make every line one JSON object", reason="malformed JSON")
        return
    yield from _as_record(fields, place, bad_rows, may_be_broken="\\u" in line)


def _as_record(fields: Any, place: Place, bad_rows: BadRows, *, may_be_broken: bool) -> Iterator[Record]:
    if not isinstance(fields, dict):
        problem = f"a {_kind(fields)}, not an object"
        fix = 'write it as {"query": ...}' + (" (a file with one array is named .json)" * isinstance(fields, list))
        bad_rows.reject(place, problem, fix=fix, reason="not an object")
    elif isinstance(fields, _NamedTwice):
        bad_rows.reject(place, f"{fields.key!r} stands there twice", fix="keep one of them", reason="a field twice")
    elif may_be_broken and is_broken(_written(fields)):
        bad_rows.reject(place, "half of a surrogate pair, which is no character", **_BROKEN)
    else:
        yield Record(fields, place)


def _written(fields: dict[str, Any]) -> str:
    try:
        return json.dumps(fields, ensure_ascii=False)
    except RecursionError:  # so deep that it could just be read: nothing of ours, and never written again
        return ""


def _kind(value: Any) -> str:
    names = {list: "list", str: "text", bool: "truth value", int: "number", float: "number", type(None): "null"}
    return names[type(value)]


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deep"
    return f"{error.msg} (column {error.colno})" if isinstance(error, json.JSONDecodeError) else "a number too long"


def _holds_json_lines(path: Path) -> bool:
    """Whether the first line, or (should that one be damaged) the second, is a whole object."""
    with open_text(path) as file:
        head = file.read(CHUNK_CHARACTERS).lstrip()
        if not head or head.startswith("["):
            return False
        file.seek(0)
        lines = (line for line in file if line.strip())
        return any(_is_object(next(lines, "")) for _ in range(2))


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


class _Items:
    """The items of one array, or JSON values in a row: (line each begins on, value, whether it may be broken)."""

    def __init__(self, file: TextIO, path: Path) -> None:
        self._file, self._path = file, path
        self._text, self._position, self._line = "", 0, 1  # what was read, how much of it is used, the line there
        self._at_end = False

    def __iter__(self) -> Iterator[tuple[int, Any, bool]]:
        in_array = self._peek() == "["
        if in_array:
            self._use(1)
            if self._peek() == "]":
                return
        while self._peek():
            yield self._item()
            if in_array and not self._goes_on():
                return
        if in_array:
            raise self._malformed("the array does not end", self._position)

    def _goes_on(self) -> bool:
        mark = self._peek()
        if mark not in (",", "]"):
            raise self._malformed("an array goes on with ',' or ends with ']'", self._position)
        self._use(1)
        if mark == "]" and self._peek():
            raise self._malformed("something follows the array", self._position)
        return mark == ","

    def _peek(self) -> str:
        """The next character that is not white space; empty at the end."""
        while True:
            blank = _BLANKS.match(self._text, self._position)
            self._use(blank.end() - self._position if blank else 0)
            if self._position < len(self._text) or not self._read():
                return self._text[self._position : self._position + 1]

    def _read(self) -> bool:
        """Twice as much as there is, so that one long item is not looked at again and again."""
        left = self._text[self._position :]
        more = self._file.read(max(CHUNK_CHARACTERS, len(left)))
        if more:
            self._text, self._position = left + more, 0
        self._at_end = not more
        return bool(more)

    def _use(self, count: int) -> None:
        self._line += self._text.count("\n", self._position, self._position + count)
        self._position += count

    def _item(self) -> tuple[int, Any, bool]:
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._position)
            except json.JSONDecodeError as error:
                # What a chunk's end cuts looks like an error at that end, or like a string that is never closed.
                cut = error.pos > len(self._text) - 16 or error.msg.startswith("Unterminated string")
                if not (cut and self._read()):
                    raise self._malformed(error.msg, error.pos) from error
            except (ValueError, RecursionError) as error:
                raise self._malformed(_reason(error), self._position) from error
            else:
                if end < len(self._text) or self._at_end or not self._read():
                    return self._taken(value, end)

    def _taken(self, value: Any, end: int) -> tuple[int, Any, bool]:
        line, text = self._line, self._text[self._position : end]
        self._use(end - self._position)
        return line, value, "\\u" in text or is_broken(text)

    def _malformed(self, message: str, position: int) -> UserError:
        line = self._line + self._text.count("\n", self._position, position)
        return UserError(
            f"{self._path}:{line}: malformed JSON: {message}", fix="make the file one JSON array, or JSON lines"
        )
