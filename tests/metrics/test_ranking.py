"""Ranking measures against ir-measures, pytrec_eval and hand numbers; ties, missing queries and nan."""

import math

import ir_measures
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharprank.errors import UserError
from sharprank.metrics.ranking import (
    DEFAULT_MEASURES,
    PAIR_ACCURACY,
    average,
    check_measures,
    group_measures,
    measure_run,
)

OURS_AND_THEIRS = {
    "nDCG@10": "nDCG@10",
    "nDCG@3": "nDCG@3",
    "nDCG": "nDCG",
    "MRR@10": "RR@10",
    "MRR": "RR",
    "MAP": "AP",
    "MAP@5": "AP@5",
    "Hit@1": "Success@1",
    "Hit@3": "Success@3",
    "Recall@5": "R@5",
    "P@5": "P@5",
    "AP(rel=2)": "AP(rel=2)",
    "Rprec": "Rprec",
}


@st.composite
def judged_runs(draw):
    """Qrels and a run without ties: 1 to 4 queries, up to 8 passages, some unjudged, some not retrieved."""
    qrels, run = {}, {}
    for query in range(draw(st.integers(1, 4))):
        passages = [f"p{i}" for i in range(draw(st.integers(1, 8)))]
        qrels[f"q{query}"] = {p: draw(st.integers(0, 3)) for p in passages if draw(st.booleans())} or {"p0": 1}
        kept = draw(st.permutations(passages))[: draw(st.integers(0, len(passages)))]
        if kept:
            run[f"q{query}"] = {p: -float(rank) for rank, p in enumerate(kept)}
    return qrels, run


@settings(max_examples=60)
@given(judged_runs())
def test_every_value_of_every_query_is_that_of_ir_measures(case):
    qrels, run = case
    ours = measure_run(qrels, run, list(OURS_AND_THEIRS))
    for name, their_name in OURS_AND_THEIRS.items():
        measure = ir_measures.parse_measure(their_name)
        theirs = dict.fromkeys(qrels, 0.0)
        if run:
            theirs |= {m.query_id: m.value for m in ir_measures.iter_calc([measure], qrels, run)}
        assert ours[name] == pytest.approx(theirs, abs=1e-9), name


@settings(max_examples=40)
@given(judged_runs())
def test_ndcg_and_map_agree_with_the_formulas_worked_out_here(case):
    qrels, run = case
    ours = measure_run(qrels, run, ["nDCG@3", "MAP"])
    for query_id, judged in qrels.items():
        ranked = list(run.get(query_id, {}))
        gains = [judged.get(p, 0) for p in ranked]
        discounts = [1 / math.log2(rank + 2) for rank in range(3)]
        ideal = sum(g * d for g, d in zip(sorted(judged.values(), reverse=True), discounts, strict=False))
        ndcg = sum(g * d for g, d in zip(gains, discounts, strict=False)) / ideal if ideal else 0.0
        hits = [rank for rank, gain in enumerate(gains, start=1) if gain]
        relevant = sum(value > 0 for value in judged.values())
        precision = sum((found + 1) / rank for found, rank in enumerate(hits))
        assert ours["nDCG@3"][query_id] == pytest.approx(ndcg, abs=1e-6)
        assert ours["MAP"][query_id] == pytest.approx(precision / relevant if relevant else 0.0, abs=1e-6)


def test_positives_that_were_not_retrieved_still_count():
    """Three positives, one retrieved and ranked first: other evaluators report 1.0 here."""
    qrels = {"q": {"a": 1, "b": 1, "c": 1}}
    values = average(measure_run(qrels, {"q": {"a": 2.0, "x": 1.0}}, ["MAP", "nDCG@10"]))
    assert values["MAP"] == pytest.approx(1 / 3, abs=1e-6)
    assert values["nDCG@10"] == pytest.approx(0.469, abs=5e-4)


@pytest.mark.parametrize("first", ["relevant", "other"])
def test_constant_scores_get_the_worst_case_in_any_input_order(first):
    qrels = {"q": {"b": 1, "a": 0, "c": 0}}
    order = ["b", "a", "c"] if first == "relevant" else ["c", "a", "b"]
    values = average(measure_run(qrels, {"q": dict.fromkeys(order, 0.7)}, [*DEFAULT_MEASURES, PAIR_ACCURACY]))
    assert values["MRR@10"] == pytest.approx(1 / 3)
    assert values["MAP"] == pytest.approx(1 / 3)
    assert values["nDCG@10"] == pytest.approx(0.5)
    assert values["Hit@1"] == 0.0
    assert values[PAIR_ACCURACY] == 0.5


def test_graded_ties_put_the_most_relevant_last():
    values = measure_run({"q": {"a": 2, "b": 1, "c": 0}}, {"q": {"a": 1.0, "b": 1.0, "c": 1.0}}, ["nDCG@10"])
    worst = (1 / math.log2(3) + 2 / math.log2(4)) / (2 + 1 / math.log2(3))
    assert values["nDCG@10"]["q"] == pytest.approx(worst, abs=1e-6)


def test_scores_that_differ_by_less_than_a_float32_are_no_tie():
    run = {"q": {"relevant": 1.0 + 1e-12, "other": 1.0}}
    assert measure_run({"q": {"relevant": 1}}, run, ["MRR@10"])["MRR@10"]["q"] == 1.0


def test_a_judged_query_missing_from_the_run_counts_as_0():
    qrels = {"there": {"a": 1}, "missing": {"b": 1}, "empty": {"b": 1}}
    values = measure_run(qrels, {"there": {"a": 1.0}, "empty": {}}, ["MRR@10", "nDCG@10"])
    assert values["MRR@10"] == {"there": 1.0, "missing": 0.0, "empty": 0.0}
    assert average(values)["nDCG@10"] == pytest.approx(1 / 3)


def test_a_run_without_any_judged_query_gives_zeros():
    assert measure_run({"q": {"a": 1}}, {}, ["MAP"]) == {"MAP": {"q": 0.0}}


def test_a_query_without_judgements_is_left_out():
    values = measure_run({"q": {"a": 1}}, {"q": {"a": 1.0}, "stranger": {"a": 1.0}}, ["MAP"])
    assert set(values["MAP"]) == {"q"}


def test_a_nan_score_names_query_and_passage():
    with pytest.raises(UserError, match=r"query 'q7'.*passage 'p9'"):
        measure_run({"q7": {"p9": 1}}, {"q7": {"p9": float("nan")}}, ["MAP"])


@pytest.mark.parametrize("name", ["nope@3", "nDCG@0", "nDCG@", "nDCG@ten", "", "import os", "ndcg@10", "Hit@-1"])
def test_an_unknown_measure_is_refused_with_examples(name):
    with pytest.raises(UserError, match="measure") as error:
        check_measures(["MAP", name])
    assert "nDCG@10" in error.value.fix


@pytest.mark.parametrize("name", ["Recall", "R", "P", "Precision", "Hit", "Success", "P(rel=2)"])
def test_a_measure_without_its_depth_is_refused_with_one(name):
    with pytest.raises(UserError, match="it needs cutoff") as error:
        check_measures([name])
    assert error.value.fix == f"give a depth: {name}@100"
    check_measures([f"{name}@100"])


@pytest.mark.parametrize("perl", ["there", "missing"])
@pytest.mark.parametrize("name", ["Rprec@10", "Accuracy", "ERR@10", "NERR8@10", "IPrec"])
def test_a_measure_that_cannot_be_computed_is_refused(name, perl, monkeypatch):
    if perl == "missing":
        monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match=f"measure '{name}'"):
        check_measures([name])


def test_two_names_of_one_measure_both_come_back():
    values = measure_run({"q": {"a": 1}}, {"q": {"a": 1.0}}, ["MAP", "AP"])
    assert values == {"MAP": {"q": 1.0}, "AP": {"q": 1.0}}


def test_pair_accuracy_counts_pairs_of_different_relevance():
    qrels = {"q": {"a": 2, "b": 1, "c": 0}, "all_alike": {"a": 1}}
    run = {"q": {"a": 0.0, "b": 3.0, "c": 1.0, "unjudged": 1.0}, "all_alike": {"a": 1.0}}
    # right: b>c, b>unjudged; wrong: a<b, a<c, a<unjudged
    assert measure_run(qrels, run, [PAIR_ACCURACY]) == {PAIR_ACCURACY: {"q": pytest.approx(2 / 5)}}


def test_the_average_over_no_query_is_nan():
    assert math.isnan(average({"MAP": {}})["MAP"])


def test_group_measures_are_those_of_the_same_run():
    generator = np.random.default_rng(0)
    groups = [(generator.random(5), np.eye(5, dtype=int)[0]) for _ in range(6)]
    run = {str(g): {str(i): float(s) for i, s in enumerate(scores)} for g, (scores, _) in enumerate(groups)}
    qrels = {str(g): {"0": 1} for g in range(6)}
    assert group_measures(groups) == average(measure_run(qrels, run, DEFAULT_MEASURES))


def test_group_measures_see_a_collapsed_model_as_the_worst_case():
    groups = [(np.zeros(4), np.array([1, 0, 0, 0]))] * 3
    assert group_measures(groups, ["MRR@10", "Hit@1"]) == {"MRR@10": 0.25, "Hit@1": 0.0}


def test_group_measures_refuse_scores_without_judgement():
    with pytest.raises(ValueError, match="group 0"):
        group_measures([(np.zeros(3), np.zeros(2))])
