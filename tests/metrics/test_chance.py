"""Chance levels against the mean over every possible order."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharprank.metrics.chance import chance_levels
from sharprank.metrics.ranking import PAIR_ACCURACY, measure_run

CLOSED = ["nDCG@10", "nDCG@2", "nDCG", "MRR@10", "MRR@2", "RR", "MAP", "AP@2", "AP(rel=2)", "Hit@1", "Hit@3"]
CLOSED += ["Recall@2", "Recall@100", "P@2", "P@10", "RR(rel=2)@3"]


@st.composite
def heads_and_tails(draw):
    """Relevance of up to 4 shuffled passages, up to 3 fixed ones, and up to 2 that were never retrieved."""
    grade = st.integers(0, 2)
    return [draw(st.lists(grade, max_size=size)) for size in (4, 3, 2)]


@settings(max_examples=30)
@given(heads_and_tails())
def test_closed_forms_are_the_mean_over_all_orders(case):
    head, tail, missing = case
    ids = [f"p{i}" for i in range(len(head) + len(tail) + len(missing))]
    qrels = {"q": dict(zip(ids, head + tail + missing, strict=True)) or {"nothing": 0}}
    heads, tails = ids[: len(head)], ids[len(head) : len(head) + len(tail)]
    sums = dict.fromkeys(CLOSED, 0.0)
    orders = list(itertools.permutations(heads))
    for order in orders:
        run = {"q": {p: -float(i) for i, p in enumerate([*order, *tails])}}
        for name, values in measure_run(qrels, run, CLOSED).items():
            sums[name] += values["q"] / len(orders)
    levels = chance_levels(qrels, {"q": heads}, CLOSED, tails={"q": tails})
    assert {name: levels[name]["q"] for name in CLOSED} == pytest.approx(sums, abs=1e-6)


def test_one_positive_among_four_by_hand():
    levels = chance_levels({"q": {"a": 1}}, {"q": list("abcd")}, ["MRR@10", "Hit@1", "MAP", PAIR_ACCURACY])
    assert levels["MRR@10"]["q"] == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
    assert levels["MAP"]["q"] == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
    assert levels["Hit@1"]["q"] == pytest.approx(0.25)
    assert levels[PAIR_ACCURACY]["q"] == 0.5


def test_other_measures_are_averaged_over_seeded_random_orders():
    qrels, heads = {"q": {"a": 1, "b": 1}}, {"q": list("abcdef")}
    levels = chance_levels(qrels, heads, ["Rprec"], seed=1)
    assert levels["Rprec"]["q"] == pytest.approx(1 / 3, abs=0.06)
    assert levels == chance_levels(qrels, heads, ["Rprec"], seed=1)


def test_pair_accuracy_with_a_fixed_tail_is_simulated():
    qrels, heads, tails = {"q": {"a": 1}}, {"q": ["a", "b"]}, {"q": ["c", "d"]}
    level = chance_levels(qrels, heads, [PAIR_ACCURACY], tails=tails)[PAIR_ACCURACY]["q"]
    assert level == pytest.approx((0.5 + 1 + 1) / 3, abs=0.05)


def test_a_query_without_candidates_has_chance_0():
    assert chance_levels({"q": {"a": 1}}, {}, ["nDCG@10", "MRR@10", "MAP", "Hit@1"]) == {
        name: {"q": 0.0} for name in ("nDCG@10", "MRR@10", "MAP", "Hit@1")
    }


def test_a_random_scorer_gets_the_chance_level():
    generator = np.random.default_rng(0)
    qrels = {str(q): {str(p): int(p < 3) for p in range(10)} for q in range(3000)}
    run = {q: {p: generator.random() for p in judged} for q, judged in qrels.items()}
    names = ["nDCG@10", "MRR@10", "MAP", "Hit@1"]
    levels = chance_levels(qrels, {q: list(judged) for q, judged in qrels.items()}, names)
    for name, values in measure_run(qrels, run, names).items():
        assert np.mean(list(values.values())) == pytest.approx(levels[name]["0"], abs=0.04)
