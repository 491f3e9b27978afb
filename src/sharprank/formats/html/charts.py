"""Small charts as SVG text: dots, histograms, bars, curves, intervals. No scripts, no network.

Every chart is 320 x 240 units; colours come from the page's CSS classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np

from sharprank.formats.svg import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Scale, chart, drawing, even_ticks, x_labels
from sharprank.metrics.calibration import Bin

NUM_HISTOGRAM_BINS = 24
_SMALLEST_DOT, _LARGEST_DOT = 3.0, 12.0
_DOT_ROOM = 0.06
"""Room around the axes of a scatter, so that no dot is cut off."""
_NAMES_IN_A_TIP = 5
_NAME_WIDTH = 84
_LEAST_GAP = 24
"""Units between two labels below an axis, so that they do not run into each other."""


def scatter(points: Sequence[tuple[str, float, float]], *, x_label: str, y_label: str) -> str:
    """Value before against value after, one dot a query; above the diagonal it got better.

    Queries at one place share a dot, whose area grows with their number.

    Args:
        points: (tooltip, before, after), values between 0 and 1.
    """
    scale = Scale(-_DOT_ROOM, 1 + _DOT_ROOM, -_DOT_ROOM, 1 + _DOT_ROOM)
    places: dict[tuple[float, float], list[str]] = {}
    for name, before, after in points:
        places.setdefault((round(before, 6), round(after, 6)), []).append(name)
    dots = []
    for (before, after), names in sorted(places.items(), key=lambda place: -len(place[1])):
        kind = "better" if after > before else "worse" if after < before else "same"
        more = [f"and {len(names) - _NAMES_IN_A_TIP:,} more"] if len(names) > _NAMES_IN_A_TIP else []
        tip = escape("\n".join([*names[:_NAMES_IN_A_TIP], *more]))
        radius = round(min(_LARGEST_DOT, _SMALLEST_DOT * math.sqrt(len(names))), 2)
        at = f'cx="{scale.x(before)}" cy="{scale.y(after)}"'
        dots.append(f'<circle class="{kind}" {at} r="{radius}"><title>{tip}</title></circle>')
    ticks = even_ticks(0, 1)
    return chart(scale, [_diagonal(scale), *dots], x_label=x_label, y_label=y_label, x_ticks=ticks, y_ticks=ticks)


def intervals(rows: Sequence[tuple[str, float, float, float, str]], *, x_label: str) -> str:
    """Differences with their intervals, one below the other; the line is no difference.

    Args:
        rows: (name, low, difference, high, kind); kind is "better", "worse" or "same" and decides the colour.
    """
    ends = [end for _, low, _, high, _ in rows for end in (low, high) if math.isfinite(end)]
    span = max([abs(end) for end in ends], default=0.0) or 1.0
    low, high = min([0.0, *ends]), max([0.0, *ends])
    scale = Scale(low - 0.06 * span, high + 0.06 * span, 0, 1, left=_NAME_WIDTH)
    bottom = HEIGHT - BOTTOM
    row_height = (bottom - TOP) / max(1, len(rows))
    marks = [f'<line class="diagonal" x1="{scale.x(0)}" y1="{TOP}" x2="{scale.x(0)}" y2="{bottom}"/>']
    for number, row in enumerate(rows):
        marks.append(_interval(scale, row, round(TOP + (number + 0.5) * row_height, 2)))
    axis = f'<path class="axis" d="M{_NAME_WIDTH},{bottom} H{WIDTH - RIGHT}"/>'
    ends = [(end, _signed(end)) for end in (low, high) if abs(scale.x(end) - scale.x(0)) > _LEAST_GAP]
    return drawing([axis, *x_labels(scale, [(0.0, "0"), *ends]), *marks], x_label, "difference")


def _interval(scale: Scale, row: tuple[str, float, float, float, str], y: float) -> str:
    name, low, middle, high, kind = row
    label = f'<text x="{_NAME_WIDTH - 6}" y="{y + 3}" text-anchor="end">{escape(name)}</text>'
    if not (math.isfinite(low) and math.isfinite(high)):
        return label
    tip = escape(f"{name}: {middle:+.4f}, {low:+.4f} to {high:+.4f}")
    line = f'<line class="{kind}" x1="{scale.x(low)}" y1="{y}" x2="{scale.x(high)}" y2="{y}"/>'
    return f'{label}{line}<circle class="{kind}" cx="{scale.x(middle)}" cy="{y}" r="4.5"><title>{tip}</title></circle>'


def _signed(value: float) -> str:
    return f"{value:+.2g}"


def curve(points: Sequence[tuple[str, float]], *, level: float, level_name: str, x_label: str, y_label: str) -> str:
    """Values in steps, left to right, against a level that is the same for all.

    Args:
        points: (label below the axis, value).
        level: drawn as a dashed line, called `level_name`.
    """
    values = [*(value for _, value in points), level]
    room = max(0.15 * (max(values) - min(values)), 0.01)
    scale = Scale(-0.3, len(points) - 0.7, min(values) - room, max(values) + room)
    places = [(scale.x(step), scale.y(value)) for step, (_, value) in enumerate(points)]
    marks = [
        f'<line class="diagonal" x1="{LEFT}" y1="{scale.y(level)}" x2="{WIDTH - RIGHT}" y2="{scale.y(level)}"/>',
        f'<text x="{WIDTH - RIGHT}" y="{scale.y(level) - 4}" text-anchor="end">{escape(level_name)}</text>',
        f'<polyline class="fitted" points="{" ".join(f"{x},{y}" for x, y in places)}"/>',
    ]
    for (x, y), (label, value) in zip(places, points, strict=True):
        tip = escape(f"{label}: {value:.4f}")
        marks.append(f'<circle class="fitted" cx="{x}" cy="{y}" r="3.5"><title>{tip}</title></circle>')
    ticks = [(float(step), label) for step, (label, _) in enumerate(points)]
    return chart(scale, marks, x_label=x_label, y_label=y_label, x_ticks=ticks)


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
    scale = Scale(low, high, 0, top)
    called: dict[str, str] = dict(zip(("relevant", "other"), names, strict=True))
    width = (high - low) / NUM_HISTOGRAM_BINS
    bars = [
        _bar(scale, low + index * width, width, float(share), (kind, called[kind]))
        for kind, own in shares.items()
        for index, share in enumerate(own)
        if share > 0
    ]
    return chart(scale, bars, x_label=x_label, y_label="share of its kind")


def _bar(scale: Scale, start: float, width: float, share: float, series: tuple[str, str]) -> str:
    left, right, top = scale.x(start), scale.x(start + width), scale.y(share)
    size = f'width="{max(0.5, round(right - left, 2))}" height="{round(scale.y(0) - top, 2)}"'
    kind, name = series
    tip = escape(f"{name}: {share:.1%} between {start:.3g} and {start + width:.3g}")
    return f'<rect class="{kind}" x="{left}" y="{top}" {size}><title>{tip}</title></rect>'


def stacked(
    counts: Sequence[tuple[str, str, Sequence[int]]], *, low: float, high: float, x_label: str, y_label: str = "count"
) -> str:
    """Counts in equal bins from low to high, one series on top of the other.

    Args:
        counts: (CSS class, name, a count for each bin), the lowest series first.
    """
    num_bins = max((len(own) for _, _, own in counts), default=0)
    totals = [sum(own[index] for _, _, own in counts) for index in range(num_bins)]
    scale = Scale(low, high, 0, max(totals, default=0) or 1)
    width = (high - low) / max(1, num_bins)
    bars = []
    for index in range(num_bins):
        below = 0
        for kind, name, own in counts:
            if own[index]:
                bars.append(_block(scale, low + index * width, width, (below, own[index]), (kind, name)))
            below += own[index]
    return chart(scale, bars, x_label=x_label, y_label=y_label)


def _block(scale: Scale, start: float, width: float, count: tuple[int, int], series: tuple[str, str]) -> str:
    below, height = count
    left, right = scale.x(start), scale.x(start + width)
    bottom, top = scale.y(below), scale.y(below + height)
    size = f'width="{max(0.5, round(right - left - 0.5, 2))}" height="{round(bottom - top, 2)}"'
    tip = escape(f"{series[1]}: {height:,} between {start:.4g} and {start + width:.4g}")
    return f'<rect class="{series[0]}" x="{left}" y="{top}" {size}><title>{tip}</title></rect>'


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
