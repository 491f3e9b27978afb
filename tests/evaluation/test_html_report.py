"""The HTML report: self-contained, escaped, complete, and (where Chromium is installed) readable on a phone."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from sharprank.errors import UserError
from sharprank.evaluation.charts import histograms, scatter
from sharprank.evaluation.evaluate import evaluate
from sharprank.formats.svg import tick_label

from .conftest import CORPUS, QRELS, QUERIES, config, write_collection, write_jsonl

NASTY = "<script>alert('x')</script> & \"quotes\" 的"
VOID = {"meta", "br"}
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Page(HTMLParser):
    """Checks that tags close in order, and collects tags, attributes and text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.feed(source)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture
def report(tmp_path, prepare):
    """Make a report and give its page."""

    def make(data, *models, **changes) -> Page:
        path = tmp_path / "report.html"
        evaluate(config(data, *models, report=str(path), overwrite=True, **changes), prepare=prepare)
        return Page(path.read_text(encoding="utf-8"))

    return make


def test_the_page_loads_nothing_and_runs_nothing(report, collection_path, run_path):
    page = report(collection_path, "overlap", run=str(run_path))
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    assert not [value for name, value in page.attributes if name in ("src", "href", "style", "onclick")]
    assert ("name", "viewport") in page.attributes
    style = page.words[next(i for i, word in enumerate(page.words) if ":root" in word)]
    assert "url(" not in style and "@import" not in style


def test_it_says_before_and_after_with_interval_and_verdict(report, collection_path, run_path, prepare):
    result = evaluate(config(collection_path, "overlap", run=str(run_path)), prepare=prepare)
    c = result.models[0].comparisons[0]
    text = report(collection_path, "overlap", run=str(run_path)).text
    assert f"nDCG@10 {c.first:.4f} → {c.reranked:.4f}" in text
    assert f"95% interval {c.low:+.4f} to {c.high:+.4f}, p {c.p:.4f}: {c.verdict}" in text
    for words in ("pairs a second", "share of its kind", "Is a probability one?", "randomisation test", "versions"):
        assert words in text, words
    assert "sharprank evaluate" in text and str(collection_path) in text


def test_queries_that_got_worse_stand_there_with_their_passages(report, collection_path, tmp_path, prepare):
    run = tmp_path / "good.trec"
    evaluate(config(collection_path, "overlap", output_run=str(run)), prepare=prepare)
    page = report(collection_path, "worse", run=str(run))
    assert "BELOW FIRST STAGE" in page.text and ("class", "headline worse") in page.attributes
    assert re.search(r"Queries that got worse \(\d of \d\)", page.text)
    assert QUERIES["q1"] in page.text and CORPUS["p1"] in page.text and "rank 1 → rank" in page.text


def test_rows_show_the_lowest_queries_with_the_passage_that_stands_above(report, rows_path):
    page = report(rows_path, "worse")
    assert "Queries with the lowest nDCG@10" in page.text and "best other, rank 1" in page.text
    assert "precision" in page.text and "PairAccuracy" in page.text


def test_several_models_each_have_their_part(report, collection_path, run_path):
    page = report(collection_path, "overlap", "untied", "constant", run=str(run_path))
    assert page.tags.count("svg") == 9
    assert all(f"{name}: Pictures" in page.text for name in ("overlap", "untied", "constant"))


def test_what_the_data_say_is_shown_and_never_run(report, tmp_path):
    corpus, queries = {**CORPUS, "p1": NASTY, "p4": NASTY}, {**QUERIES, "q1": NASTY, "q3": NASTY}
    folder = write_collection(tmp_path / "nasty", corpus, queries, {"test": QRELS})
    page = report(folder, "worse")
    assert "script" not in page.tags and NASTY in page.text


def test_no_negatives_and_one_pair_make_a_page_too(report, tmp_path):
    rows = write_jsonl(tmp_path / "rows.jsonl", [{"query": "q", "pos": ["a"]}])
    assert "nan" in report(rows, "overlap").text
    assert (
        scatter([], x_label="x", y_label="y") and histograms([], [], x_label="x") and histograms([1], [], x_label="x")
    )


def test_a_path_that_cannot_be_written_or_holds_something_else_is_refused_before_anything_loads(
    rows_path, tmp_path, prepare
):
    (tmp_path / "mine.html").write_text("<p>my page</p>")
    for path, problem in ((tmp_path, "is a folder"), (tmp_path / "mine.html", "no report of sharprank")):
        with pytest.raises(UserError, match=problem):
            evaluate(config(rows_path, "overlap", report=str(path)), prepare=prepare)
    with pytest.raises(UserError, match="both"):
        evaluate(config(rows_path, report=str(tmp_path / "x"), output_file=str(tmp_path / "x")), prepare=prepare)
    assert prepare.loaded == [] and (tmp_path / "mine.html").read_text() == "<p>my page</p>"
    for _ in range(2):  # a report of ours is replaced
        evaluate(config(rows_path, "overlap", report=str(tmp_path / "ours.html")), prepare=prepare)


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium (Debian: chromium) to look at the page")
@pytest.mark.parametrize("width", [360, 1280])
def test_a_browser_shows_it_without_scrolling_sideways(report, collection_path, run_path, tmp_path, width):
    report(collection_path, "overlap", "worse", run=str(run_path))
    source = (tmp_path / "report.html").read_text()
    probe = (
        "<script>addEventListener('load', () => { document.body.dataset.found = JSON.stringify({"
        "wide: document.documentElement.scrollWidth, seen: innerWidth, charts: [...document.querySelectorAll('svg')]"
        ".filter(one => one.getBoundingClientRect().height > 50).length}) })</script>"
    )
    # Chromium's windows have a least width, a frame has not.
    (tmp_path / "inner.html").write_text(source.replace("</body>", probe + "</body>"))
    outer = (
        f"<iframe src='inner.html' width={width} height=700></iframe><script>addEventListener('load', () => "
        "{ document.body.dataset.found = frames[0].document.body.dataset.found })</script>"
    )
    (tmp_path / "outer.html").write_text(f"<!doctype html><body>{outer}</body>")
    words = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
        "--disable-component-update", "--disable-sync", "--allow-file-access-from-files",
        f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", (tmp_path / "outer.html").as_uri(),
    ]  # fmt: skip
    process = subprocess.run(words, capture_output=True, text=True, timeout=120)
    found = re.search(r"data-found=\"([^\"]*)\"", process.stdout)
    assert found, process.stderr
    figures = json.loads(found[1].replace("&quot;", '"'))
    assert figures["wide"] <= figures["seen"] <= width and figures["charts"] == 6


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
