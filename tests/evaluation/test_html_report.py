"""The HTML report: self-contained, escaped, complete, and (where Chromium is installed) readable on a phone."""

from __future__ import annotations

import re

import pytest

from sharprank.errors import UserError
from sharprank.evaluation.evaluate import evaluate
from sharprank.formats.html.charts import histograms, scatter
from tests.html_page import Page, look, needs_browser

from .conftest import CORPUS, QRELS, QUERIES, config, write_collection, write_jsonl

NASTY = "<script>alert('x')</script> & \"quotes\" 的"


@pytest.fixture
def report(tmp_path, prepare):
    """Make a report and give its page."""

    def make(data, *models, **changes) -> Page:
        path = tmp_path / "report.html"
        evaluate(config(data, *models, report=str(path), overwrite=True, **changes), prepare=prepare)
        return Page(path.read_text(encoding="utf-8"))

    return make


def test_the_page_loads_nothing_and_runs_nothing(report, collection_path, run_path):
    report(collection_path, "overlap", run=str(run_path)).check_self_contained()


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


def test_a_page_shows_intervals_depths_and_how_long_one_query_takes(report, collection_path, tmp_path):
    run = tmp_path / "deep.trec"
    lines = [f"{q} Q0 {p} {i} {10 - i} first" for q in QUERIES for i, p in enumerate(sorted(CORPUS), start=1)]
    run.write_text("\n".join(lines) + "\n")
    page = report(collection_path, "overlap", run=str(run))
    assert page.tags.count("svg") == 5
    for words in ("difference to the first stage", "How deep must one re-rank?", "queries timed", "90% within ms"):
        assert words in page.text, words
    assert "model measure" not in page.text  # one model needs no column
    untimed = report(collection_path, "overlap", "worse", run=str(run), latency_queries=0)
    assert "queries timed" not in untimed.text and "model measure" in untimed.text


def test_a_weight_of_the_first_stage_changes_neither_the_scores_shown_nor_their_calibration(
    report, collection_path, run_path
):
    pages = [report(collection_path, run=str(run_path), first_stage_weight=weight).text for weight in (None, "0.5")]
    assert "overlap + 0.5 first stage" in pages[1]
    alone, fused = (re.findall(r"raw score.*?Is a probability one\?.*?ECE [\d.]+", page, re.DOTALL) for page in pages)
    assert alone and alone == fused


def test_several_models_each_have_their_part(report, collection_path, run_path):
    page = report(collection_path, "overlap", "untied", "constant", run=str(run_path))
    assert page.tags.count("svg") == 12
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


@needs_browser
@pytest.mark.parametrize("width", [360, 1280])
def test_a_browser_shows_it_without_scrolling_sideways(report, collection_path, run_path, tmp_path, width):
    report(collection_path, "overlap", "worse", run=str(run_path))
    seen = look((tmp_path / "report.html").read_text(), tmp_path, width=width)
    assert seen["wide"] <= seen["seen"] <= width and seen["charts"] == 8
