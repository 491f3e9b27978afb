"""Calibration against known truths: the temperature that was applied, scikit-learn's isotonic fit, brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharprank.metrics.calibration import (
    Calibration,
    expected_calibration_error,
    fit_isotonic,
    fit_temperature_and_bias,
    held_out_probabilities,
    measures_at,
    reliability,
    threshold_for_precision,
    threshold_for_recall,
    threshold_of_best_f1,
)
from sharprank.metrics.pairs import sigmoid

labelled = st.lists(st.tuples(st.booleans(), st.integers(0, 12)), min_size=2, max_size=40).filter(
    lambda pairs: len({label for label, _ in pairs}) == 2
)


def drawn(seed: int = 0, size: int = 4000, temperature: float = 3.0, bias: float = -1.5):
    rng = np.random.default_rng(seed)
    scores = rng.normal(2.0, 5.0, size)
    return rng.random(size) < sigmoid(scores / temperature + bias), scores


def test_the_temperature_and_bias_that_made_the_labels_are_found():
    labels, scores = drawn()
    found = fit_temperature_and_bias(labels, scores)
    assert found.temperature == pytest.approx(3.0, rel=0.1) and found.bias == pytest.approx(-1.5, abs=0.1)
    before = expected_calibration_error(labels, sigmoid(scores))
    after = expected_calibration_error(labels, found.probabilities(scores))
    assert after < 0.03 < 0.1 < before


def test_the_fit_is_that_of_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    labels, scores = drawn(1)
    theirs = linear_model.LogisticRegression(C=1e9).fit(scores[:, None], labels)
    ours = fit_temperature_and_bias(labels, scores)
    assert 1 / ours.temperature == pytest.approx(theirs.coef_[0, 0], rel=1e-2)
    assert ours.bias == pytest.approx(theirs.intercept_[0], abs=1e-2)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e5])
def test_scores_that_separate_the_labels_still_give_finite_probabilities(scale):
    found = fit_temperature_and_bias([0, 0, 1, 1], np.array([-2.0, -1.0, 1.0, 2.0]) * scale)
    probabilities = found.probabilities(np.array([-2.0, 0.0, 2.0]) * scale)
    assert 0 < probabilities[0] < 0.3 and probabilities[1] == pytest.approx(0.5) and 0.7 < probabilities[2] < 1


def test_scores_that_point_the_wrong_way_have_a_negative_temperature():
    assert fit_temperature_and_bias([1, 1, 0, 0, 1], [-2.0, -1.0, 1.0, 2.0, -3.0]).temperature < 0


@pytest.mark.parametrize(
    ("labels", "scores"), [([1, 1], [1, 2]), ([0, 0], [1, 2]), ([0, 1], [1, 1]), ([0, 1], [1, np.nan])]
)
def test_what_cannot_be_fitted_is_refused(labels, scores):
    with pytest.raises(ValueError, match=r"both kinds|all 2 scores|finite"):
        fit_temperature_and_bias(labels, scores)


@given(labelled)
def test_isotonic_is_that_of_scikit_learn(pairs):
    isotonic = pytest.importorskip("sklearn.isotonic")
    labels, scores = (np.array(column, dtype=float) for column in zip(*pairs, strict=True))
    theirs = isotonic.IsotonicRegression().fit(scores, labels)
    knots, values = fit_isotonic(labels, scores)
    np.testing.assert_allclose(np.interp(scores, knots, values), theirs.predict(scores), atol=1e-9)
    assert np.all(np.diff(values) >= -1e-12) and np.all(np.diff(knots) > 0)


def test_the_error_is_counted_by_hand():
    labels, probabilities = [1, 0, 1, 1], [0.1, 0.1, 0.95, 1.0]
    bins = reliability(labels, probabilities)
    assert [(one.low, one.num_pairs, one.share_positive) for one in bins] == [(0.0, 2, 0.5), (0.9, 2, 1.0)]
    assert expected_calibration_error(labels, probabilities) == pytest.approx((2 * 0.4 + 2 * 0.025) / 4)
    assert sum(one.num_pairs for one in reliability([1, 0], [0.0, 1.0])) == 2


@given(labelled, st.sampled_from([0.1, 0.5, 0.75, 0.9, 1.0]))
def test_thresholds_keep_their_promise_and_no_other_does_better(pairs, wanted):
    labels, places = (np.array(column) for column in zip(*pairs, strict=True))
    probabilities = (places + 1) / 14
    tried = {(a + b) / 2 for a in probabilities for b in [*probabilities, 0.0] if a != b}
    found = [measures_at(labels, probabilities, threshold) for threshold in tried]
    for threshold, kept, best in (
        (threshold_for_precision(labels, probabilities, wanted), "precision", "recall"),
        (threshold_for_recall(labels, probabilities, wanted), "recall", "precision"),
    ):
        able = [one[best] for one in found if one[kept] >= wanted - 1e-12]
        assert (threshold is None) == (not able)
        if threshold is not None:
            ours = measures_at(labels, probabilities, threshold)
            assert ours[kept] >= wanted - 1e-12
            assert ours[best] >= max(able) - 1e-12 or best == "precision"
    f1 = measures_at(labels, probabilities, threshold_of_best_f1(labels, probabilities))["f1"]
    assert f1 >= max(one["f1"] for one in found) - 1e-12


def test_held_out_probabilities_never_saw_their_own_query():
    labels, scores = drawn(2, size=50)
    groups = [f"q{i // 5}" for i in range(50)]
    seen = []

    def fit(some_labels, some_scores):
        seen.append(set(some_scores.tolist()))
        return lambda values: np.array([0.0 if value in seen[-1] else 1.0 for value in values])

    assert held_out_probabilities(labels, scores, groups, fit).tolist() == [1.0] * 50
    assert held_out_probabilities(labels, scores, ["q"] * 50, fit) is None


def test_probabilities_keep_the_order_of_the_scores():
    found = Calibration(temperature=2.0, bias=-1.0).probabilities([-1.0, 0.0, 5.0])
    np.testing.assert_allclose(found, sigmoid([-1.5, -1.0, 1.5]))
