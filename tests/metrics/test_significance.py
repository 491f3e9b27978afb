"""Paired tests against enumeration, scipy and hand numbers."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharprank.metrics.significance import bootstrap_interval, holm, randomisation_test

halves = st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0]), min_size=1, max_size=7)


@given(halves)
def test_few_queries_give_the_exact_p_of_all_sign_patterns(differences):
    observed = abs(sum(differences))
    sums = [abs(np.dot(s, differences)) for s in itertools.product([1, -1], repeat=len(differences))]
    assert randomisation_test(differences, [0.0] * len(differences)) == pytest.approx(
        np.mean(np.array(sums) >= observed - 1e-9)
    )


def test_many_queries_agree_with_scipy():
    scipy_stats = pytest.importorskip("scipy.stats")
    generator = np.random.default_rng(1)
    a, b = generator.random(60), generator.random(60) - 0.08
    theirs = scipy_stats.permutation_test(
        (a, b), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=10_000, rng=generator
    )
    assert randomisation_test(a, b) == pytest.approx(theirs.pvalue, abs=0.015)


def test_the_same_seed_gives_the_same_p_and_interval():
    values = np.random.default_rng(0).normal(size=50)
    zeros = np.zeros(50)
    assert randomisation_test(values, zeros, seed=3) == randomisation_test(values, zeros, seed=3)
    assert bootstrap_interval(values, seed=3) == bootstrap_interval(values, seed=3)


def test_equal_systems_have_p_one():
    assert randomisation_test([0.3, 0.4], [0.3, 0.4]) == 1.0
    assert randomisation_test([0.1 + 0.2], [0.3]) == 1.0


def test_a_sampled_p_is_never_zero():
    assert 0 < randomisation_test(np.ones(200), np.zeros(200)) < 0.001


def test_chance_differences_are_called_real_as_often_as_the_level_says():
    generator = np.random.default_rng(5)
    pairs = [(generator.normal(size=12), generator.normal(size=12)) for _ in range(200)]
    false_alarms = np.mean([randomisation_test(a, b, samples=500) < 0.05 for a, b in pairs])
    assert 0.01 < false_alarms < 0.10


def test_unpaired_values_are_refused():
    with pytest.raises(ValueError, match="one length"):
        randomisation_test([1.0], [1.0, 2.0])


def test_the_interval_covers_the_mean_and_agrees_with_theory():
    values = np.random.default_rng(2).normal(0.1, 1.0, size=400)
    low, high = bootstrap_interval(values)
    width = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - width, abs=0.01)
    assert high == pytest.approx(values.mean() + width, abs=0.01)


def test_the_interval_of_one_value_is_that_value():
    assert bootstrap_interval([0.25]) == (0.25, 0.25)


def test_large_inputs_are_cut_into_blocks(monkeypatch):
    monkeypatch.setattr("sharprank.metrics.significance._CELLS_AT_ONCE", 100)
    assert randomisation_test(np.ones(30), np.zeros(30), samples=1000) == pytest.approx(1 / 1001)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
