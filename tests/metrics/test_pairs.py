"""Pooled pair measures against scikit-learn's and hand numbers."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharprank.metrics.pairs import pair_accuracy, pair_measures, sigmoid, spearman, why_undefined

some_pairs = st.lists(st.tuples(st.integers(0, 1), st.sampled_from([0.0, 0.2, 0.5, 0.51, 0.8, 1.0])), min_size=1)


@given(some_pairs)
def test_the_four_measures_agree_with_scikit_learn(pairs):
    metrics = pytest.importorskip("sklearn.metrics")
    labels, values = [label for label, _ in pairs], [value for _, value in pairs]
    called = [int(value > 0.5) for value in values]
    ours = pair_measures(labels, values)
    assert ours["precision"] == pytest.approx(metrics.precision_score(labels, called, zero_division=0), abs=1e-12)
    assert ours["recall"] == pytest.approx(metrics.recall_score(labels, called, zero_division=0), abs=1e-12)
    assert ours["f1"] == pytest.approx(metrics.f1_score(labels, called, zero_division=0), abs=1e-12)
    if len(set(labels)) == 2:
        assert ours["auc"] == pytest.approx(metrics.roc_auc_score(labels, values), abs=1e-12)
    else:
        assert math.isnan(ours["auc"])


def test_hand_numbers():
    ours = pair_measures([1, 1, 1, 0, 0], [0.9, 0.7, 0.2, 0.8, 0.1])
    assert ours == {"precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3, "auc": 4 / 6}


def test_a_probability_at_the_threshold_is_called_negative():
    assert pair_measures([1, 0], [0.5, 0.0])["recall"] == 0.0
    assert pair_measures([1, 0], [0.5, 0.0], threshold=0.49)["recall"] == 1.0


@pytest.mark.parametrize("label, word", [(1, "positive"), (0, "negative")])
def test_one_class_only_gives_no_auc_and_says_why(label, word):
    assert math.isnan(pair_measures([label, label], [0.1, 0.9])["auc"])
    assert word in (why_undefined([label, label]) or "")
    assert why_undefined([0, 1]) is None


def test_a_single_pair_is_measured():
    assert pair_measures([1], [0.9])["precision"] == 1.0


def test_raw_scores_order_pairs_that_are_all_probable():
    scores = [60.0, 50.0, 40.0]
    assert pair_measures([1, 0, 0], sigmoid(scores))["auc"] == 0.5
    assert pair_measures([1, 0, 0], sigmoid(scores), scores=scores)["auc"] == 1.0


def test_broken_calls_are_refused():
    with pytest.raises(ValueError, match="one length"):
        pair_measures([1, 0], [0.5])
    with pytest.raises(ValueError, match="probability 1"):
        pair_measures([1, 0], [0.5, float("nan")])


@given(st.lists(st.integers(0, 4), min_size=1, max_size=6), st.lists(st.integers(0, 4), min_size=1, max_size=6))
def test_pair_accuracy_agrees_with_counting_every_pair(positives, negatives):
    counted = [1.0 if p > n else 0.5 if p == n else 0.0 for p in positives for n in negatives]
    assert pair_accuracy(positives, negatives) == pytest.approx(np.mean(counted))


def test_pair_accuracy_without_one_side_is_undefined():
    assert math.isnan(pair_accuracy([1.0], []))


def test_sigmoid_is_exact_at_the_ends_and_in_the_middle():
    assert sigmoid([-1e4, 0.0, 1e4]).tolist() == [0.0, 0.5, 1.0]
    assert sigmoid([2.0])[0] == pytest.approx(1 / (1 + math.exp(-2.0)), abs=1e-16)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-2, 2)), min_size=2, max_size=30))
def test_spearman_is_scipys(pairs):
    stats = pytest.importorskip("scipy.stats")
    labels, scores = zip(*pairs, strict=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scipy warns of a constant list
        expected = stats.spearmanr(labels, scores).statistic
    assert spearman(labels, scores) == pytest.approx(expected, abs=1e-12, nan_ok=True)
