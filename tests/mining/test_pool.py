"""The candidate pool: distinct passages in an order that never changes."""

from __future__ import annotations

import pytest

from sharprank.errors import UserError
from sharprank.mining.pool import write_pool
from sharprank.records import Passage


def test_duplicates_are_dropped_and_the_first_spelling_is_kept_in_its_place(tmp_path):
    passages = [Passage("b"), Passage("a  c"), Passage("b"), Passage("a c "), Passage("d")]
    pool = write_pool(tmp_path / "pool", passages, skipped={"reason": 2})
    assert list(pool) == ["b", "a  c", "d"]
    assert (pool.num_read, len(pool), pool.about) == (5, 3, {"skipped": {"reason": 2}})


def test_passages_that_differ_in_case_are_different_passages(tmp_path):
    assert len(write_pool(tmp_path / "pool", [Passage("A"), Passage("a")], skipped={})) == 2


def test_ids_are_kept_also_of_passages_that_stood_there_before(tmp_path):
    passages = [Passage("a", "1"), Passage("b", "2"), Passage(" a", "3")]
    pool = write_pool(tmp_path / "pool", passages, skipped={})
    assert [pool.passage_id(0), pool.passage_id(1)] == ["1", "2"]
    assert [pool.number_of(name) for name in ("1", "2", "3", "4")] == [0, 1, 0, None]


def test_an_id_that_stands_twice_is_refused_in_a_collection_and_leaves_no_pool(tmp_path):
    passages = [Passage("a", "1"), Passage("b", "2"), Passage("c", "1")]
    with pytest.raises(UserError, match="folder: id 1 stands there twice"):
        write_pool(tmp_path / "pool", passages, skipped={}, ids_of="folder")
    assert not (tmp_path / "pool").exists()
    assert len(write_pool(tmp_path / "pool", passages, skipped={})) == 3
