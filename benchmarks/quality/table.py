"""The figures as Markdown: for each split a table of systems, and one of ours against the others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks.quality.cells import WALL
from benchmarks.quality.compare import ALONE, FIRST_STAGE, FUSED, MAIN, MEASURES


def render(report: Mapping[str, Any]) -> str:
    """All of it."""
    parts = [f"{report['tokens']:,} useful tokens a training, pairs of at most {report['max_len']} tokens."]
    for collection, split in dict.fromkeys((row["collection"], row["split"]) for row in report["rows"]):
        rows, tests = (
            [row for row in report[kind] if (row["collection"], row["split"]) == (collection, split)]
            for kind in ("rows", "tests")
        )
        parts.append("\n".join(_systems(f"{collection}, {split}", rows)))
        if tests:
            parts.append("\n".join(_tests(tests)))
    return "\n\n".join(parts)


def _systems(title: str, rows: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    rows = list(rows)
    num_queries = next(row["queries"] for row in rows if row["system"] == FIRST_STAGE)
    columns = [f"{MAIN} alone", "fused", *MEASURES[1:], "seeds", "steps", "tokens", "CPU s"]
    yield f"**{title}** ({num_queries} queries)"
    yield ""
    yield f"| system | {' | '.join(columns)} |"
    yield "|---" * (len(columns) + 1) + "|"
    for row in rows:
        rest = [f"{row[ALONE][name]:.4f}" for name in MEASURES[1:]]
        if row["system"] == FIRST_STAGE:
            cells = [f"{row[ALONE][MAIN]:.4f}", "", *rest, "", "", "", ""]
        else:
            effort = [f"{len(row['seeds'])}", *(f"{row[name]:,.0f}" for name in ("steps", "tokens", "cpu"))]
            cells = [f"{row[ALONE][MAIN]:.4f}", f"{row[FUSED][MAIN]:.4f}", *rest, *effort]
        yield f"| {_named(row['system'], row.get('budget'))} | {' | '.join(cells)} |"


def _tests(tests: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    yield f"| ours minus | {MAIN} | 95% interval | p |"
    yield "|---|---|---|---|"
    for test in tests:
        other = _named(test["against"], test.get("budget"))
        kind = f"{test['kind']}, against " if test["against"] == FIRST_STAGE else f"both {test['kind']}: "
        low, high = test["interval"]
        worse = " **behind**" if test["difference"] < 0 else ""
        yield f"| {kind}{other} | {test['difference']:+.4f}{worse} | [{low:+.4f}, {high:+.4f}] | {test['p']:.4f} |"


def _named(system: str, budget: str | None) -> str:
    return f"{system}, as long as ours took" if budget == WALL else system
