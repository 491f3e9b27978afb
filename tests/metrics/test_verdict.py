"""First stage, reranker or both: by hand, against brute force, and where noise must not pass for a gain."""

from __future__ import annotations

import numpy as np
import pytest

from sharprank.formats.fusion import write_fusion
from sharprank.metrics.fusion import NUM_FOLDS, cross_fitted, fit_fusion, fuse
from sharprank.metrics.ranking import measure_run
from sharprank.metrics.verdict import judge, recommend

MEASURES = ("nDCG@10", "MRR@10")


def world(num_queries, first, second, seed=0, size=10):
    """Judgements with one positive a query, and two rankings that know it so well."""
    rng = np.random.default_rng(seed)
    queries = [f"q{i}" for i in range(num_queries)]

    def run(quality):
        return {q: {f"p{j}": float((j == 0) * quality + rng.normal()) for j in range(size)} for q in queries}

    return {q: {"p0": 1} for q in queries}, run(first), run(second)


def test_each_fold_is_measured_by_the_weight_fitted_on_the_others():
    qrels, first, reranked = world(23, 1.0, 1.2)
    found = cross_fitted(qrels, first, reranked, measures=MEASURES)
    for fold in range(NUM_FOLDS):
        mine = list(qrels)[fold::NUM_FOLDS]
        rest = {q: judged for q, judged in qrels.items() if q not in mine}
        weight = fit_fusion(rest, first, reranked).weight
        expected = measure_run({q: qrels[q] for q in mine}, fuse(first, reranked, weight), MEASURES)
        for measure in MEASURES:
            assert {q: found[measure][q] for q in mine} == expected[measure]
    assert all(set(found[measure]) == set(qrels) for measure in MEASURES)


def test_a_weight_measured_where_it_was_not_fitted_makes_no_gain_of_noise():
    gains = []
    for seed in range(20):
        verdict = judge(*world(30, 0.0, 0.0, seed=seed), measures=MEASURES)
        best = max(verdict.alone[0].first, verdict.alone[0].reranked)
        flattering = max(verdict.fit.by_weight.values())
        gains.append((flattering - best, verdict.fused[0].reranked - best))
    in_sample, cross = np.mean(gains, axis=0)
    assert in_sample > 0.005 > cross


def test_by_hand_two_queries_each_source_right_about_one():
    qrels = {"q": {"a": 1}, "r": {"a": 1}}
    first = {"q": {"a": 3.0, "b": 2.0, "c": 1.0}, "r": {"a": 2.0, "b": 3.0, "c": 1.0}}
    reranked = {"q": {"a": 2.0, "b": 3.0, "c": 1.0}, "r": {"a": 3.0, "b": 2.0, "c": 1.0}}
    verdict = judge(qrels, first, reranked, measures=("MRR@10",))
    assert verdict.alone[0].first == verdict.alone[0].reranked == 0.75
    assert verdict.use == "undecided" and verdict.weight is None


def test_both_together_are_recommended_where_they_are_better_than_either():
    verdict = judge(*world(300, 1.5, 1.5), measures=MEASURES)
    assert verdict.use == "fused" and verdict.weight == verdict.fit.weight and 0.3 <= verdict.fit.weight <= 0.7
    assert verdict.best == verdict.fused[0] and verdict.best.p < 0.05
    sentence = recommend(verdict)
    assert sentence.startswith(f"use: {1 - verdict.fit.weight:.1f} reranker + {verdict.fit.weight:.1f} first stage")
    assert "300 queries" in sentence and "chance" not in sentence


def test_both_are_recommended_where_the_queries_cannot_tell_them_from_the_reranker_alone():
    level = judge(*world(60, 0.8, 2.0, seed=3), measures=MEASURES)
    assert level.use == "fused" and 0 <= level.alone[0].reranked - level.fused[0].reranked < 0.01
    behind = judge(*world(60, 0.8, 2.0, seed=17), measures=MEASURES)
    assert behind.use == "reranker" and behind.alone[0].reranked - behind.fused[0].reranked > 0.03


def test_the_reranker_alone_or_none_is_recommended_where_the_other_adds_nothing():
    better = judge(*world(200, -3.0, 3.0), measures=MEASURES)
    assert (better.use, better.weight) == ("reranker", 0.0) and "reranker alone" in recommend(better)
    worse = judge(*world(200, 3.0, -3.0), measures=MEASURES)
    assert (worse.use, worse.weight) == ("first stage", 1.0) and "no reranker" in recommend(worse)


def test_a_gain_that_could_be_chance_is_called_that():
    verdict = judge(*world(6, 1.0, 2.5), measures=MEASURES)
    assert verdict.use != "first stage" and verdict.best.p >= 0.05
    assert "could be chance" in recommend(verdict)


def test_what_the_first_stage_ranks_beyond_the_candidates_counts_for_nobody():
    qrels, first, reranked = world(40, 1.0, 1.0)
    longer = {q: {**scores, "beyond": 99.0} for q, scores in first.items()}
    assert judge(qrels, longer, reranked, measures=MEASURES) == judge(qrels, first, reranked, measures=MEASURES)


@pytest.mark.parametrize("num_queries", [1, 2])
def test_one_or_two_queries_are_no_crash(num_queries):
    assert recommend(judge(*world(num_queries, 1.0, 1.0), measures=MEASURES)).startswith("use: ")


def tied(num_queries):
    """Each source is right about every second query, and both together about one of two as well."""
    queries = [f"q{i}" for i in range(num_queries)]
    good, bad = {"a": 3.0, "b": 2.0, "c": 1.0}, {"a": 2.0, "b": 3.0, "c": 1.0}
    first = {query: (good, bad)[number % 2] for number, query in enumerate(queries)}
    reranked = {query: (bad, good)[number % 2] for number, query in enumerate(queries)}
    return {query: {"a": 1} for query in queries}, first, reranked


def test_a_tie_is_undecided_and_stores_no_weight(tmp_path):
    verdict = judge(*tied(12), measures=("MRR@10",))
    assert verdict.alone[0].difference == 0 and (verdict.use, verdict.weight) == ("undecided", None)
    assert recommend(verdict).startswith("use: undecided; 12 queries show no gain from the reranker (")
    (tmp_path / "fusion.json").write_text("of an older training")
    write_fusion(tmp_path, verdict, first_stage="bm25")
    assert not (tmp_path / "fusion.json").exists()


def losing(num_queries, num_lost):
    """The first stage is right about every query, the reranker wrong about some."""
    queries = [f"q{i}" for i in range(num_queries)]
    good, bad = {"a": 2.0, "b": 1.0}, {"a": 1.0, "b": 2.0}
    reranked = {query: bad if number < num_lost else good for number, query in enumerate(queries)}
    return {query: {"a": 1} for query in queries}, dict.fromkeys(queries, good), reranked


@pytest.mark.parametrize(("num_lost", "use"), [(5, "undecided"), (6, "first stage")])  # p 2/32, and 2/64
def test_no_reranker_is_said_only_where_the_loss_is_significant(num_lost, use):
    verdict = judge(*losing(40, num_lost), measures=("MRR@10",))
    assert verdict.alone[0].p == 2 / 2**num_lost and verdict.use == use
    assert ("no reranker" in recommend(verdict)) == (use == "first stage")
    assert f"p {2 / 2**num_lost:.3f}" in recommend(verdict)


@pytest.mark.parametrize(("num_queries", "use"), [(5, "undecided"), (6, "reranker")])
def test_queries_too_few_to_show_anything_decide_nothing(num_queries, use):
    qrels, reranked, first = losing(num_queries, num_queries)
    verdict = judge(qrels, first, reranked, measures=("MRR@10",))
    assert verdict.alone[0].difference == 0.5 and verdict.use == use
    assert ("5 queries are too few to tell" in recommend(verdict)) == (use == "undecided")


def test_what_ranks_like_the_reranker_alone_is_not_called_fused():
    rng = np.random.default_rng(4)
    queries = [f"q{i}" for i in range(40)]
    first = {q: {"a": 1.0, "b": float(rng.normal(1.0))} for q in queries}  # of two candidates, the heavier side wins
    reranked = {q: {"a": 1.0, "b": float(rng.normal(-1.0))} for q in queries}
    verdict = judge({q: {"a": 1} for q in queries}, first, reranked, measures=MEASURES)
    assert verdict.fit.weight == 0.4 and (verdict.use, verdict.weight) == ("reranker", 0.0)
