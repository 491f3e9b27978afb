"""Negatives are drawn afresh each epoch, without repeats, and all of them evenly."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from sharprank.training.draws import draw, text_seed


@given(num_items=st.integers(1, 12), num_wanted=st.integers(1, 15), seed=st.integers(0, 99))
def test_no_repeats_in_an_epoch_and_even_use_over_epochs(num_items, num_wanted, seed):
    used = Counter({index: 0 for index in range(num_items)})
    for epoch in range(25):
        hand = draw(num_items, num_wanted, epoch=epoch, seed=(seed,))
        assert len(hand) == len(set(hand)) == min(num_items, num_wanted)
        used.update(hand)
        assert max(used.values()) - min(used.values()) <= (1 if num_items % num_wanted == 0 else 2)


def test_a_draw_is_a_function_of_seed_and_epoch_alone():
    assert draw(50, 7, epoch=3, seed=(1, 2)) == draw(50, 7, epoch=3, seed=(1, 2))
    assert draw(50, 7, epoch=3, seed=(1, 2)) != draw(50, 7, epoch=4, seed=(1, 2))
    assert draw(50, 7, epoch=3, seed=(1, 2)) != draw(50, 7, epoch=3, seed=(1, 3))


def test_a_text_gives_the_same_number_in_every_process():
    assert text_seed("a") == 3904355907  # crc32, not Python's salted hash
