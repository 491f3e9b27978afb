"""The charts of a report as SVG text: a scatter, two histograms over each other, a reliability curve.

Colours come from the page's CSS classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from sharprank.formats.svg import Scale, chart
from sharprank.metrics.calibration import Bin

NUM_HISTOGRAM_BINS = 24


def scatter(points: Sequence[tuple[str, float, float]], *, x_label: str, y_label: str) -> str:
    """One dot a query, value before against value after; above the diagonal it got better.

    Args:
        points: (tooltip, before, after), values between 0 and 1.
    """
    scale = Scale(0, 1, 0, 1)
    dots = []
    for name, before, after in points:
        kind = "better" if after > before else "worse" if after < before else "same"
        place = f'cx="{scale.x(before)}" cy="{scale.y(after)}"'
        dots.append(f'<circle class="{kind}" {place} r="3.5"><title>{escape(name)}</title></circle>')
    return chart(scale, [_diagonal(scale), *dots], x_label=x_label, y_label=y_label)


def histograms(relevant: Sequence[float], others: Sequence[float], *, x_label: str) -> str:
    """The scores of relevant and of other passages, each as shares of its own kind."""
    every = np.concatenate([np.asarray(relevant, dtype=np.float64), np.asarray(others, dtype=np.float64)])
    low, high = (float(every.min()), float(every.max())) if every.size else (0.0, 1.0)
    high = high if high > low else low + 1.0
    shares = {
        kind: np.histogram(values, NUM_HISTOGRAM_BINS, (low, high))[0] / max(1, len(values))
        for kind, values in (("other", others), ("relevant", relevant))
    }
    top = max(float(own.max()) for own in shares.values()) or 1.0
    scale = Scale(low, high, 0, top)
    width = (high - low) / NUM_HISTOGRAM_BINS
    bars = [
        _bar(scale, low + index * width, width, float(share), kind)
        for kind, own in shares.items()
        for index, share in enumerate(own)
        if share > 0
    ]
    return chart(scale, bars, x_label=x_label, y_label="share of its kind")


def _bar(scale: Scale, start: float, width: float, share: float, kind: str) -> str:
    left, right, top = scale.x(start), scale.x(start + width), scale.y(share)
    size = f'width="{max(0.5, round(right - left, 2))}" height="{round(scale.y(0) - top, 2)}"'
    tip = f"{kind}: {share:.1%} between {start:.3g} and {start + width:.3g}"
    return f'<rect class="{kind}" x="{left}" y="{top}" {size}><title>{tip}</title></rect>'


def reliability_chart(curves: Sequence[tuple[str, Sequence[Bin]]]) -> str:
    """What was said against what was so; the diagonal is perfect.

    Args:
        curves: (CSS class, bins); at most two.
    """
    scale = Scale(0, 1, 0, 1)
    marks = [_diagonal(scale)]
    for kind, bins in curves:
        places = [(scale.x(one.mean_probability), scale.y(one.share_positive)) for one in bins]
        marks.append(f'<polyline class="{kind}" points="{" ".join(f"{x},{y}" for x, y in places)}"/>')
        for (x, y), one in zip(places, bins, strict=True):
            tip = f"said {one.mean_probability:.2f}, was {one.share_positive:.2f}, {one.num_pairs:,} pairs"
            marks.append(f'<circle class="{kind}" cx="{x}" cy="{y}" r="3.5"><title>{tip}</title></circle>')
    return chart(scale, marks, x_label="probability", y_label="share relevant")


def _diagonal(scale: Scale) -> str:
    return f'<line class="diagonal" x1="{scale.x(0)}" y1="{scale.y(0)}" x2="{scale.x(1)}" y2="{scale.y(1)}"/>'
