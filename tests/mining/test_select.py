"""The seeded sample of a rank window."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sharprank.mining.select import (
    ABOVE_WINDOW,
    Sampling,
    Selection,
    digest,
    fill_from_pool,
    quantiles,
    sample_window,
    sampling_keys,
)

DIGESTS = np.array([digest(f"passage {i}") for i in range(1000)], dtype=np.uint64)


def sample(ranked, *, window=(2, 12), number=4, seed=0, query="q", refuse=()):
    ranked = np.asarray(ranked)
    sampling = Sampling(window, number, seed)
    return sample_window(ranked, DIGESTS[ranked], sampling, query=query, admit=refusing(refuse))


def fill(selection, ranked, *, window=(2, 12), number=20, pool_size=30, refuse=(), seed=0):
    sampling = Sampling(window, number, seed)
    return fill_from_pool(
        selection, np.asarray(ranked), sampling, pool_size=pool_size, query="q", admit=refusing(refuse)
    )


def refusing(passages):
    return lambda passage: "refused" if passage in passages else None


def test_the_window_is_a_half_open_slice_counted_from_0():
    everything = sample(range(100), window=(2, 12), number=100)
    assert everything.ids == tuple(range(2, 12))
    assert everything.ranks == tuple(range(3, 13))


def test_the_sample_is_as_large_as_asked_without_repeats_and_in_order_of_rank():
    picked = sample(range(100), window=(2, 80), number=15)
    assert len(set(picked.ids)) == 15
    assert list(picked.ids) == sorted(picked.ids)
    assert all(2 <= i < 80 for i in picked.ids)
    assert picked.ranks == tuple(i + 1 for i in picked.ids)


def test_the_same_seed_and_query_give_the_same_sample_and_others_another():
    first = sample(range(100), window=(0, 100))
    assert first == sample(range(100), window=(0, 100))
    assert first != sample(range(100), window=(0, 100), seed=1)
    assert first != sample(range(100), window=(0, 100), query="r")


@given(st.permutations(list(range(2, 12))))
def test_passages_that_swap_ranks_inside_the_window_are_sampled_all_the_same(inside):
    assert set(sample([0, 1, *inside, 12, 13]).ids) == set(sample(range(14)).ids)


def test_every_candidate_of_the_window_is_sampled_equally_often():
    counts = Counter(i for n in range(2000) for i in sample(range(20), window=(5, 15), number=3, query=f"q{n}").ids)
    assert set(counts) == set(range(5, 15))
    assert all(abs(count - 600) < 5 * 24.5 for count in counts.values())  # 5 standard deviations of B(2000, .3) are 102


def test_refused_candidates_are_replaced_and_counted():
    picked = sample(range(100), window=(0, 10), number=5, refuse={0, 1, 2, 3, 4})
    assert picked.ids == (5, 6, 7, 8, 9)
    assert 0 < picked.refused["refused"] <= 5


def test_too_few_candidates_give_what_there_is():
    picked = sample(range(100), window=(0, 6), number=5, refuse={0, 1, 2})
    assert picked.ids == (3, 4, 5)
    assert picked.refused == {"refused": 3}


def test_a_window_beyond_the_candidates_is_cut_at_their_end():
    assert sample(range(5), window=(2, 200), number=15).ids == (2, 3, 4)


def test_filling_draws_from_the_whole_pool_without_repeats_and_never_from_above_the_window():
    picked = fill(sample(range(12), number=10), range(12), number=25)
    assert len(set(picked.ids)) == 25
    assert picked.ids[:10] == tuple(range(2, 12))
    assert picked.ranks[10:] == (None,) * 15
    assert picked.num_random == 15
    assert not {0, 1} & set(picked.ids)


def test_filling_takes_what_there_is_and_counts_what_it_refused():
    picked = fill(sample(range(12), number=10), range(12), number=100, refuse={20, 21})
    assert set(picked.ids) == set(range(2, 30)) - {20, 21}
    assert picked.refused == {ABOVE_WINDOW: 2, "refused": 2}


def test_filling_does_not_try_the_window_again():
    first = sample(range(12), number=10, refuse={5})
    assert fill(first, range(12), number=100, refuse={5}).refused["refused"] == first.refused["refused"]


def test_a_full_selection_is_left_alone():
    full = sample(range(12), number=4)
    assert fill(full, range(12), number=4).ids == full.ids


def test_filling_a_large_pool_is_uniform():
    counts = Counter(
        i // 1000 for n in range(50) for i in fill(Selection(), [0], window=(0, 1), pool_size=10_000, seed=n).ids
    )
    assert all(70 < counts[part] < 130 for part in range(10))


def test_sampling_keys_of_distinct_passages_are_distinct():
    assert len(np.unique(sampling_keys(3, "q", DIGESTS))) == len(DIGESTS)


def test_a_digest_is_the_same_on_every_machine():
    assert digest("a") == 0x2F42665B399EF840  # BLAKE2b-64 of "a" is 40f89e395b66422f


def test_quantiles_of_0_to_100_are_as_counted_by_hand():
    assert quantiles(list(range(101)))["p05"] == 5.0
    assert quantiles(list(range(101)))["median"] == 50.0
    assert quantiles([]) == {}
