"""Charts as SVG text: the frame, axes and scale that every chart of ours stands in. No scripts, no network.

Every chart is 320 x 240 units. Knows nothing of what is drawn; colours are the caller's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 320, 240
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 12, 36
_TITLE = 24


@dataclass(frozen=True)
class Scale:
    """From values to units of the drawing; `left` is where the x axis begins."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float
    left: int = LEFT

    def x(self, value: float) -> float:
        share = (value - self.x_low) / ((self.x_high - self.x_low) or 1.0)
        return round(self.left + share * (WIDTH - self.left - RIGHT), 2)

    def y(self, value: float) -> float:
        share = (value - self.y_low) / ((self.y_high - self.y_low) or 1.0)
        return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 2)


def chart(
    scale: Scale,
    marks: Sequence[str],
    *,
    x_label: str,
    y_label: str,
    x_ticks: Sequence[tuple[float, str]] | None = None,
    y_ticks: Sequence[tuple[float, str]] | None = None,
) -> str:
    """A chart: axes, labels, and the marks.

    Args:
        marks: SVG elements in units of the scale.
        x_ticks, y_ticks: (value, label) along an axis; by default three numbers.
    """
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = [
        f'<path class="axis" d="M{LEFT},{TOP} V{bottom} H{right}"/>',
        *x_labels(scale, even_ticks(scale.x_low, scale.x_high) if x_ticks is None else x_ticks),
        *(
            f'<text x="{LEFT - 5}" y="{scale.y(value) + 3}" text-anchor="end">{label}</text>'
            for value, label in (even_ticks(scale.y_low, scale.y_high) if y_ticks is None else y_ticks)
        ),
        f'<text transform="translate(11 {(TOP + bottom) / 2}) rotate(-90)" text-anchor="middle">'
        f"{escape(y_label)}</text>",
    ]
    return drawing([*parts, *marks], x_label, y_label)


def drawing(parts: Sequence[str], x_label: str, y_label: str) -> str:
    """The drawing with the label of its x axis; both labels make its name for those who cannot see it."""
    below = f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x_label)}</text>'
    name = escape(f"{y_label} against {x_label}", quote=True)
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{name}">{"".join([*parts, below])}</svg>'


def x_labels(scale: Scale, ticks: Sequence[tuple[float, str]]) -> list[str]:
    """Labels below the x axis: (value, label)."""
    return [
        f'<text x="{scale.x(value)}" y="{HEIGHT - BOTTOM + 13}" text-anchor="middle">{escape(label)}</text>'
        for value, label in ticks
    ]


def even_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Three numbers along an axis: (value, label)."""
    return [(low + share * (high - low), tick_label(low, high, share)) for share in (0.0, 0.5, 1.0)]


def tick_label(low: float, high: float, share: float) -> str:
    """A number as exact as the axis needs: three digits of its span."""
    decimals = 3 - math.ceil(math.log10((high - low) or 1.0))
    return f"{round(low + share * (high - low), decimals) + 0.0:g}"


def picture(charts: Sequence[tuple[str, str]], *, style: str) -> str:
    """Charts side by side as a document of its own.

    Args:
        charts: (title, chart).
        style: CSS for their marks.
    """
    width, height = WIDTH * len(charts), HEIGHT + _TITLE
    parts = [
        f'<text x="{number * WIDTH + LEFT}" y="{_TITLE - 8}" font-weight="bold">{escape(title)}</text>'
        + body.replace("<svg ", f'<svg x="{number * WIDTH}" y="{_TITLE}" width="{WIDTH}" height="{HEIGHT}" ', 1)
        for number, (title, body) in enumerate(charts)
    ]
    size = f'width="{2 * width}" height="{2 * height}" viewBox="0 0 {width} {height}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="10">\n'
        f"<style>{style}</style>\n" + "\n".join(parts) + "\n</svg>\n"
    )
