"""Charts as SVG text: the frame, axes and scale that every chart of ours stands in. No scripts, no network.

Every chart is 320 x 240 units with axes from `low` to `high`. Knows nothing of what is drawn; colours are the caller's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 320, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 12, 36
_TITLE = 24


@dataclass(frozen=True)
class Scale:
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


def chart(scale: Scale, marks: Sequence[str], *, x_label: str, y_label: str) -> str:
    """A chart: axes with three numbers each, labels, and the marks.

    Args:
        marks: SVG elements in units of the scale.
    """
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


def _tick(scale: Scale, share: float) -> str:
    x = tick_label(scale.x_low, scale.x_high, share)
    y = tick_label(scale.y_low, scale.y_high, share)
    at_x = scale.x(scale.x_low + share * (scale.x_high - scale.x_low))
    at_y = scale.y(scale.y_low + share * (scale.y_high - scale.y_low))
    return (
        f'<text x="{at_x}" y="{HEIGHT - _BOTTOM + 13}" text-anchor="middle">{x}</text>'
        f'<text x="{_LEFT - 5}" y="{at_y + 3}" text-anchor="end">{y}</text>'
    )


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
        f'<text x="{number * WIDTH + _LEFT}" y="{_TITLE - 8}" font-weight="bold">{escape(title)}</text>'
        + body.replace("<svg ", f'<svg x="{number * WIDTH}" y="{_TITLE}" width="{WIDTH}" height="{HEIGHT}" ', 1)
        for number, (title, body) in enumerate(charts)
    ]
    size = f'width="{2 * width}" height="{2 * height}" viewBox="0 0 {width} {height}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="10">\n'
        f"<style>{style}</style>\n" + "\n".join(parts) + "\n</svg>\n"
    )
