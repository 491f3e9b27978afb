"""The counts of mining, the lines a person reads, and the page."""

from __future__ import annotations

from collections import Counter

import pytest

from sharprank.mining.draft import Candidate
from sharprank.mining.html_report import NUM_SUSPICIOUS, Gallery, write_report
from sharprank.mining.record import MinedRow
from sharprank.mining.report import Sample, Tally, summary
from sharprank.records import TrainRow
from tests.html_page import Page, look, needs_browser

NASTY = "<script>alert('x')</script> & \"quotes\" 的"


def negative(number, rank, similarity=None, **more) -> Candidate:
    return Candidate(number, "dense" if rank else "random", rank, similarity, **more)


def mined(query="q", negatives=(), refused=(), **more) -> MinedRow:
    row = TrainRow(query, ("the positive",), fields=more.pop("fields", {}))
    return MinedRow(row, negatives=tuple(negatives), met=(*negatives, *refused), **more)


def tally() -> Tally:
    counts = Tally(wanted=3)
    full = [negative(1, 4, 0.5), negative(2, 9, 0.4), negative(3, None, 0.0)]
    refused = [negative(i, i, reason="positive") for i in (1, 2)]
    counts.add(mined(negatives=full, refused=refused, kept=("own",), positive_similarities=(0.8,)))
    counts.add(mined(negatives=[negative(1, 5)], dropped=Counter({"the query itself": 1}), fields={"neg_scores": [1]}))
    counts.add(mined(positive_similarities=(None,)))
    return counts


def test_rows_negatives_and_reasons_are_counted():
    numbers = tally().numbers()
    assert numbers["rows"] == {
        "written": 3,
        "with_too_few_negatives": 2,
        "without_any_negative": 1,
        "with_stale_neg_scores_removed": 1,
    }
    assert numbers["negatives"] == {
        "mined_from_the_window": 3,
        "random_from_the_pool": 1,
        "existing_kept": 1,
        "missing": 5,
    }
    assert numbers["refused_candidates"] == {"positive": 2}
    assert numbers["existing_dropped"] == {"the query itself": 1}
    assert (numbers["candidates_met"], numbers["negatives_by_source"]) == (6, {"dense": 3, "random": 1})


def test_quantiles_are_over_what_is_known():
    numbers = tally().numbers()
    assert numbers["negative_similarity"]["median"] == 0.4
    assert numbers["positive_similarity"]["median"] == 0.8
    assert numbers["negative_rank"]["max"] == 9


def test_a_sample_is_everything_until_it_is_many_and_then_evenly_thinned():
    sample = Sample(size=100)
    sample.add([*range(99), None])
    assert sample.values == list(range(99))
    sample.add(range(99, 1000))
    assert len(sample.values) <= 100 and set(b - a for a, b in zip(sample.values, sample.values[1:])) == {16}  # noqa


def test_the_summary_names_every_count_that_is_not_zero():
    stats = tally().numbers()
    stats["rows"]["skipped"] = {"empty query": 4, "empty pos": 1}
    text = summary(stats | {"ranks": "3-10", "pool": {"passages": 12345, "duplicates": 0, "skipped": {"x": 2}}})
    assert text.splitlines() == [
        "rows       3, 5 bad ones skipped",
        "pool       12,345 passages, 2 bad ones skipped",
        "negatives  3 mined from ranks 3-10",
        "           1 drawn at random",
        "           1 of the rows' own kept",
        "source     3 from dense",
        "source     1 from random",
        "refused    2 candidates: positive",
        "dropped    1 own negatives: the query itself",
        "too few    2 rows, 1 of them with none",
        "similarity positive 0.80, negative 0.40 (medians)",
    ]


# --- the page ---------------------------------------------------------------------------------------------------


@pytest.fixture
def page(tmp_path):
    """Write the page of some rows and read it."""

    def make(*rows: MinedRow, wanted=3) -> Page:
        counts = Tally(wanted=wanted)
        gallery = Gallery(lambda number: f"passage {number} {NASTY}", wanted=wanted)
        for one in rows:
            counts.add(one)
            gallery.add(one)
        about = {"command": ["sharprank", "mine"], "settings": {"seed": 1}, "inputs": {}, "versions": {"python": "3"}}
        stats = {**about, "ranks": "3-10", "pool": {"passages": 99}, **counts.numbers()}
        write_report(str(tmp_path / "mined.html"), counts, gallery, stats=stats)
        return Page((tmp_path / "mined.html").read_text(encoding="utf-8"))

    return make


def rows(number=30) -> list[MinedRow]:
    return [
        mined(
            f"query {i} {NASTY}",
            [negative(j, 3 + j, 0.9 - 0.11 * j - 0.001 * i) for j in range(3)],
            [negative(9, 1, reason="positive"), negative(8, 12, 0.3, reason="score below the floor")],
            positive_similarities=(0.8,),
        )
        for i in range(number)
    ]


def test_the_page_is_self_contained_and_shows_what_data_say_without_running_it(page):
    made = page(*rows())
    made.check_self_contained()
    assert "script" not in made.tags and NASTY in made.text


def test_it_shows_scores_ranks_reasons_and_how_it_was_made(page):
    made = page(*rows())
    assert made.tags.count("svg") == 4  # cosines, kept and dropped by rank, and each of two reasons
    for words in ("90 for 30 rows", "60 of 150 candidates refused", "score below the floor", "20.0%", "sharprank mine"):
        assert words in made.text, words
    assert "30 of 90 negatives score above the median positive" in made.text


def test_the_most_suspicious_negatives_stand_beside_their_positives_worst_first(page):
    made = page(*rows(), mined("no scores", [negative(1, 3)]))
    summaries = [i for i, tag in enumerate(made.tags) if tag == "summary"]
    assert len(summaries) == NUM_SUSPICIOUS + 1  # and the settings
    first = made.text.index("negative 0.900 passage 0")
    assert first < made.text.index("0.899 passage 0") < made.text.index("query 19 ")
    assert "query 25 " not in made.text and "positive 0.800 the positive" in made.text


def test_the_teachers_scores_go_before_cosines(page):
    wrong = negative(7, 3, 0.1, teacher_score=2.5)
    made = page(mined("asked", [negative(6, 4, 0.95, teacher_score=-1.0), wrong], positive_scores=(3.0,),
                      positive_similarities=(0.9,)))  # fmt: skip
    assert "2.500 passage 7" in made.text and "positive 3.000" in made.text and "raw score of the teacher" in made.text


def test_rows_with_too_few_are_named_with_the_reasons(page):
    refused = [negative(i, i, reason="score within the margin") for i in (1, 2)]
    made = page(*rows(), mined("the poor one", [], refused), mined("the better one", [negative(5, 3)]))
    assert "2 of 32; those with the fewest" in made.text
    assert made.text.index("the poor one") < made.text.index("the better one")
    assert "0 of 2 candidates; refused: 2 score within the margin" in made.text


def test_a_run_without_scores_or_negatives_makes_a_page_too(page):
    made = page(mined("nothing"))
    assert "No scores are known" in made.text and "No candidate was refused" in made.text


@needs_browser
@pytest.mark.parametrize("width", [360])
def test_a_phone_shows_it_without_scrolling_sideways(page, tmp_path, width):
    page(*rows(), mined("word" * 200, []))
    seen = look((tmp_path / "mined.html").read_text(), tmp_path, width=width)
    assert seen["wide"] <= seen["seen"] <= width and seen["charts"] == 4
