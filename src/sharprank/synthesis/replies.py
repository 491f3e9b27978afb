"""Paid replies of a language model, kept in a file of JSON lines, so that nothing is paid twice.

A reply is found again by everything that decided it (endpoint, model, parameters, prompt, and which try it was). A line
that a kill left unfinished is dropped. Never holds a key.
"""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sharprank.formats.writers import atomic_open


@dataclass(frozen=True)
class Reply:
    """What came back, and what it cost.

    Attributes:
        finish: why it ended, as the endpoint says ("stop", "length").
    """

    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    finish: str | None = None


def reply_key(**what: Any) -> str:
    """One name for a question: sha256 of what decides the answer."""
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


class ReplyCache:
    """Replies by key; safe to use from several threads of one process.

    Args:
        path: the file; made when the first reply comes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._replies: dict[str, Reply] = {}
        lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
        whole = [line for line in lines if self._take(line)]
        if len(whole) < len(lines):
            with atomic_open(path, "wb") as file:
                file.writelines(whole)

    def _take(self, line: bytes) -> bool:
        try:
            fields = json.loads(line)
            key = fields.pop("key")
            self._replies[key] = Reply(**fields)
        except (ValueError, KeyError, TypeError, AttributeError):
            return False
        return line.endswith(b"\n")

    def get(self, key: str) -> Reply | None:
        """The reply paid for before, if any."""
        with self._lock:
            return self._replies.get(key)

    def put(self, key: str, reply: Reply) -> None:
        """Keep a reply, on disk before anything is made of it."""
        with self._lock:
            self._replies[key] = reply
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "a", encoding="utf-8", newline="\n") as file:
                file.write(json.dumps({"key": key, **vars(reply)}) + "\n")

    def tokens(self) -> tuple[int, int]:
        """(prompt, completion) tokens of all replies kept."""
        with self._lock:
            replies = list(self._replies.values())
        return sum(reply.prompt_tokens for reply in replies), sum(reply.completion_tokens for reply in replies)
