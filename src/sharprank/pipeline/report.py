"""The proof in one table: first stage -> untrained -> trained, with the paired test of trained against first stage."""

from __future__ import annotations

from sharprank.evaluation.result import EvaluationResult, ModelResult
from sharprank.formats.tables import aligned, number
from sharprank.metrics.verdict import COMPARED, compared

HEADER = ("measure", "first stage", "untrained", "trained", *COMPARED)


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
            number(alone.first),
            number(before[alone.measure]),
            number(alone.reranked),
            *compared(alone, together),
        )
        for alone, together in zip(trained.models[0].comparisons, fused.comparisons, strict=True)
    ]
    lines = [trained.title, "", *aligned(HEADER, rows)]
    return "\n".join([*lines, "", _footnote(trained)])


def _footnote(trained: EvaluationResult) -> str:
    num_queries = trained.models[0].comparisons[0].num_queries
    return f"gain: minus first stage; p: paired randomisation test over {num_queries:,} queries, two-sided"
