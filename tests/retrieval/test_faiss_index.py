"""Exact search, held against brute force in float64."""

from __future__ import annotations

import numpy as np
import pytest

from sharprank.errors import UserError
from sharprank.retrieval import faiss_index
from sharprank.retrieval import table as table_module
from sharprank.retrieval.faiss_index import Hits, gpu_backend, inner_products, rescore, search
from sharprank.retrieval.stored import load_array, save_array
from sharprank.retrieval.table import take
from sharprank.retrieval.torch_search import cuda_devices, torch_finder


def unit_vectors(count: int, size: int = 16, *, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, size)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def brute_force(table: np.ndarray, queries: np.ndarray, k: int) -> np.ndarray:
    scores = (queries.astype(np.float64) @ table.astype(np.float64).T).round(6)
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


@pytest.fixture
def table() -> np.ndarray:
    return unit_vectors(500, seed=1)


@pytest.fixture
def queries() -> np.ndarray:
    return unit_vectors(37, seed=2)


def same(a: Hits, b: Hits) -> bool:
    return bool((a.ids == b.ids).all() and (a.scores == b.scores).all())


def test_hits_are_those_of_brute_force_in_its_order(table, queries):
    hits = search([table], queries, 50)
    assert (hits.ids == brute_force(table, queries, 50)).all()
    expected = np.take_along_axis(queries @ table.T, hits.ids, axis=1)
    np.testing.assert_allclose(hits.scores, expected, atol=2e-6)
    assert (np.diff(hits.scores, axis=1) <= 0).all()


@pytest.mark.parametrize("cuts", [[250], [1, 2, 499], [100, 200, 300, 400]])
def test_sharding_the_table_changes_nothing(table, queries, cuts):
    assert same(search(np.split(table, cuts), queries, 20), search([table], queries, 20))


@pytest.mark.parametrize("joined", [1, 50, 130])
def test_searching_the_table_in_pieces_changes_nothing(table, queries, joined, monkeypatch):
    expected = search([table], queries, 20)
    monkeypatch.setattr(table_module, "JOINED_ROWS", joined)
    assert same(search(np.split(table, [10, 100, 250, 255]), queries, 20), expected)


@pytest.mark.parametrize("block", [1, 2, 7, 1024])
def test_the_query_block_changes_nothing(table, queries, block):
    assert same(search([table], queries, 20, query_block=block), search([table], queries, 20))


def test_equal_rows_are_ordered_by_their_id(queries):
    row = unit_vectors(1, seed=3)
    hits = search([np.repeat(row, 30, axis=0)], queries, 10)
    assert (hits.ids == np.arange(10)).all()


def test_a_table_smaller_than_k_fills_the_rest_with_minus_one(queries):
    hits = search([unit_vectors(3, seed=4)], queries, 5)
    assert (np.sort(hits.ids[:, :3], axis=1) == [0, 1, 2]).all()
    assert (hits.ids[:, 3:] == -1).all()
    assert np.isneginf(hits.scores[:, 3:]).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_shards_on_disk_are_searched_like_arrays(tmp_path, table, queries, dtype):
    stored = []
    for number, shard in enumerate(np.split(table.astype(dtype), [200, 350])):
        save_array(tmp_path / str(number), shard)
        stored.append(load_array(tmp_path / str(number)))
    assert same(search(stored, queries, 20), search([table.astype(dtype).astype(np.float32)], queries, 20))


@pytest.mark.parametrize("count", [2, 3, 7])
def test_the_best_of_every_processs_share_are_the_best_of_all(table, queries, count, monkeypatch):
    monkeypatch.setattr(table_module, "JOINED_ROWS", 60)
    shards = np.split(table, range(20, 500, 20))
    parts = [search(shards, queries, 20, share=(number, count)) for number in range(count)]
    ids, scores = (np.concatenate([getattr(part, name) for part in parts], axis=1) for name in ("ids", "scores"))
    best = np.lexsort((ids, -scores), axis=1)[:, :20]
    assert (np.take_along_axis(ids, best, axis=1) == search(shards, queries, 20).ids).all()


def test_a_share_without_any_piece_finds_nothing(table, queries):
    assert (search([table], queries, 5, share=(1, 2)).ids == -1).all()


@pytest.mark.parametrize("held", [1, 6000])
def test_reading_the_table_for_fewer_queries_at_once_changes_nothing(table, queries, held, monkeypatch):
    expected = search([table], queries, 20)
    monkeypatch.setattr(faiss_index, "HELD_HITS", held)
    monkeypatch.setattr(faiss_index, "queries_a_reading", lambda k: max(1, held // 500))
    assert same(search(np.split(table, [100]), queries, 20), expected)


@pytest.mark.parametrize("num_devices", [1, 3])
def test_torch_gives_the_same_hits_as_faiss_whatever_the_number_of_devices(table, queries, num_devices, monkeypatch):
    monkeypatch.setattr(table_module, "JOINED_ROWS", 130)
    twins = np.concatenate([table, table[:50], np.repeat(table[3:4], 90, axis=0)])
    shards = np.split(twins, [2, 100, 250, 600])

    def backend(rows):
        return torch_finder(rows, ["cpu"] * num_devices)

    for k in (1, 20, 640, 700):
        assert same(search(shards, queries, k, backend=backend, query_block=7), search(shards, queries, k))


def test_on_a_gpu_torch_gives_the_same_hits_as_faiss(table, queries):
    devices = cuda_devices()
    if not devices:
        pytest.skip("needs a GPU that torch sees")
    assert same(search([table], queries, 20, backend=gpu_backend()), search([table], queries, 20))


def test_rows_are_taken_across_shards_in_the_order_asked(table):
    ids = np.array([499, 0, 250, 249, 0])
    assert (take(np.split(table, [100, 250]), ids) == table[ids]).all()


def test_the_score_of_any_row_is_that_of_the_search(table, queries):
    hits = search([table], queries, 20)
    assert (inner_products(np.split(table, [33, 400]), queries[5], hits.ids[5]) == hits.scores[5]).all()
    assert len(inner_products([table], queries[5], np.array([], dtype=np.int64))) == 0


@pytest.mark.parametrize("queries_at_a_time", [1, 3])
def test_how_many_queries_are_rescored_at_a_time_changes_nothing(
    tmp_path, table, queries, queries_at_a_time, monkeypatch
):
    ids = np.random.default_rng(0).integers(-1, len(table), (len(queries), 9))
    products = (queries[:, None].astype(np.float64) * table[ids]).sum(-1).round(6).astype(np.float32)
    monkeypatch.setattr(faiss_index, "_EXACT_BYTES", queries_at_a_time * 8 * ids.shape[1] * table.shape[1])
    monkeypatch.setattr(faiss_index, "_READ_AT_ONCE", 4)
    save_array(tmp_path / "table", table[200:])
    stored = load_array(tmp_path / "table")
    for shards in ([table], np.split(table, [100, 101]), [table[:200], stored]):
        found, scores = rescore(shards, queries, ids)
        for row in range(len(queries)):
            expected = {int(i): float(s) for i, s in zip(ids[row], products[row], strict=True)}
            best = sorted(ids[row].tolist(), key=lambda i: (-expected[i] if i >= 0 else np.inf, i))
            assert found[row].tolist() == best
            assert scores[row].tolist() == [expected[i] if i >= 0 else -np.inf for i in best]


def test_rescoring_sorts_by_score_then_id(table, queries):
    ids, scores = rescore([table], queries[:1], np.array([[5, 3, 9]]))
    assert sorted(ids[0]) == [3, 5, 9]
    assert list(scores[0]) == sorted(scores[0], reverse=True)


def test_nan_queries_are_an_error_not_a_ranking(table, queries):
    queries[7] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        search([table], queries, 5)


def test_many_rows_tied_for_the_last_place_leave_it_to_the_smallest_ids(table, queries):
    twins = np.concatenate([table[:40], np.repeat(table[:1], 200, axis=0)])
    hits = search(np.split(twins, [90, 130]), queries, 60)
    assert (hits.ids == brute_force(twins, queries, 60)).all()


def test_faiss_keeps_its_own_setting_for_small_blocks(table, queries):
    faiss = pytest.importorskip("faiss")
    before = faiss.cvar.distance_compute_blas_threshold
    search([table], queries, 3)
    assert faiss.cvar.distance_compute_blas_threshold == before


def test_without_any_gpu_it_is_said_with_the_way_out():
    faiss = pytest.importorskip("faiss")
    if cuda_devices() or (hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > 0):
        pytest.skip("there is a GPU")
    with pytest.raises(UserError, match="use_gpu_for_searching") as caught:
        gpu_backend()
    assert "faiss-gpu" in caught.value.fix


def test_k_must_be_positive(table, queries):
    with pytest.raises(ValueError, match="at least 1"):
        search([table], queries, 0)
