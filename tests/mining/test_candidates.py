"""Embedding and ranking together, with similarities that can be read off the texts."""

from __future__ import annotations

import pytest

from sharprank.mining.candidates import find_candidates
from sharprank.mining.pool import Pool


def find(encoder, texts, queries=("q",), **options):
    options = {"k": 5, "batch_size": 8, "search_batch_size": 8, "use_gpu": False} | options
    options["about_encoder"] = {"model": encoder.name}
    return find_candidates(encoder, Pool(texts), queries, **options)


def test_candidates_come_best_first(encoder, ladder):
    found = find(encoder, ladder[::-1])
    assert [found.pool[i] for i in found.ranked("q")] == ladder[:5]


def test_a_pool_smaller_than_k_gives_all_of_it(encoder, ladder):
    assert len(find(encoder, ladder[:3]).ranked("q")) == 3


def test_queries_are_embedded_once_and_in_an_order_of_their_own(encoder, ladder):
    find(encoder, ladder, ["b", "a", "b"])
    assert [texts for kind, texts in encoder.asked if kind == "query"] == [("a", "b")]


def test_the_similarity_of_any_embedded_text_is_known_and_of_others_is_not(encoder, ladder):
    found = find(encoder, ladder, texts_beside=["beside 0.33", ladder[0]])
    assert found.similarities("q", [ladder[30], "beside 0.33", "never seen", ladder[0] + " "]) == [
        pytest.approx(0.39), pytest.approx(0.33), None, pytest.approx(0.99),
    ]  # fmt: skip
    assert ("passage", ("beside 0.33",)) in encoder.asked


def test_a_cache_saves_the_second_run_all_encoding(encoder, ladder, tmp_path):
    first = find(encoder, ladder, cache=str(tmp_path))
    encoder.asked.clear()
    second = find(encoder, ladder, cache=str(tmp_path), k=20)
    assert encoder.asked == []
    assert list(second.ranked("q")[:5]) == list(first.ranked("q"))


def test_a_cache_keeps_queries_and_passages_apart(encoder, tmp_path):
    found = find(encoder, ["same 0.50"], ["same 0.50"], cache=str(tmp_path))
    assert [kind for kind, _ in encoder.asked] == ["passage", "query"]
    assert found.similarities("same 0.50", ["same 0.50"]) == [0.5]


def test_another_model_never_gets_the_caches_vectors(encoder, ladder, tmp_path):
    find(encoder, ladder, cache=str(tmp_path))
    encoder.asked.clear()
    encoder.name = "another"
    find(encoder, ladder, cache=str(tmp_path))
    assert len(encoder.asked) == 2


def test_a_cache_needs_to_know_the_encoder(encoder, ladder, tmp_path):
    with pytest.raises(ValueError, match="about_encoder"):
        find_candidates(
            encoder, Pool(ladder), ["q"], k=5, batch_size=8, search_batch_size=8, use_gpu=False, cache=str(tmp_path)
        )
