"""A calibration as text. Computes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sharprank.evaluation.calibrate import CalibrationResult
from sharprank.formats.tables import aligned, number
from sharprank.metrics.calibration import Bin

_BAR = 30


def render_calibration(result: CalibrationResult) -> str:
    """The calibration for a terminal, without the last line break."""
    c = result.calibration
    blocks = [
        result.title,
        f"{result.num_pairs:,} judged pairs of {result.num_queries:,} queries, {result.num_positive:,} relevant",
        f"probability = sigmoid(score / {c.temperature:.4f} {c.bias:+.4f}); relevant above {c.threshold:.4f}",
        "\n".join(aligned(("expected calibration error", "ECE"), _errors(result.errors))),
        "\n".join(aligned(("", "threshold", "precision", "recall", "f1"), _figures(result))),
    ]
    blocks += [f"Reliability, {name}:\n{_curve(bins)}" for name, bins in result.curves.items()]
    blocks.append(f"stored in {result.path}" if result.path else "not stored")
    return "\n\n".join(blocks)


def _errors(errors: Mapping[str, float | None]) -> list[Sequence[str]]:
    names = {"sigmoid": "plain sigmoid"}
    return [
        (names.get(name, f"{name}, on queries not fitted on"), "too few queries" if error is None else number(error))
        for name, error in errors.items()
    ]


def _figures(result: CalibrationResult) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = []
    for name, figures in {**result.at, **result.thresholds}.items():
        values = [number(figures[key]) for key in ("threshold", "precision", "recall", "f1")] if figures else ["-"] * 4
        rows.append((name, *values))
    return rows


def _curve(bins: Sequence[Bin]) -> str:
    rows = [
        (
            f"{one.low:.1f}-{one.high:.1f}",
            number(one.mean_probability),
            number(one.share_positive),
            f"{one.num_pairs:,}",
        )
        for one in bins
    ]
    lines = aligned(("probability", "said", "relevant", "pairs"), rows)
    bars = ["#" * round(one.share_positive * _BAR) for one in bins]
    return "\n".join([lines[0], *(f"{line}  {bar}".rstrip() for line, bar in zip(lines[1:], bars, strict=True))])
