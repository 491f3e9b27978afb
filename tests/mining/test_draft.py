"""Slots that stand in for each other, and candidates that are put back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sharprank.mining.draft import Candidate, Draft, Slot


def slot(number, passages, *, source="s"):
    """Candidates whose rank is their number + 1."""
    return Slot(number, iter([Candidate(passage, source, passage + 1) for passage in passages]))


def refusing(*numbers):
    return lambda candidate: "refused" if candidate.number in numbers else None


def test_every_slot_gives_its_number_and_the_best_rank_stands_first():
    draft = Draft([slot(2, [9, 5, 1]), slot(1, [7, 0])], refusing())
    draft.take()
    assert [one.number for one in draft.taken] == [5, 7, 9]


def test_what_one_slot_cannot_give_the_others_give_in_their_order():
    draft = Draft([slot(3, [1, 2]), slot(1, [3]), slot(0, [4, 5])], refusing(1))
    draft.take()
    assert [one.number for one in draft.taken] == [2, 3, 4, 5]
    assert [(one.number, one.reason) for one in draft.met] == [
        (1, "refused"), (2, None), (3, None), (4, None), (5, None),
    ]  # fmt: skip


def test_a_passage_that_two_slots_offer_is_met_once():
    draft = Draft([slot(2, [1, 2]), slot(2, [1, 2, 3, 4])], refusing(1))
    draft.take()
    assert [one.number for one in draft.met] == [1, 2, 3, 4]


def test_a_refused_negative_is_replaced_from_its_own_slot_first():
    draft = Draft([slot(1, [1, 2]), slot(1, [3, 4])], refusing())
    first = draft.take()
    draft.refuse(first[1], "the teacher says so")
    assert [one.number for one in draft.take()] == [4]
    assert [one.number for one in draft.taken] == [1, 4]
    assert draft.met[1].reason == "the teacher says so"


def test_draws_without_a_rank_stand_last():
    draft = Draft([Slot(1, iter([Candidate(8, "random")])), slot(1, [9])], refusing())
    draft.take()
    assert [one.number for one in draft.taken] == [9, 8]


@given(
    st.lists(st.tuples(st.integers(0, 4), st.lists(st.integers(0, 20), max_size=8)), min_size=1, max_size=4),
    st.sets(st.integers(0, 20)),
    st.sets(st.integers(0, 20)),
)
def test_a_row_gets_too_few_only_when_everything_was_met(slots, refused, objected):
    draft = Draft([slot(number, passages) for number, passages in slots], refusing(*refused))
    while new := draft.take():
        for one in new:
            if one.number in objected:
                draft.refuse(one, "objected")
    wanted, offered = sum(number for number, _ in slots), {n for _, passages in slots for n in passages}
    good = offered - refused - objected
    assert len(draft.taken) == min(wanted, len(good))
    assert {one.number for one in draft.taken} <= good
