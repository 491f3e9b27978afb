"""Rerank data of ms-swift, both ways: {messages, positive_messages, negative_messages}.

The last user message is the query, a system message the row's `prompt`; every candidate is a list of messages, or one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sharprank.formats.convert.tally import Row, Tally
from sharprank.records import Record, TrainRow

_FIX = 'write {"messages": [{"role": "user", "content": ...}], "positive_messages": [[{...}]]}'


def swift_rows(records: Iterable[Record], *, tally: Tally) -> Iterator[Row]:
    """Rows of ms-swift's records."""
    for record in records:
        fields = record.fields
        try:
            said = {role: text for role, text in map(_message, _list(fields.get("messages"), "messages"))}
            if "user" not in said:
                raise ValueError("no user message")
            positives = [_candidate(item) for item in _list(fields.get("positive_messages"), "positive_messages")]
            negatives = [_candidate(item) for item in _list(fields.get("negative_messages", []), "negative_messages")]
        except ValueError as error:
            tally.reject(record.place, str(error), fix=_FIX, reason="unreadable messages")
            continue
        row = tally.row(said["user"], positives, negatives)
        if row is not None:
            yield row | ({"prompt": said["system"]} if said.get("system") else {})


def to_swift(rows: Iterable[TrainRow], *, tally: Tally) -> Iterator[Row]:
    """ms-swift's records of rows."""
    for row in rows:
        found = tally.row(row.query, row.positives, row.negatives)
        if found is not None:
            system = [{"role": "system", "content": row.prompt}] if row.prompt else []
            yield {
                "messages": [*system, {"role": "user", "content": row.query}],
                "positive_messages": [[{"role": "assistant", "content": text}] for text in found["pos"]],
                "negative_messages": [[{"role": "assistant", "content": text}] for text in found["neg"]],
            }


def _list(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{name!r} is no list")
    return value


def _message(message: Any) -> tuple[str, str]:
    if isinstance(message, Mapping) and isinstance(message.get("content"), str):
        return str(message.get("role")), message["content"]
    raise ValueError("a message without a text as its 'content'")


def _candidate(item: Any) -> str:
    messages = item if isinstance(item, list) else [item]
    return "\n".join(_message(message)[1] for message in messages)
