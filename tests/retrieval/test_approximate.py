"""Approximate search: what it finds is scored exactly, kept, and the same for any number of ranks."""

from __future__ import annotations

import numpy as np
import pytest

from sharprank.errors import UserError
from sharprank.retrieval import approximate
from sharprank.retrieval.approximate import ApproximateSearch
from sharprank.retrieval.faiss_index import search


@pytest.fixture
def table() -> list[np.ndarray]:
    vectors = np.random.default_rng(1).normal(size=(500, 16)).astype(np.float32)
    return np.split(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), [90, 200, 360])


@pytest.fixture
def queries(table) -> np.ndarray:
    return table[0][:20] + 0.1


@pytest.fixture(autouse=True)
def small_indexes(monkeypatch):
    monkeypatch.setattr(approximate, "INDEX_ROWS", 150)


@pytest.mark.parametrize("factory", ["Flat", "HNSW32"])
def test_an_index_that_misses_nothing_gives_the_hits_of_exact_search(table, queries, factory, tmp_path):
    index = ApproximateSearch(factory, 16, 500, k=12)
    index.prepare(table, tmp_path)
    found, exact = index.search(table, queries), search(table, queries, 12)
    assert (found.ids == exact.ids).all() and (found.scores == exact.scores).all()
    assert len(list(tmp_path.glob("*.faiss"))) == 4


def test_the_shares_of_all_ranks_hold_what_one_process_finds(table, queries, tmp_path):
    index = ApproximateSearch("IVF4,Flat", 16, 500, k=12)
    index.prepare(table, tmp_path)
    shares = [index.search(table, queries, share=(number, 3)) for number in range(3)]
    ids, scores = (np.concatenate([getattr(share, name) for share in shares], axis=1) for name in ("ids", "scores"))
    best = np.lexsort((ids, -scores), axis=1)[:, :12]
    assert (np.take_along_axis(ids, best, axis=1) == index.search(table, queries).ids).all()


@pytest.mark.parametrize("factory", ["IVF4,PQ4x4", "HNSW8"])
def test_an_index_made_twice_is_the_same_file(table, factory, tmp_path):
    for name in ("one", "two"):
        ApproximateSearch(factory, 16, 500, k=5).prepare(table, tmp_path / name)
    for path in (tmp_path / "one").glob("*.faiss"):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_an_index_that_is_there_is_not_made_again_unless_it_was_cut_short(table, tmp_path, monkeypatch):
    ApproximateSearch("HNSW8", 16, 500, k=5).prepare(table, tmp_path)
    first, *others = sorted(tmp_path.glob("rows-*.faiss"))
    whole, before = first.read_bytes(), [path.stat().st_mtime_ns for path in others]
    first.write_bytes(whole[:-9])
    ApproximateSearch("HNSW8", 16, 500, k=5).prepare(table, tmp_path)
    assert first.read_bytes() == whole
    assert [path.stat().st_mtime_ns for path in others] == before


def test_fewer_rows_found_than_wanted_leave_the_rest_empty(table, queries, tmp_path):
    index = ApproximateSearch("IVF32,Flat", 16, 500, k=100, parameters="nprobe=1")
    index.prepare(table, tmp_path)
    hits = index.search(table, queries)
    assert ((hits.ids < 0) == np.isneginf(hits.scores)).all()
    assert (hits.ids[:, -1] < 0).any() and (hits.ids[:, 0] >= 0).all()


def test_more_lists_than_passages_are_refused_with_a_smaller_index():
    with pytest.raises(UserError, match="IVF256,Flat makes 256 lists of 125 passages") as caught:
        ApproximateSearch("IVF256,Flat", 16, 500, k=5)
    assert "IVF" in caught.value.fix


def test_rows_are_shared_evenly_by_as_many_indexes_as_it_takes(table, tmp_path):
    ApproximateSearch("IVF64,Flat", 16, 460, k=5)  # no index is left with the 10 rows beyond 3 x 150
    ApproximateSearch("Flat", 16, 500, k=5).prepare(table, tmp_path)
    starts = [int(path.stem.split("-")[1]) for path in sorted(tmp_path.glob("*.faiss"))]
    assert starts == [0, 125, 250, 375]


def test_an_index_that_cannot_be_learned_from_so_few_passages_is_refused(table, tmp_path):
    with pytest.raises(UserError, match="'PQ8': FAISS cannot learn it from 125 passages"):
        ApproximateSearch("PQ8", 16, 500, k=5).prepare(table, tmp_path)
