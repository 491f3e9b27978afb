"""Charts and parts of HTML reports."""

from __future__ import annotations

import pytest

from sharprank.formats.html.charts import _label, histograms
from sharprank.formats.html.parts import cut, table


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0, 1, ["0", "0.5", "1"]),
        (-13.6, 13.5, ["-13.6", "0", "13.5"]),
        (0, 0.16, ["0", "0.08", "0.16"]),
        (2, 2, ["2"] * 3),
    ],
)
def test_axes_are_labelled_with_short_numbers(low, high, labels):
    assert [_label(low, high, share) for share in (0.0, 0.5, 1.0)] == labels


def test_a_histogram_names_its_series_as_asked_and_escapes_them():
    chart = histograms([1.0], [0.0], x_label="score", names=("<b>", "plain"))
    assert "&lt;b&gt;: 100.0% between" in chart and "plain: 100.0% between 0" in chart and "<b>" not in chart


def test_cells_are_escaped_and_long_texts_cut():
    assert "&lt;i&gt;" in table(["a"], [["<i>"]])
    assert cut("one  two\nthree", 8) == "one two…"
