"""The candidate pool: distinct passages in an order that never changes."""

from __future__ import annotations

import random

from sharprank.mining.pool import Pool
from sharprank.records import Passage, TrainRow


def test_duplicates_are_dropped_and_the_first_spelling_is_kept_in_its_place():
    pool = Pool.of_passages([Passage("b"), Passage("a  c"), Passage("b"), Passage("a c "), Passage("d")])
    assert pool.texts == ["b", "a  c", "d"]
    assert (pool.num_read, len(pool)) == (5, 3)


def test_passages_that_differ_in_case_are_different_passages():
    assert len(Pool(["A", "a"])) == 2


def test_a_passage_is_found_in_any_spelling_of_white_space():
    pool = Pool(["x", "a  c"])
    assert pool.find(" a c\n") == 1
    assert pool[1] == "a  c"
    assert pool.find("nothing") is None


def test_the_pool_of_rows_is_their_positives_and_negatives():
    rows = [TrainRow("q", ("p1", "p2"), ("n1",)), TrainRow("r", ("p1",), ("n2", "n1"))]
    pool = Pool.of_rows(rows)
    assert sorted(pool.texts) == ["n1", "n2", "p1", "p2"]
    assert pool.num_read == 6


def test_the_pool_of_rows_does_not_depend_on_their_order():
    rows = [TrainRow(f"q{i}", (f"p{i}",), (f"n{i}", "n")) for i in range(50)]
    shuffled = random.Random(1).sample(rows, len(rows))
    assert Pool.of_rows(rows).texts == Pool.of_rows(shuffled).texts


def test_digests_belong_to_their_passages():
    assert list(Pool(["a", "b"]).digests) == [Pool(["a"]).digests[0], Pool(["b"]).digests[0]]
