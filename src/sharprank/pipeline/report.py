"""The proof in one table: first stage -> untrained -> trained, with the paired test of trained against first stage."""

from __future__ import annotations

from sharprank.evaluation.result import EvaluationResult, ModelResult

HEADER = (
    "measure",
    "first stage",
    "untrained",
    "trained",
    "gain",
    "p",
    "fused",
    "gain",
    "95% interval",
    "p",
    "verdict",
)


def render(untrained: EvaluationResult, trained: EvaluationResult, fused: ModelResult) -> str:
    """The table, one line a measure, under a line that says what was ranked.

    Args:
        untrained, trained: the same queries and candidates, each compared with the same first stage.
        fused: the trained model's scores with those of the first stage.
    """
    before = untrained.models[0].measures
    rows = [
        (
            alone.measure,
            f"{alone.first:.4f}",
            f"{before[alone.measure]:.4f}",
            f"{alone.reranked:.4f}",
            f"{alone.difference:+.4f}",
            f"{alone.p:.4f}",
            f"{together.reranked:.4f}",
            f"{together.difference:+.4f}",
            f"[{together.low:+.4f}, {together.high:+.4f}]",
            f"{together.p:.4f}",
            together.verdict,
        )
        for alone, together in zip(trained.models[0].comparisons, fused.comparisons, strict=True)
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
    return f"gain: minus first stage; p: paired randomisation test over {num_queries:,} queries, two-sided"
