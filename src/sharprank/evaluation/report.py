"""An evaluation's result as text, Markdown or JSON. Computes nothing.

On rows a model's first four lines are `precision:`, `recall:`, `f1:`, `auc:`, one a line at full precision.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from sharprank.evaluation.result import EvaluationResult, ModelResult
from sharprank.formats.tables import aligned, markdown_table, number
from sharprank.metrics.compare import Comparison

PAIR_LINES = ("precision", "recall", "f1", "auc")
_COMPARED = ("measure", "first stage -> reranked", "difference", "95% interval", "p", "chance", "verdict")
_PLAIN = ("measure", "value", "chance")


def render(result: EvaluationResult, output_format: str) -> str:
    """The whole result in one of the three formats, without the last line break."""
    if output_format == "json":
        return json.dumps(result.as_json(), ensure_ascii=False, indent=2)
    if output_format == "markdown":
        return _markdown(result)
    return _text(result)


def _text(result: EvaluationResult) -> str:
    several = len(result.models) > 1
    blocks = [] if result.first_stage is None else [result.title]
    for model in result.models:
        lines = [f"model: {model.name}"] if several or result.first_stage is not None else []
        lines += _pair_lines(model)
        table = aligned(_header(model), _rows(result, model))
        blocks.append("\n".join([*lines, *table, *_by_depth(result, model)]))
    return "\n\n".join([*blocks, *how_compared(result)])


def _pair_lines(model: ModelResult) -> list[str]:
    if model.pairs is None:
        return []
    lines = [f"{name}: {model.pairs[name]!r}" for name in PAIR_LINES]
    if model.why_no_auc:
        lines.append(f"(no auc: {model.why_no_auc})")
    fitted = model.at_fitted_threshold
    if fitted is not None:
        figures = ", ".join(f"{name} {number(fitted[name])}" for name in PAIR_LINES[:3])
        lines.append(f"(calibrated, at the fitted threshold {number(fitted['threshold'])}: {figures})")
    return lines


def _markdown(result: EvaluationResult) -> str:
    blocks = [result.title]
    for model in result.models:
        rows = _rows(result, model)
        if model.pairs is not None:
            rows = [(name, number(model.pairs[name]), "") for name in PAIR_LINES] + rows
        if model.at_fitted_threshold is not None:
            at = model.at_fitted_threshold
            rows += [(f"{name} at {number(at['threshold'])} (fitted)", number(at[name]), "") for name in PAIR_LINES[:3]]
        blocks += [f"**{model.name}**", markdown_table(_header(model), rows), *_by_depth(result, model)]
    return "\n\n".join([*blocks, *how_compared(result)])


def _by_depth(result: EvaluationResult, model: ModelResult) -> list[str]:
    """One line: the first measure if fewer passages had been re-ranked."""
    if len(model.depths) < 2:
        return []
    figures = ", ".join(f"{depth}: {number(value)}" for depth, value in model.depths.items())
    return [f"{result.measures[0]} by depth re-ranked: {figures}"]


def how_compared(result: EvaluationResult) -> list[str]:
    """One line on how p and the interval were made, where there are any."""
    if result.first_stage is None:
        return []
    corrected = f", corrected by Holm for {len(result.models)} models" if len(result.models) > 1 else ""
    return [f"p: two-sided paired randomisation test over queries{corrected}; interval: bootstrap over queries"]


def _header(model: ModelResult) -> Sequence[str]:
    return _COMPARED if model.comparisons else _PLAIN


def _rows(result: EvaluationResult, model: ModelResult) -> list[Sequence[str]]:
    if model.comparisons:
        return [_compared(c, result.chance[c.measure]) for c in model.comparisons]
    values = model.measures
    return [(name, number(values[name]), number(result.chance[name])) for name in result.measures]


def _compared(comparison: Comparison, chance: float) -> Sequence[str]:
    return (
        comparison.measure,
        f"{number(comparison.first)} -> {number(comparison.reranked)}",
        f"{comparison.difference:+.4f}",
        f"[{comparison.low:+.4f}, {comparison.high:+.4f}]",
        f"{comparison.p:.4f}",
        number(chance),
        comparison.verdict,
    )
