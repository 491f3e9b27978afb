"""Scores into runs: every pair once, in order; tails behind; broken scorers refused."""

import numpy as np
import pytest

from sharprank.errors import UserError
from sharprank.evaluation.rerank import score_candidates, with_tails
from sharprank.evaluation.task import RankingTask


class Lookup:
    def __init__(self, scores):
        self.scores = scores

    def score(self, pairs, *, progress=None):
        return np.array([self.scores[passage] for _, passage in pairs])


def task(**changes):
    fields = {
        "title": "t",
        "queries": {"q": "query", "r": "other"},
        "passages": {name: name for name in "abcdef"},
        "candidates": {"q": ["a", "b"], "r": ["b"]},
        "qrels": {"q": {"b": 1}, "r": {"b": 1}},
    }
    return RankingTask(**{**fields, **changes})


def test_every_candidate_gets_its_own_score():
    assert score_candidates(task(), Lookup({"a": 1.0, "b": 2.5})) == {"q": {"a": 1.0, "b": 2.5}, "r": {"b": 2.5}}


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_names_query_and_passage(bad):
    with pytest.raises(UserError, match=r"query 'q'.*passage 'b'"):
        score_candidates(task(), Lookup({"a": 1.0, "b": bad}))


def test_a_scorer_that_loses_pairs_is_a_bug_and_not_a_result():
    class Short:
        def score(self, pairs, *, progress=None):
            return np.zeros(len(pairs) - 1)

    with pytest.raises(ValueError, match="2 pairs|3 pairs"):
        score_candidates(task(), Short())


def test_no_candidates_need_no_scorer():
    class Never:
        def score(self, pairs, *, progress=None):
            raise AssertionError("asked for nothing")

    assert score_candidates(task(candidates={"q": []}), Never()) == {"q": {}}


def test_the_tail_stays_behind_in_its_order_and_its_ties_stay_ties():
    first = {"q": {"a": 9.0, "b": 8.0, "c": 0.3, "d": 0.2, "e": 0.2, "f": 0.1}}
    complete = with_tails({"q": {"a": -7.5, "b": 3.0}}, task(tails={"q": list("cdef")}, first_stage=first))["q"]
    assert max(complete[p] for p in "cdef") < -7.5
    assert complete["c"] > complete["d"] == complete["e"] > complete["f"]


def test_without_a_tail_nothing_changes():
    assert with_tails({"q": {"a": 1.0}}, task(tails={"q": []}, first_stage={"q": {"a": 2.0}})) == {"q": {"a": 1.0}}
