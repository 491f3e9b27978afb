"""Fusion with the first stage: by hand, its two ends, and a fit that finds what helps."""

from __future__ import annotations

import numpy as np
import pytest

from sharprank.metrics.fusion import WEIGHTS, fit_fusion, fuse, fuse_scores, no_worse_than, standardised

FIRST = {"q": {"a": 0.9, "b": 0.7, "c": 0.5, "beyond": 0.1}}
RERANKED = {"q": {"a": -5.0, "b": 5.0, "c": 0.0}}


def order(run):
    return sorted(run["q"], key=lambda passage: -run["q"][passage])


def test_scores_get_mean_zero_and_deviation_one_and_equal_scores_become_zero():
    values = np.array(list(standardised({"a": 3.0, "b": 9.0, "c": 1.5}).values()))
    assert values.mean() == pytest.approx(0, abs=1e-12) and values.std() == pytest.approx(1)
    assert standardised({"a": 2.0, "b": 2.0}) == {"a": 0.0, "b": 0.0}
    assert standardised({}) == {}


def test_the_two_ends_are_the_two_rankings():
    assert order(fuse(FIRST, RERANKED, 0.0)) == ["b", "c", "a"]
    assert order(fuse(FIRST, RERANKED, 1.0)) == ["a", "b", "c"]


def test_in_between_it_is_the_weighted_sum_of_standardised_scores():
    fused = fuse(FIRST, RERANKED, 0.25)["q"]
    ours, theirs = standardised(RERANKED["q"]), standardised({p: FIRST["q"][p] for p in "abc"})
    assert fused == {p: pytest.approx(0.75 * ours[p] + 0.25 * theirs[p]) for p in "abc"}
    assert "beyond" not in fused


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), None])
def test_a_first_stage_score_that_is_missing_or_not_finite_is_refused_by_name(broken):
    first = {"q": {**FIRST["q"], "b": broken}}
    with pytest.raises(ValueError, match=f"passage 'b' of query 'q' as {broken}"):
        fuse(first, RERANKED, 0.5)
    with pytest.raises(ValueError, match="passage 'a' of query 'q' as None"):
        fuse({}, RERANKED, 0.5)
    assert "beyond" not in fuse({"q": {**FIRST["q"], "beyond": broken}}, RERANKED, 0.5)["q"]


@pytest.mark.parametrize("weight", [-0.1, 1.1, float("nan")])
def test_a_weight_that_is_no_share_is_refused(weight):
    with pytest.raises(ValueError, match=f"weight is {weight}"):
        fuse(FIRST, RERANKED, weight)


def test_scores_in_lists_fuse_as_runs_do_and_must_be_one_a_passage():
    listed = fuse_scores(list(FIRST["q"].values())[:3], list(RERANKED["q"].values()), 0.25)
    assert listed == list(fuse(FIRST, RERANKED, 0.25)["q"].values())
    with pytest.raises(ValueError, match="4 first-stage scores for 3 passages"):
        fuse_scores(list(FIRST["q"].values()), list(RERANKED["q"].values()), 0.25)


def noisy(rng, quality, num=300):
    return {f"q{i}": {f"p{j}": float((j == 0) * quality + rng.normal()) for j in range(10)} for i in range(num)}


def test_two_independent_sources_are_better_together_than_alone():
    rng = np.random.default_rng(0)
    qrels = {f"q{i}": {"p0": 1} for i in range(300)}
    fit = fit_fusion(qrels, noisy(rng, 1.5), noisy(rng, 1.5))
    assert 0.3 <= fit.weight <= 0.7
    assert fit.by_weight[fit.weight] > max(fit.by_weight[0.0], fit.by_weight[1.0]) + 0.03
    assert tuple(fit.by_weight) == WEIGHTS


def test_a_useless_reranker_gets_no_weight_and_a_useless_first_stage_none_either():
    rng = np.random.default_rng(1)
    qrels = {f"q{i}": {"p0": 1} for i in range(300)}
    assert fit_fusion(qrels, noisy(rng, 3.0), noisy(rng, -3.0)).weight == 1.0
    assert fit_fusion(qrels, noisy(rng, -3.0), noisy(rng, 3.0)).weight == 0.0


def test_of_weights_that_the_queries_cannot_tell_apart_the_least_one_sided_is_taken():
    same = {"q": {"a": 0.0, "b": 1.0}}
    assert fit_fusion({"q": {"b": 1}}, same, same).weight == 0.5
    assert fit_fusion({"q": {"b": 1}}, same, same, weights=(0.0, 0.4, 0.6, 1.0)).weight == 0.4


def test_few_queries_do_not_lure_the_weight_to_one_side():
    """Two equally good sources: one half is right, and the best of eleven on 25 queries is often far from it."""
    rng = np.random.default_rng(3)
    qrels = {f"q{i}": {"p0": 1} for i in range(25)}
    fits = [fit_fusion(qrels, noisy(rng, 1.5, 25), noisy(rng, 1.5, 25)) for _ in range(20)]
    lucky = [max(fit.by_weight, key=fit.by_weight.__getitem__) for fit in fits]
    off, luck_off = (np.mean(np.abs(np.array(found) - 0.5)) for found in ([fit.weight for fit in fits], lucky))
    assert off < 0.7 * luck_off


def test_no_worse_means_within_a_standard_error_of_the_paired_differences():
    assert no_worse_than({"q": 0.5, "r": 0.4, "s": 0.5}, {"q": 0.9, "r": 0.1, "s": 0.5})  # mean +.033, error .203
    assert not no_worse_than({"q": 0.5, "r": 0.4}, {"q": 0.6, "r": 0.6})  # mean +.15, error .05
    assert no_worse_than({"q": 0.5}, {"q": 0.5}) and not no_worse_than({"q": 0.4}, {"q": 0.5})
