"""Spliced pairs are the tokenizer's own pairs; the passage is cut, the query is not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from sharprank.models import pair_text
from sharprank.models.pair_text import PairTokenizer

TOKENIZERS = ["tiny_bert", "tiny_xlmr", "tiny_modernbert"]
TEXT = "the cat sat, and what did the dog read? [SEP] 的中文 naïve </s> " * 3


@pytest.fixture(params=TOKENIZERS)
def tokenizer(request):
    return AutoTokenizer.from_pretrained(request.getfixturevalue(request.param))


def own_pair(tokenizer, query, passage, max_length):
    """As sentence-transformers calls it, with lists: `tokenizer(query, "")` would give no pair."""
    whole = tokenizer([query], [passage], truncation="only_second", max_length=max_length, return_token_type_ids=True)
    return whole["input_ids"][0], whole["token_type_ids"][0]


@settings(max_examples=60)
@given(query=st.text(max_size=12), passage=st.text(max_size=60))
@pytest.mark.parametrize("name", TOKENIZERS)
def test_spliced_pairs_equal_the_tokenizers_own(name, query, passage, request):
    tokenizer = AutoTokenizer.from_pretrained(request.getfixturevalue(name))
    pairs = PairTokenizer(tokenizer, max_length=100)
    ids, types = pairs.encode([(query, passage)])[0]
    expected_ids, expected_types = own_pair(tokenizer, query, passage, 100)
    assert ids.tolist() == expected_ids
    assert types.tolist() == expected_types


def test_long_passages_are_cut_exactly_as_only_second_does(tokenizer):
    pairs = PairTokenizer(tokenizer, max_length=40)
    ids, types = pairs.encode([("what did the dog read", TEXT)])[0]
    expected_ids, expected_types = own_pair(tokenizer, "what did the dog read", TEXT, 40)
    assert len(ids) == 40
    assert ids.tolist() == expected_ids
    assert types.tolist() == expected_types


def test_a_query_longer_than_the_pair_is_cut_to_three_quarters_and_the_passage_keeps_the_rest(tokenizer):
    pairs = PairTokenizer(tokenizer, max_length=40)
    ids, _ = pairs.encode([(TEXT, TEXT)])[0]
    assert len(ids) == 40
    assert len(pairs.queries([TEXT])[0]) == 30
    first = len(pairs.layout.before)
    np.testing.assert_array_equal(ids[first : first + 30], pairs.queries([TEXT])[0])


def test_every_distinct_text_is_tokenised_once(tokenizer, monkeypatch):
    pairs = PairTokenizer(tokenizer, max_length=60)
    pairs.can_splice([("cat", "dog")])
    seen = []
    original = pair_text._encode
    monkeypatch.setattr(pair_text, "_encode", lambda which, texts: seen.extend(texts) or original(which, texts))
    pairs.encode([("cat", f"dog {i % 3}") for i in range(30)])
    assert sorted(seen) == ["cat", "dog 0", "dog 1", "dog 2"]


def test_a_tokenizer_whose_pairs_are_not_its_parts_falls_back_and_says_so(tiny_bert, capsys):
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    pairs = PairTokenizer(tokenizer, max_length=60)
    pairs.layout.between[:] = tokenizer.mask_token_id  # the layout no longer tells the truth
    found = pairs.encode([("the cat", "a dog"), ("read", "a tree")])
    assert "pair by pair" in capsys.readouterr().err
    assert found[0][0].tolist() == own_pair(tokenizer, "the cat", "a dog", 60)[0]


def test_no_pairs_are_no_work(tokenizer):
    assert PairTokenizer(tokenizer, max_length=60).encode([]) == []


@pytest.mark.parametrize("tokenizer", ["tiny_tokenizer", "tiny_unigram_tokenizer"])
def test_an_empty_passage_is_still_a_pair_and_does_not_end_splicing(request, tokenizer):
    pairs = PairTokenizer(request.getfixturevalue(tokenizer), max_length=32)
    assert pairs.can_splice([("river", ""), ("", "river"), ("", "")])
    assert len(pairs.encode([("river", "")])[0][0]) == pairs.num_special + 1
