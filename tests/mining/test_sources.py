"""Rankings and draws."""

from __future__ import annotations

import numpy as np
import pytest

from sharprank.errors import UserError
from sharprank.mining.select import Window
from sharprank.mining.sources import DrawnSource, RankedSource, SourceSpec, parse_sources

from .fakes import ListPool, NumberRanking, number_in

OPTIONS = {"how": "top", "seed": 0}


def test_sources_are_read_with_and_without_shares():
    assert parse_sources("dense") == (SourceSpec("dense"),)
    assert parse_sources("dense:2, bm25:0.5,runs/a.trec:1,org/model") == (
        SourceSpec("dense", 2), SourceSpec("bm25", 0.5), SourceSpec("runs/a.trec", 1), SourceSpec("org/model"),
    )  # fmt: skip
    assert [spec.is_encoder for spec in parse_sources("dense,bm25,a.run.gz,org/model,random")] == [
        True, False, False, True, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "written", ["", "dense:0", "dense:-1", "dense:x", "dense:nan", ":2", "dense,dense", "random", "random,in_batch:2"]
)
def test_what_is_no_source_is_refused(written):
    with pytest.raises(UserError, match="--sources"):
        parse_sources(written)


def test_a_ranking_offers_a_window_with_ranks_counted_from_1():
    pool = ListPool([f"0.{i}" for i in range(1, 10)])
    source = RankedSource("dense", NumberRanking(pool), pool.digests)
    offered = list(source.turns("q", Window(2, 5), **OPTIONS))
    assert [(pool[one.number], one.rank, one.source) for one in offered] == [
        ("0.7", 3, "dense"), ("0.6", 4, "dense"), ("0.5", 5, "dense"),
    ]  # fmt: skip
    assert {pool[number] for number in source.above("q", 2)} == {"0.9", "0.8"}
    assert source.rank("q", offered[0].number) == 3


def test_a_ranking_by_cosines_offers_them_along():
    pool = ListPool([f"0.{i}" for i in range(1, 10)])
    ranking = NumberRanking(pool)

    def cosines(query):
        return np.array([number_in(pool[i]) for i in ranking.ranked(query)], np.float32)

    source = RankedSource("dense", ranking, pool.digests, cosines=cosines)
    assert [one.similarity for one in source.turns("q", Window(2, 5), **OPTIONS)] == [0.7, 0.6, 0.5]


def test_a_draw_offers_everything_it_draws_from_once_without_ranks():
    everything = list(DrawnSource("random", pool_size=50).turns("q", Window(2, 5), **OPTIONS))
    assert sorted(one.number for one in everything) == list(range(50)) and everything[0].rank is None
    some = DrawnSource("in_batch", pool_size=50, numbers=np.array([7, 11])).turns("q", Window(2, 5), **OPTIONS)
    assert sorted(one.number for one in some) == [7, 11]
