"""Embedding and ranking together, with similarities that can be read off the texts."""

from __future__ import annotations

from collections import namedtuple

import pytest

from sharprank.errors import UserError
from sharprank.mining.candidates import Searching, find_candidates


@pytest.fixture
def find(encoder, store, cache):
    """Candidates of queries among texts."""

    def run(texts, queries=("q",), *, beside=(), k=5, **options):
        pool = store(texts)
        return find_candidates(
            encoder,
            pool,
            store(queries, exact=True),
            Searching(k=min(k, len(pool)), cache=cache, **options),
            about_encoder={"model": encoder.name},
            beside=store(text for text in beside if pool.find(text) is None),
        )

    return run


def test_candidates_come_best_first_with_their_cosines(find, ladder):
    found = find(ladder[::-1])
    assert [found.pool[i] for i in found.ranked("q")] == ladder[:5]
    assert found.scores("q").tolist() == pytest.approx([0.99, 0.97, 0.95, 0.93, 0.91])


def test_a_pool_smaller_than_k_gives_all_of_it(find, ladder):
    assert len(find(ladder[:3]).ranked("q")) == 3


def test_queries_are_embedded_once_and_in_an_order_of_their_own(find, encoder, ladder):
    find(ladder, ["b", "a", "b"])
    first = [texts for kind, texts in encoder.asked if kind == "query"]
    encoder.asked.clear()
    encoder.name = "another"
    find(ladder, ["a", "b"])
    assert [texts for kind, texts in encoder.asked if kind == "query"] == first
    assert sorted(first[0]) == ["a", "b"]


def test_the_similarity_of_any_embedded_text_is_known_and_of_others_is_not(find, encoder, ladder):
    found = find(ladder, beside=["beside 0.33", ladder[0]])
    assert found.similarities("q", [ladder[30], "beside 0.33", "never seen", ladder[0] + " "]) == [
        pytest.approx(0.39), pytest.approx(0.33), None, pytest.approx(0.99),
    ]  # fmt: skip
    assert ("passage", ("beside 0.33",)) in encoder.asked


def test_the_cache_saves_the_second_run_all_encoding(find, encoder, ladder):
    first = find(ladder)
    encoder.asked.clear()
    second = find(ladder, k=20)
    assert encoder.asked == []
    assert list(second.ranked("q")[:5]) == list(first.ranked("q"))


def test_the_cache_keeps_queries_and_passages_apart(find, encoder):
    found = find(["same 0.50"], ["same 0.50"])
    assert [kind for kind, _ in encoder.asked] == ["passage", "query"]
    assert found.similarities("same 0.50", ["same 0.50"]) == [0.5]


def test_another_model_never_gets_the_caches_vectors(find, encoder, ladder):
    find(ladder)
    encoder.asked.clear()
    encoder.name = "another"
    find(ladder)
    assert len(encoder.asked) == 2


def test_vectors_in_float16_give_the_same_order_where_cosines_are_far_apart(find, ladder):
    assert list(find(ladder, dtype="float16").ranked("q")) == list(find(ladder).ranked("q"))


def test_an_index_finds_what_it_finds_and_its_recall_is_measured_and_said(find, ladder, capsys):
    found = find(ladder, index_factory="IVF2,Flat", index_parameters="nprobe=2")
    assert list(found.ranked("q")) == [0, 1, 2, 3, 4]
    assert found.recall == 1.0
    assert "IVF2,Flat: recall@5 1.000" in capsys.readouterr().err
    assert find(ladder, index_factory="HNSW4").recall == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"index_factory": "NO,SUCH"}, "NO,SUCH"),
        ({"index_factory": "PQ64"}, "PQ64"),
        ({"index_factory": "IVF4096,Flat"}, "4096 lists of 40 passages"),
        ({"index_factory": "IVF2,Flat", "index_parameters": "colour=3"}, "colour=3"),
    ],
)
def test_an_index_that_faiss_refuses_is_refused_before_anything_is_encoded(find, encoder, ladder, options, said):
    with pytest.raises(UserError, match=said):
        find(ladder, **options)
    assert encoder.asked == []


def test_a_disk_too_small_is_told_before_anything_is_encoded(find, encoder, ladder, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: namedtuple("usage", "free")(100))
    with pytest.raises(UserError, match="has 100 bytes free") as caught:
        find(ladder)
    assert "cache ls" in caught.value.fix and encoder.asked == []


def test_what_is_to_be_done_is_said_before_it_starts(find, ladder, capsys):
    find(ladder, ["a", "b"])
    assert "embed 40 of 40 passages, 2 of 2 queries" in capsys.readouterr().err
    find(ladder, ["a", "b"])
    assert "embed 0 of 40 passages, 0 of 2 queries" in capsys.readouterr().err
