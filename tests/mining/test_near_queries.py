"""Positives of rows that ask nearly the same."""

from __future__ import annotations

from sharprank.mining.near_queries import NearQueries

QUERY = "is there any evidence that the drug of the first trial has an effect on mice of old age"
QUERIES = [QUERY, QUERY + " or not", "what is a dog", QUERY.upper(), "is there any evidence of something else"]
POSITIVES = {QUERY: ("a", "b"), QUERY + " or not": ("c", "b"), "what is a dog": ("d",)}


def test_each_query_gets_the_positives_of_its_near_twins_and_never_its_own_rows():
    near = NearQueries(QUERIES, POSITIVES, threshold=0.8)
    assert near[QUERY] == ("c", "b")
    assert near[QUERY + " or not"] == ("a", "b")
    assert "what is a dog" not in near and near.get("what is a dog", ()) == ()


def test_the_threshold_moves_the_line_and_above_1_nothing_is_near():
    assert len(NearQueries(QUERIES, POSITIVES, threshold=0.95)) == 0
    assert len(NearQueries(QUERIES, POSITIVES, threshold=2.0)) == 0
    assert len(NearQueries([], {}, threshold=0.8)) == 0
