"""Small charts as SVG text: a scatter, two histograms over each other, a reliability curve. No scripts, no network.

Every chart is 320 x 240 units with axes from `low` to `high`; colours come from the page's CSS classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from sharprank.metrics.calibration import Bin

WIDTH, HEIGHT = 320, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 12, 36
NUM_HISTOGRAM_BINS = 24


@dataclass(frozen=True)
class _Scale:
    """From values to units of the drawing."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float

    def x(self, value: float) -> float:
        share = (value - self.x_low) / ((self.x_high - self.x_low) or 1.0)
        return round(_LEFT + share * (WIDTH - _LEFT - _RIGHT), 2)

    def y(self, value: float) -> float:
        share = (value - self.y_low) / ((self.y_high - self.y_low) or 1.0)
        return round(HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM), 2)


def scatter(points: Sequence[tuple[str, float, float]], *, x_label: str, y_label: str) -> str:
    """One dot a query, value before against value after; above the diagonal it got better.

    Args:
        points: (tooltip, before, after), values between 0 and 1.
    """
    scale = _Scale(0, 1, 0, 1)
    dots = []
    for name, before, after in points:
        kind = "better" if after > before else "worse" if after < before else "same"
        place = f'cx="{scale.x(before)}" cy="{scale.y(after)}"'
        dots.append(f'<circle class="{kind}" {place} r="3.5"><title>{escape(name)}</title></circle>')
    return _chart(scale, [_diagonal(scale), *dots], x_label=x_label, y_label=y_label)


def histograms(
    relevant: Sequence[float],
    others: Sequence[float],
    *,
    x_label: str,
    names: tuple[str, str] = ("relevant", "other"),
) -> str:
    """The scores of relevant and of other passages, each as shares of its own kind; `names` is what tooltips say."""
    every = np.concatenate([np.asarray(relevant, dtype=np.float64), np.asarray(others, dtype=np.float64)])
    low, high = (float(every.min()), float(every.max())) if every.size else (0.0, 1.0)
    high = high if high > low else low + 1.0
    shares = {
        kind: np.histogram(values, NUM_HISTOGRAM_BINS, (low, high))[0] / max(1, len(values))
        for kind, values in (("other", others), ("relevant", relevant))
    }
    top = max(float(own.max()) for own in shares.values()) or 1.0
    scale = _Scale(low, high, 0, top)
    called = dict(zip(("relevant", "other"), names, strict=True))
    width = (high - low) / NUM_HISTOGRAM_BINS
    bars = [
        _bar(scale, low + index * width, width, float(share), (kind, called[kind]))
        for kind, own in shares.items()
        for index, share in enumerate(own)
        if share > 0
    ]
    return _chart(scale, bars, x_label=x_label, y_label="share of its kind")


def _bar(scale: _Scale, start: float, width: float, share: float, series: tuple[str, str]) -> str:
    left, right, top = scale.x(start), scale.x(start + width), scale.y(share)
    size = f'width="{max(0.5, round(right - left, 2))}" height="{round(scale.y(0) - top, 2)}"'
    kind, name = series
    tip = escape(f"{name}: {share:.1%} between {start:.3g} and {start + width:.3g}")
    return f'<rect class="{kind}" x="{left}" y="{top}" {size}><title>{tip}</title></rect>'


def reliability_chart(curves: Sequence[tuple[str, Sequence[Bin]]]) -> str:
    """What was said against what was so; the diagonal is perfect.

    Args:
        curves: (CSS class, bins); at most two.
    """
    scale = _Scale(0, 1, 0, 1)
    marks = [_diagonal(scale)]
    for kind, bins in curves:
        places = [(scale.x(one.mean_probability), scale.y(one.share_positive)) for one in bins]
        marks.append(f'<polyline class="{kind}" points="{" ".join(f"{x},{y}" for x, y in places)}"/>')
        for (x, y), one in zip(places, bins, strict=True):
            tip = f"said {one.mean_probability:.2f}, was {one.share_positive:.2f}, {one.num_pairs:,} pairs"
            marks.append(f'<circle class="{kind}" cx="{x}" cy="{y}" r="3.5"><title>{tip}</title></circle>')
    return _chart(scale, marks, x_label="probability", y_label="share relevant")


def _diagonal(scale: _Scale) -> str:
    return f'<line class="diagonal" x1="{scale.x(0)}" y1="{scale.y(0)}" x2="{scale.x(1)}" y2="{scale.y(1)}"/>'


def _chart(scale: _Scale, marks: Sequence[str], *, x_label: str, y_label: str) -> str:
    bottom, right = HEIGHT - _BOTTOM, WIDTH - _RIGHT
    parts = [
        f'<path class="axis" d="M{_LEFT},{_TOP} V{bottom} H{right}"/>',
        *(_tick(scale, share) for share in (0.0, 0.5, 1.0)),
        f'<text x="{(_LEFT + right) / 2}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x_label)}</text>',
        f'<text transform="translate(11 {(_TOP + bottom) / 2}) rotate(-90)" text-anchor="middle">'
        f"{escape(y_label)}</text>",
    ]
    name = escape(f"{y_label} against {x_label}", quote=True)
    body = "".join([*parts, *marks])
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{name}">{body}</svg>'


def _tick(scale: _Scale, share: float) -> str:
    x = _label(scale.x_low, scale.x_high, share)
    y = _label(scale.y_low, scale.y_high, share)
    at_x = scale.x(scale.x_low + share * (scale.x_high - scale.x_low))
    at_y = scale.y(scale.y_low + share * (scale.y_high - scale.y_low))
    return (
        f'<text x="{at_x}" y="{HEIGHT - _BOTTOM + 13}" text-anchor="middle">{x}</text>'
        f'<text x="{_LEFT - 5}" y="{at_y + 3}" text-anchor="end">{y}</text>'
    )


def _label(low: float, high: float, share: float) -> str:
    """A number as exact as the axis needs: three digits of its span."""
    decimals = 3 - math.ceil(math.log10((high - low) or 1.0))
    return f"{round(low + share * (high - low), decimals) + 0.0:g}"
