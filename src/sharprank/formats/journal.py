"""A long job's output as it grows: what is done survives a kill, and the output appears only when it is complete.

Beside the output lies `.NAME.unfinished.partial`: first a line with the settings, then one JSON string a finished
part (a query, a batch of rows). The same command continues behind the last complete line; other settings or inputs
start anew.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from sharprank.formats.writers import json_document, open_together
from sharprank.progress import say


class Journal:
    """The unfinished output of one job.

    Args:
        output_path: where the result goes in the end.
        job: what decides the result; only a journal of the same job is continued.
        parts: what the parts are, for messages.
    """

    def __init__(self, output_path: str | Path, job: Mapping[str, Any], *, parts: str = "queries") -> None:
        self.parts = parts
        self.output_path = Path(output_path)
        self.path = self.output_path.with_name(f".{self.output_path.name[:100]}.unfinished.partial")
        self._head = json.dumps(job, sort_keys=True, ensure_ascii=False).encode() + b"\n"

    def resume(self) -> int:
        """Cut off a half-written line and give the number of parts that are done; 0 starts anew."""
        if not self.path.exists():
            self._start()
            return 0
        with open(self.path, "rb+") as file:
            if file.readline() != self._head:
                say(f"note: {self.path} is from another input or other settings; starting anew")
                self._start()
                return 0
            num_done = _drop_half_line(file)
        if num_done:
            say(f"note: {num_done:,} {self.parts} are done already; continuing behind them")
        return num_done

    def _start(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_bytes(self._head)

    def append(self, texts: Iterable[str]) -> None:
        """Add finished parts."""
        with open(self.path, "ab") as file:
            file.write(b"".join(json.dumps(text, ensure_ascii=False).encode() + b"\n" for text in texts))
            file.flush()
            os.fsync(file.fileno())

    def finish(self, stats: Mapping[str, Any]) -> None:
        """Write the output, with `<output>.stats.json` beside it, and remove the journal."""
        with open_together(self.output_path, f"{self.output_path}.stats.json") as (output, stats_file):
            output.writelines(self.texts())
            stats_file.write(json_document(stats))
        self.path.unlink()

    def texts(self) -> Iterator[str]:
        """The finished parts, in their order."""
        with open(self.path, encoding="utf-8") as file:
            next(file)
            for line in file:
                yield json.loads(line)


def _drop_half_line(file: BinaryIO) -> int:
    """Count the complete lines from here on, and cut the file behind the last of them."""
    num_lines, end = 0, file.tell()
    while line := file.readline():
        if not line.endswith(b"\n"):
            break
        num_lines, end = num_lines + 1, end + len(line)
    file.truncate(end)
    return num_lines
