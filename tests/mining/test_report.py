"""The counts of mining, and the lines a person reads."""

from __future__ import annotations

from collections import Counter

from sharprank.mining.negatives import MinedRow
from sharprank.mining.report import Tally, summary
from sharprank.mining.select import Selection


def tallied() -> dict:
    tally = Tally(wanted=3)
    full = Selection((1, 2, 3), (4, 9, None), Counter({"positive": 2}))
    tally.add(MinedRow({}, full, kept=("own",), negative_similarities=(0.5, 0.4, 0.0), positive_similarities=(0.8,)))
    tally.add(MinedRow({}, Selection((1,), (5,)), dropped=Counter({"the query itself": 1}), had_scores=True))
    tally.add(MinedRow({}, Selection(), positive_similarities=(None,)))
    return tally.numbers()


def test_rows_negatives_and_reasons_are_counted():
    numbers = tallied()
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


def test_quantiles_are_over_what_is_known():
    numbers = tallied()
    assert numbers["negative_similarity"]["median"] == 0.4
    assert numbers["positive_similarity"]["median"] == 0.8
    assert numbers["negative_rank"]["max"] == 9


def test_the_summary_names_every_count_that_is_not_zero():
    numbers = tallied()
    numbers["rows"]["skipped"] = {"empty query": 4, "empty pos": 1}
    text = summary(numbers | {"ranks": "3-10", "pool": {"passages": 12345, "duplicates": 0, "skipped": {"x": 2}}})
    assert text.splitlines() == [
        "rows       3, 5 bad ones skipped",
        "pool       12,345 passages, 2 bad ones skipped",
        "negatives  3 mined from ranks 3-10",
        "           1 drawn at random from the pool",
        "           1 of the rows' own kept",
        "refused    2 candidates: positive",
        "dropped    1 own negatives: the query itself",
        "too few    2 rows, 1 of them with none",
        "similarity positive 0.80, negative 0.40 (medians)",
    ]
