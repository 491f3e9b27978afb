"""What was tried, in order, one JSON line each: the truth about an unfinished output, from which it can go on.

The first line holds the settings. A line that a kill left unfinished is dropped and its document tried again. The rows
stand here and, one by one, in the output file.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sharprank.errors import UserError
from sharprank.formats.writers import json_line, write_jsonl
from sharprank.synthesis.outcome import Outcome


class Journal:
    """The attempts behind one output.

    Args:
        output: where the rows go; the journal lies beside it.
        settings: what decides the rows.
        overwrite: forget what was tried.

    Attributes:
        attempts: all of them, in order.
        num_rows: rows made so far.

    Raises:
        UserError: the output was begun with other settings, or is not ours.
    """

    def __init__(self, output: Path, settings: Mapping[str, Any], *, overwrite: bool = False) -> None:
        self.output, self.path = output, output.with_name(f"{output.name}.attempts.jsonl")
        self.attempts: list[dict[str, Any]] = []
        if overwrite or not self.path.exists():
            if output.exists() and not overwrite:
                raise UserError(
                    f"{output} exists, and no {self.path.name} beside it says how it was made",
                    fix="name another output, or pass --overwrite True",
                )
            write_jsonl(self.path, [{"settings": dict(settings)}])
        else:
            self._continue(json.loads(json_line(dict(settings))))
        self.num_rows = sum(attempt["row"] is not None for attempt in self.attempts)
        write_jsonl(output, (attempt["row"] for attempt in self.attempts if attempt["row"] is not None))

    def _continue(self, settings: dict[str, Any]) -> None:
        lines = list(self._whole_lines())
        before = lines[0].get("settings") if lines else None
        if not isinstance(before, dict):
            raise UserError(f"{self.path} is no record of attempts", fix="remove it, or pass --overwrite True")
        for name in [*settings, *sorted(before.keys() - settings.keys())]:
            if before.get(name) != settings.get(name):
                raise UserError(
                    f"{self.output} was begun with {name} {before.get(name)!r}, not {settings.get(name)!r}",
                    fix="name another output, set it as it was, or pass --overwrite True",
                )
        self.attempts = lines[1:]
        write_jsonl(self.path, lines)

    def _whole_lines(self) -> Iterator[dict[str, Any]]:
        with open(self.path, encoding="utf-8", errors="replace", newline="\n") as file:
            for line in file:  # ends at a line feed only: texts hold U+2028 and its like as they are
                try:
                    yield json.loads(line)
                except ValueError:
                    return

    def add(self, doc_id: str, turn: int, outcome: Outcome) -> None:
        """Write one attempt down, and its row into the output."""
        attempt = {"doc_id": doc_id, "turn": turn, "reason": outcome.reason, "row": outcome.row, **outcome.about}
        self.attempts.append(attempt)
        _append(self.path, attempt)
        if outcome.row is not None:
            self.num_rows += 1
            _append(self.output, outcome.row)

    def reasons(self) -> dict[str, int]:
        """Attempts without a row, by reason."""
        return dict(Counter(a["reason"] for a in self.attempts if a["row"] is None).most_common())

    def verdicts(self) -> dict[str, int]:
        """How often the judge gave each verdict."""
        counts: Counter[str] = Counter()
        for attempt in self.attempts:
            counts.update({verdict: len(ids) for verdict, ids in attempt.get("verdicts", {}).items()})
        return dict(counts)


def _append(path: Path, fields: Mapping[str, Any]) -> None:
    with open(path, "a", encoding="utf-8", newline="\n") as file:
        file.write(json_line(fields) + "\n")
