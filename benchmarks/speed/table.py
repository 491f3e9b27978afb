"""The figures as a Markdown table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def render(report: Mapping[str, Any]) -> str:
    """A line of machine, a table, a line of checks for each measurement."""
    machine = report["machine"]
    lines = [
        f"{machine['processor']}, {machine['threads']} thread(s) of {machine['cores']} cores, "
        f"torch {machine['torch']}, load average {machine['load']} at the start.",
        "",
        "| work | against | measured | wanted | rounds | processor time |",
        "|---|---|---|---|---|---|",
    ]
    for measured in report["measured"].values():
        lines += [_line(row) for row in measured["rows"]]
    lines.append("")
    for name, measured in report["measured"].items():
        said = [f"{what} {value:.2g}" for what, value in measured["checks"].items()]
        if "quiet" in measured:
            said.append(f"{measured['quiet']:.0%} of the rounds had the processor to themselves")
        if "bytes" in measured:
            said += [f"{side} {peaks['trained'] / 2**20:,.0f} MiB" for side, peaks in measured["bytes"].items()]
        for work, costs in measured.get("microseconds a token", {}).items():
            parts = [f"{c['model']:.0f} + {c['outside']:.1f} us at {pairs}" for pairs, c in costs.items()]
            said.append(f"a token of {work} in the model + outside it: {', '.join(parts)}")
        lines += [f"{name}: {'; '.join(said)}."] if said else []
    return "\n".join(lines)


def _line(row: Mapping[str, Any]) -> str:
    share = row["against"] == "GEMM ceiling"
    measured = f"{row['ratio']:.0%}" if share else f"{row['ratio']:.2f}x"
    if "limit" in row:
        wanted, ok = f"<= {row['limit']:.2f}x", row["ratio"] <= row["limit"]
    else:
        wanted, ok = (f">= {row['target']:.0%}" if share else f">= {row['target']:.1f}x"), row["ratio"] >= row["target"]
    detail = row.get("detail", {})
    rounds = f"{detail['lowest']:.2f} to {detail['highest']:.2f}" if "lowest" in detail else ""
    cpu = f"{detail['cpu']:.2f}x" if "cpu" in detail else ""
    if share:
        rounds = f"{detail['gflops']:.0f} of {detail['ceiling_gflops']:.0f} GFLOP/s"
    return (
        f"| {row['work']} | {row['against']} | {measured}{'' if ok else ' **below**'} | {wanted} | {rounds} | {cpu} |"
    )
