"""First stage against reranked: differences, verdicts, and a loud word when it got worse."""

import numpy as np
import pytest

from sharprank.metrics.compare import compare, correct_for_several, spoken_p, warning
from sharprank.metrics.significance import bootstrap_interval, randomisation_test


def per_query(values):
    return {"MRR@10": {str(i): float(v) for i, v in enumerate(values)}}


def test_the_figures_are_those_of_the_paired_tests():
    generator = np.random.default_rng(0)
    before, after = generator.random(40), generator.random(40)
    (result,) = compare(per_query(before), per_query(after))
    assert result.difference == pytest.approx(after.mean() - before.mean())
    assert result.p == randomisation_test(after, before)
    assert (result.low, result.high) == bootstrap_interval(after - before)
    assert result.num_queries == 40


@pytest.mark.parametrize(
    "before, after, verdict",
    [
        (np.zeros(20), np.ones(20), "better"),
        (np.ones(20), np.zeros(20), "BELOW FIRST STAGE"),
        ([0.5, 0.5, 0.4], [0.5, 0.5, 0.3], "BELOW FIRST STAGE (not significant)"),
        ([0.5, 0.5, 0.4], [0.5, 0.5, 0.5], "no difference shown"),
        ([0.5, 0.5], [0.5, 0.5], "no difference shown"),
    ],
)
def test_the_verdict_says_it_plainly(before, after, verdict):
    assert compare(per_query(before), per_query(after))[0].verdict == verdict


def test_a_warning_names_the_measures_that_fell_and_only_those():
    before = {"MAP": {"a": 0.5, "b": 0.5}, "Hit@1": {"a": 0.0, "b": 1.0}}
    after = {"MAP": {"a": 0.4, "b": 0.5}, "Hit@1": {"a": 1.0, "b": 1.0}}
    sentence = warning("mine", "BM25", compare(before, after)) or ""
    assert sentence.startswith("WARNING: mine is BELOW the first stage BM25: MAP 0.5000 -> 0.4500")
    assert "Hit@1" not in sentence and "could be chance" in sentence
    assert warning("mine", "BM25", compare(before, before)) is None


def test_a_warning_about_a_clear_loss_says_leave_it_alone():
    sentence = warning("mine", "BM25", compare(per_query(np.ones(20)), per_query(np.zeros(20)))) or ""
    assert "makes it worse" in sentence and "chance" not in sentence


def test_queries_without_a_value_on_one_side_are_left_out_of_the_pairs():
    (result,) = compare({"PairAccuracy": {"a": 1.0}}, {"PairAccuracy": {"a": 0.5, "b": 0.0}})
    assert result.num_queries == 1 and result.reranked == 0.5


def test_several_models_are_corrected_by_holm_and_one_is_not():
    one = compare(per_query([0.0] * 6), per_query([1.0] * 6))
    assert one[0].p == pytest.approx(2 / 64)
    assert correct_for_several([one]) == [one]
    assert [c[0].p for c in correct_for_several([one, one])] == pytest.approx([4 / 64, 4 / 64])


def test_a_tiny_p_is_never_said_to_be_zero():
    assert [spoken_p(p) for p in (1.0, 0.0123, 0.001, 0.0009999)] == ["p 1.000", "p 0.012", "p 0.001", "p < 0.001"]
