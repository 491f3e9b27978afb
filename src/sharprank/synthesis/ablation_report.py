"""The numbers of an ablation: rates, positions, paired tests, a table and a picture.

Shapes: N attempts that reached retrieval.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from sharprank.metrics.significance import bootstrap_interval, holm, randomisation_test
from sharprank.synthesis.ablation_config import TYPES

COLUMNS = (
    "type", "success", "of those retrieved", "mean position",
    "success, difference", "p", "1/position, difference", "p",
)  # fmt: skip
MEASURES: dict[str, Callable[[int], float]] = {
    "success": lambda place: float(place > 0),
    "reciprocal_position": lambda place: 1 / place if place else 0.0,
}
"""What types are compared by: of the 1-based place of the first success, 0 for none."""


@dataclass(frozen=True)
class Measured:
    """One type of retrieval.

    Attributes:
        positions: for each attempt the 1-based place of the first success, 0 for none; None where it was lost before.
        num_undecided: verdicts that were neither.
        seconds: spent retrieving, reranking and judging.
    """

    positions: Sequence[int | None]
    num_undecided: int = 0
    seconds: float = 0.0

    @property
    def reached(self) -> list[int]:
        """The positions of attempts that reached retrieval."""
        return [position for position in self.positions if position is not None]


def numbers_of(name: str, measured: Measured) -> dict[str, Any]:
    """As reference system 004 reports a type, and the rate over attempts that reached retrieval."""
    reached = measured.reached
    found = [position for position in reached if position]
    total = len(measured.positions)
    return {
        "retriever_type": name,
        "retriever_name": TYPES[name],
        "total_attempts": total,
        "reached_retrieval": len(reached),
        "successful_examples": len(found),
        "failed_attempts": len(reached) - len(found),
        "success_rate": len(found) / total if total else 0.0,
        "success_rate_of_reached": len(found) / len(reached) if reached else 0.0,
        "avg_attempts_per_success": sum(found) / len(found) if found else 0,
        "undecided_verdicts": measured.num_undecided,
        "execution_time": round(measured.seconds, 3),
    }


def paired_tests(results: Mapping[str, Measured], *, seed: int = 0) -> dict[str, dict[str, Any]]:
    """Every type against the first one, over the same attempts: success (0 or 1) and reciprocal position.

    Re-ranking changes the order of passages and not which they are, so it can move only the second. p is corrected by
    Holm over the types.
    """
    base, *others = results
    tests: dict[str, dict[str, Any]] = {name: {"against": base} for name in others}
    for measure, value in MEASURES.items():
        first_N = [value(place) for place in results[base].reached]
        for name in others:
            second_N = [value(place) for place in results[name].reached]
            differences = [second - first for first, second in zip(first_N, second_N, strict=True)]
            low, high = bootstrap_interval(differences, seed=seed)
            mean = sum(differences) / len(differences) if differences else float("nan")
            p = randomisation_test(second_N, first_N, seed=seed)
            tests[name][measure] = {"difference": mean, "low": low, "high": high, "p": p}
        for name, p in zip(others, holm([tests[name][measure]["p"] for name in others]), strict=True):
            tests[name][measure]["p_holm"] = p
    return tests


def table(results: Mapping[str, Mapping[str, Any]], tests: Mapping[str, Mapping[str, Any]]) -> str:
    """One line a type; differences are to the first line, over attempts that reached retrieval, p corrected by Holm.

    Success is what a way of retrieving changes; re-ranking changes only how early it comes, the reciprocal position.
    """
    rows: list[tuple[str, ...]] = [COLUMNS]
    for name, numbers in results.items():
        rates = (numbers["success_rate"], numbers["success_rate_of_reached"], numbers["avg_attempts_per_success"])
        compared = [cell for measure in MEASURES for cell in _compared(tests.get(name, {}).get(measure))]
        rows.append((name, *(f"{rate:.3f}" for rate in rates[:2]), f"{rates[2]:.2f}", *compared))
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _compared(test: Mapping[str, Any] | None) -> tuple[str, str]:
    """A difference with its 95% interval, and p; empty for the type that others are compared with."""
    if test is None:
        return "", ""
    return f"{_signed(test['difference'])} [{_signed(test['low'])}, {_signed(test['high'])}]", f"{test['p_holm']:.3f}"


def _signed(value: float | None) -> str:
    """Nothing was measured: nan, or null in a file."""
    return "-" if value is None or value != value else f"{value:+.3f}"


def picture(results: Mapping[str, Mapping[str, Any]]) -> str:
    """A bar for every type's success rate, its mean position beside it, as SVG."""
    height, left, full = 34, 130, 400
    parts = []
    for number, (name, numbers) in enumerate(results.items()):
        top, rate = 40 + number * height, numbers["success_rate_of_reached"]
        words = f"{rate:.1%}, first success at {numbers['avg_attempts_per_success']:.2f}"
        parts += [
            f'<text x="{left - 8}" y="{top + 17}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{left}" y="{top}" width="{full * rate:.1f}" height="24" fill="#4878a8"/>',
            f'<text x="{left + full * rate + 6:.1f}" y="{top + 17}">{escape(words)}</text>',
        ]
    size = f'width="{left + full + 230}" height="{50 + len(results) * height}"'
    title = '<text x="10" y="22" font-weight="bold">Success rate of attempts that reached retrieval</text>'
    inside = "\n".join([title, *parts])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="13">\n{inside}\n</svg>\n'
    )
