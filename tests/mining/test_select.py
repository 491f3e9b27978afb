"""Windows, and the seeded order of turns."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharprank.errors import UserError
from sharprank.mining.select import (
    Window,
    digest,
    draws,
    numbered,
    parse_windows,
    quantiles,
    sampling_keys,
    shared,
    turns,
)

DIGESTS = np.array([digest(f"passage {i}") for i in range(1000)], dtype=np.uint64)


def order(digests=DIGESTS[:100], *, window=(2, 12), how="random", seed=0, query="q") -> list[int]:
    return turns(digests, Window(*window), how=how, seed=seed, query=query).tolist()


def test_a_window_is_a_half_open_slice_of_ranks_and_every_rank_has_a_turn():
    assert sorted(order()) == list(range(2, 12))
    assert sorted(order(DIGESTS[:5], window=(2, 200))) == [2, 3, 4]
    assert order(DIGESTS[:5], window=(7, 9)) == []


def test_the_same_seed_and_query_give_the_same_order_and_others_another():
    assert order() == order()
    assert order() != order(seed=1)
    assert order() != order(query="r")


@pytest.mark.parametrize("how", ["random"])
@given(inside=st.permutations(list(range(2, 12))))
def test_passages_that_swap_ranks_inside_the_window_are_taken_all_the_same(how, inside):
    digests = DIGESTS[[0, 1, *inside, 12, 13]]
    first = {int(DIGESTS[place]) for place in order(DIGESTS[:14], how=how)[:4]}
    assert {int(digests[place]) for place in order(digests, how=how)[:4]} == first


def test_every_rank_of_the_window_comes_first_equally_often():
    counts = Counter(place for n in range(2000) for place in order(window=(5, 15), query=f"q{n}")[:3])
    assert set(counts) == set(range(5, 15))
    assert all(abs(count - 600) < 5 * 20.5 for count in counts.values())  # the deviation of B(2000, .3) is 20.5


def test_top_takes_the_best_first():
    assert order(how="top") == list(range(2, 12))


def test_log_random_takes_octaves_of_ranks_equally_often():
    firsts = [order(window=(0, 63), how="log_random", query=f"q{n}")[0] + 1 for n in range(3000)]
    weights = np.array([1 / rank for rank in range(1, 64)])
    expected = weights / weights.sum() * 3000
    for low in (1, 2, 4, 8, 16, 32):
        found, mean = sum(low <= rank < 2 * low for rank in firsts), expected[low - 1 : 2 * low - 1].sum()
        assert abs(found - mean) < 5 * np.sqrt(mean), (low, found, mean)


def test_windows_are_read_with_and_without_numbers():
    assert parse_windows("2-200") == (Window(2, 200),)
    assert parse_windows(" 2 - 20 : 5, 20-200:10") == (Window(2, 20, 5), Window(20, 200, 10))
    assert str(Window(2, 200)) == "3-200"


@pytest.mark.parametrize("written", ["", "2", "5-5", "9-2", "2:200", "-2-5", "a-b", "2-20:0", "2-20:x", "2-20,,3-4"])
def test_what_is_no_window_is_refused(written):
    with pytest.raises(UserError, match="--range_for_sampling"):
        parse_windows(written)


def test_windows_without_a_number_share_what_is_left():
    assert [w.number for w in numbered(parse_windows("2-20:5,20-200,200-300"), 16)] == [5, 6, 5]
    assert [w.number for w in numbered(parse_windows("2-20:5,20-200:10"), 99)] == [5, 10]


@given(st.integers(0, 50), st.lists(st.floats(0.1, 9), min_size=1, max_size=5))
def test_shares_are_whole_add_up_and_stay_within_one_of_the_proportion(number, shares):
    found = shared(number, shares)
    assert sum(found) == number
    assert all(abs(one - number * share / sum(shares)) < 1 + 1e-9 for one, share in zip(found, shares, strict=True))


def test_draws_give_everything_once_and_differ_by_name_seed_and_query():
    first = list(draws("a", 300, seed=0, query="q"))
    assert sorted(first) == list(range(300))
    assert first == list(draws("a", 300, seed=0, query="q"))
    for name, seed, query in (("b", 0, "q"), ("a", 1, "q"), ("a", 0, "r")):
        assert first != list(draws(name, 300, seed=seed, query=query))
    assert list(draws("a", 0, seed=0, query="q")) == []


def test_draws_from_many_are_uniform():
    counts = Counter(number // 1000 for n in range(50) for number in islice(draws("a", 10_000, seed=n, query="q"), 20))
    assert all(60 < counts[part] < 140 for part in range(10))


def test_sampling_keys_of_distinct_passages_are_distinct():
    assert len(np.unique(sampling_keys(3, "q", DIGESTS))) == len(DIGESTS)


def test_a_digest_is_the_same_on_every_machine():
    assert digest("a") == 0x2F42665B399EF840  # BLAKE2b-64 of "a" is 40f89e395b66422f


def test_quantiles_of_0_to_100_are_as_counted_by_hand():
    assert quantiles(list(range(101)))["p05"] == 5.0
    assert quantiles(list(range(101)))["median"] == 50.0
    assert quantiles([]) == {}
