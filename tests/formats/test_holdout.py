"""Whole queries are held out, by their hash, and nothing is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharprank.errors import UserError
from sharprank.formats.holdout import fold, hold_out
from sharprank.records import TrainRow


def rows(*queries: str) -> list[TrainRow]:
    return [TrainRow(query, (f"passage {number}",)) for number, query in enumerate(queries)]


@given(st.lists(st.text(min_size=1), min_size=5, max_size=30, unique_by=fold), st.integers(0, 5))
def test_a_query_is_on_one_side_only_and_no_row_is_lost(queries, seed):
    asked = rows(*queries, *(f"  {query.upper()} " for query in queries[:2] if fold(query.upper()) == fold(query)))
    train, held_out = hold_out(asked, share=0.3, seed=seed)
    assert not {fold(row.query) for row in train} & {fold(row.query) for row in held_out}
    assert sorted(row.positives for row in train + held_out) == sorted(row.positives for row in asked)


def test_the_choice_follows_the_seed_and_not_the_order_of_the_rows():
    asked = rows(*(f"query {n}" for n in range(50)))
    first = {row.query for row in hold_out(asked, share=0.2, seed=0)[1]}
    assert first == {row.query for row in hold_out(asked[::-1], share=0.2, seed=0)[1]}
    assert first != {row.query for row in hold_out(asked, share=0.2, seed=1)[1]}
    assert len(first) == 10


def test_too_few_queries_are_refused_and_it_is_said_how_many_it_takes():
    with pytest.raises(UserError, match=r"3 distinct .*: 2 to measure on, and at least 2 to train on"):
        hold_out(rows("a", "b", "c", " A"), share=0.2, seed=0)
    with pytest.raises(UserError, match=r"10 distinct .*: 9 to measure on"):
        hold_out(rows(*"abcdefghij"), share=0.9, seed=0)


def test_those_left_by_an_earlier_hold_out_are_not_called_all_there_are():
    left, _ = hold_out(rows(*"abcde"), share=0.2, seed=0)
    with pytest.raises(UserError, match=r"3 distinct queries \(not counting any held out before\) are too few"):
        hold_out(left, share=0.2, seed=0)
