"""Which texts may never be a negative."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharprank.retrieval import filters
from sharprank.retrieval.filters import Protected, fold, overlap, plain, shingles

LONG = " ".join(f"word{i}" for i in range(60))


@pytest.mark.parametrize("other", ["what is a dog", "What  is a DOG", " what is\ta dog\n", "WHAT IS A DOG"])
def test_queries_that_differ_in_case_and_white_space_are_one_query(other):
    assert fold(other) == fold("What is a dog")


def test_queries_that_differ_in_punctuation_are_different_queries():
    assert fold("what is c") != fold("what is c++")


@pytest.mark.parametrize(
    "other",
    [
        "a dog is an animal",
        "A dog is an animal. ",
        "A dog, is an ANIMAL!",
        "\uff21 dog is an animal",
        "a  dog\nis an animal",
    ],
)
def test_plain_forgets_unicode_form_case_white_space_and_punctuation(other):
    assert plain(other) == plain("A dog is an animal")


def test_words_that_differ_in_a_vowel_sign_are_different_words():
    assert plain("दिन") != plain("दान")
    assert Protected("q", ["दिन"]).reason("दान") is None


def test_texts_of_punctuation_alone_stay_different():
    assert plain("???") != plain("!!!")
    assert plain("???") == "???"


def test_chinese_is_cut_into_characters():
    assert plain("狗是动物。") == "狗 是 动 物"
    assert plain("狗是 动物") == plain("狗是动物!")
    assert len(shingles("狗是一种动物")) == 4


def test_overlap_of_texts_one_token_apart_is_as_counted_by_hand():
    # 5 tokens: {abc, bcd, cde} against {abc, bcd, cdx}: 2 shared of 4
    assert overlap(shingles("a b c d e"), shingles("a b c d x")) == 0.5


@given(st.text(), st.text())
def test_overlap_is_symmetric_and_between_0_and_1(left, right):
    value = overlap(shingles(left), shingles(right))
    assert 0.0 <= value <= 1.0
    assert value == overlap(shingles(right), shingles(left))
    assert overlap(shingles(left), shingles(left)) == 1.0


def test_a_positive_of_the_row_is_refused_in_whatever_spelling():
    protected = Protected("q", ["A dog is an animal"])
    for text in ("A dog is an animal", "a dog is an animal. ", "A  DOG is an animal!"):
        assert protected.reason(text) == filters.POSITIVE


def test_a_positive_of_a_row_with_the_same_query_is_refused():
    assert Protected("q", ["p one"], ["p two"]).reason("P two.") == filters.SAME_QUERY_POSITIVE


def test_the_query_itself_is_refused():
    assert Protected("What is a dog?", ["p"]).reason("what is a dog") == filters.QUERY


def test_a_passage_that_differs_by_a_title_or_a_word_is_a_near_duplicate():
    protected = Protected("q", [LONG])
    assert protected.reason(f"A title here. {LONG}") == filters.NEAR_POSITIVE
    assert protected.reason(LONG.replace("word30 ", "")) == filters.NEAR_POSITIVE
    assert Protected("q", ["p"], [LONG]).reason(f"A title here. {LONG}") == filters.NEAR_POSITIVE


def test_a_passage_that_shares_half_its_text_is_not_a_near_duplicate():
    half = " ".join([f"word{i}" for i in range(30)] + [f"other{i}" for i in range(30)])
    assert Protected("q", [LONG]).reason(half) is None


def test_the_threshold_moves_the_line_and_above_1_turns_it_off():
    near = f"A title here. {LONG}"
    assert Protected("q", [LONG], threshold=0.99).reason(near) is None
    assert Protected("q", [LONG], threshold=1.1).reason(near) is None
    assert Protected("q", [LONG], threshold=1.1).reason(LONG + ".") == filters.POSITIVE


def test_short_different_passages_are_kept():
    assert Protected("capital of france", ["Paris is big"]).reason("Lyon is big") is None


def test_a_duplicate_of_an_admitted_negative_is_refused():
    protected = Protected("q", ["p"])
    assert protected.admit("A cat.") is None
    assert protected.admit("a  cat") == filters.DUPLICATE
    assert protected.admit("a cat and a dog") is None
    assert protected.admit("P") == filters.POSITIVE
