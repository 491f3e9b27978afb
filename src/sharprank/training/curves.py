"""Loss and measures over the steps of a training as one picture, `curves.svg`, beside the checkpoint."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from sharprank.formats.svg import Scale, chart, picture
from sharprank.formats.writers import atomic_open

CURVES_FILE = "curves.svg"

Curve = list[tuple[float, float]]
"""(step, value), by rising step."""

_COLOURS = ("#4878a8", "#c05a3c", "#5a9a5a", "#8a6ab0", "#b0903c", "#4a9a9a")
_STYLE = (
    "svg { background: white; } .axis { fill: none; stroke: #888; } text { fill: #444; } "
    "polyline { fill: none; stroke-width: 1.5; }"
)


def write_curves(folder: Path, history: Sequence[Mapping[str, Any]]) -> None:
    """Draw a trainer's log history into `folder`.

    Args:
        history: entries with `step` and `loss`, or `step` and `eval_...`.
    """
    charts = [("Loss", _lines({"loss": _curve(history, "loss")}, y_label="loss"))]
    names = dict.fromkeys(name for entry in history for name in entry if name.startswith("eval_"))
    measures = {name.removeprefix("eval_"): _curve(history, name) for name in names}
    if any(measures.values()):
        charts.append(("Measures", _lines(measures, y_label="evaluation")))
    with atomic_open(folder / CURVES_FILE) as file:
        file.write(picture(charts, style=_STYLE))


def _curve(history: Sequence[Mapping[str, Any]], name: str) -> Curve:
    points = {entry["step"]: float(entry[name]) for entry in history if _is_number(entry.get(name))}
    return sorted(points.items())


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _lines(curves: Mapping[str, Curve], *, y_label: str) -> str:
    points = [point for curve in curves.values() for point in curve]
    steps, values = ([point[axis] for point in points] or [0.0] for axis in (0, 1))
    scale = Scale(0, max(*steps, 1), min(0.0, *values), max(*values, 1e-9))
    marks = []
    for number, (name, curve) in enumerate(curves.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        places = " ".join(f"{scale.x(step)},{scale.y(value)}" for step, value in curve)
        marks.append(f'<polyline stroke="{colour}" points="{places}"><title>{escape(name)}</title></polyline>')
        if curve and len(curves) > 1:
            marks.append(_name(name, colour, number))
    return chart(scale, marks, x_label="step", y_label=y_label)


def _name(name: str, colour: str, number: int) -> str:
    return f'<text x="306" y="{190 - 12 * number}" text-anchor="end" style="fill: {colour}">{escape(name)}</text>'
