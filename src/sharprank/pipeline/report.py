"""The proof in one table: first stage -> untrained -> trained, with the paired test of trained against first stage."""

from __future__ import annotations

from sharprank.evaluation.result import EvaluationResult

HEADER = ("measure", "first stage", "untrained", "trained", "gain", "95% interval", "p", "verdict")


def render(untrained: EvaluationResult, trained: EvaluationResult) -> str:
    """The table, one line a measure, under a line that says what was ranked.

    Args:
        untrained, trained: the same queries and candidates, each compared with the same first stage.
    """
    before = untrained.models[0].measures
    rows = [
        (
            comparison.measure,
            f"{comparison.first:.4f}",
            f"{before[comparison.measure]:.4f}",
            f"{comparison.reranked:.4f}",
            f"{comparison.difference:+.4f}",
            f"[{comparison.low:+.4f}, {comparison.high:+.4f}]",
            f"{comparison.p:.4f}",
            comparison.verdict,
        )
        for comparison in trained.models[0].comparisons
    ]
    widths = [max(len(row[column]) for row in (HEADER, *rows)) for column in range(len(HEADER))]
    lines = [trained.title, ""]
    lines += [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (HEADER, *rows)
    ]
    return "\n".join([*lines, "", _footnote(trained)])


def _footnote(trained: EvaluationResult) -> str:
    num_queries = trained.models[0].comparisons[0].num_queries
    return f"gain: trained minus first stage; p: paired randomisation test over {num_queries:,} queries, two-sided"
