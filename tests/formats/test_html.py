"""Charts and parts of HTML reports."""

from __future__ import annotations

import re
from math import nan

import pytest

from sharprank.formats.html.charts import curve, histograms, intervals, scatter
from sharprank.formats.html.parts import cut, table
from sharprank.formats.svg import tick_label


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
    assert [tick_label(low, high, share) for share in (0.0, 0.5, 1.0)] == labels


def test_a_histogram_names_its_series_as_asked_and_escapes_them():
    chart = histograms([1.0], [0.0], x_label="score", names=("<b>", "plain"))
    assert "&lt;b&gt;: 100.0% between" in chart and "plain: 100.0% between 0" in chart and "<b>" not in chart


def test_columns_of_numbers_stand_to_the_right_and_words_to_the_left():
    page = table(["model", "value", "range"], [["x", "0.5", "+0.1 to 0.2"], ["y", "", "nan"]])
    assert page.count('class="words"') == 3 and '<th class="words">model</th><th>value</th>' in page


def test_queries_at_one_place_share_a_larger_dot():
    chart = scatter([(f"q{i}", 1.0, 1.0) for i in range(9)] + [("alone", 0.5, 1.0)], x_label="a", y_label="b")
    assert chart.count("<circle") == 2 and 'r="9.0"' in chart and 'r="3.0"' in chart
    assert "and 4 more" in chart and 'class="better"' in chart


def test_an_interval_is_drawn_from_its_low_end_to_its_high_end_beside_zero():
    rows = [("nDCG@10", 0.1, 0.2, 0.3, "better"), ("MAP", -0.2, 0.0, 0.2, "same"), ("none", nan, nan, nan, "same")]
    chart = intervals(rows, x_label="difference")
    patterns = {
        "zero": r'class="diagonal" x1="([\d.]+)"',
        "low": r'line class="better" x1="([\d.]+)"',
        "middle": r'circle class="better" cx="([\d.]+)"',
        "high": r'line class="better" x1="[\d.]+" y1="[\d.]+" x2="([\d.]+)"',
    }
    at = {name: float(re.search(pattern, chart)[1]) for name, pattern in patterns.items()}
    assert at["zero"] < at["low"] < at["middle"] < at["high"]
    assert at["middle"] - at["low"] == pytest.approx(at["high"] - at["middle"], abs=0.02)
    assert chart.count("<circle") == 2 and "none" in chart


def test_a_curve_rises_where_its_values_do_and_shows_the_level():
    chart = curve([("5", 0.5), ("10", 0.7)], level=0.6, level_name="first <stage>", x_label="depth", y_label="MAP")
    heights = [float(y) for y in re.findall(r'cy="([\d.]+)"', chart)]
    level = float(re.search(r'class="diagonal".* y2="([\d.]+)"', chart)[1])
    assert heights[0] > level > heights[1] and "first &lt;stage&gt;" in chart


def test_cells_are_escaped_and_long_texts_cut():
    assert "&lt;i&gt;" in table(["a"], [["<i>"]])
    assert cut("one  two\nthree", 8) == "one two…"
