"""Long passages: windows that overlap, cover everything, and never loop; the best of them is the passage's score."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sharprank.models.scoring import PairScorer
from sharprank.models.windows import WindowRule, pair_windows

QUERY = "what is a cat"
LONG = " ".join(["the tree and the river", "a cat is not a dog", "open the file read it"] * 30)


@pytest.fixture(scope="module", params=["tiny_bert", "tiny_xlmr"])
def scorer(request) -> PairScorer:
    return PairScorer.load(str(request.getfixturevalue(request.param)), dtype="float32", device="cpu")


@given(num_tokens=st.integers(0, 500), room=st.integers(1, 60), overlap=st.integers(0, 100))
def test_windows_cover_every_token_in_order_whatever_the_overlap(num_tokens, room, overlap):
    windows = list(WindowRule(overlap=overlap, max_windows=10_000).cut(num_tokens, room))
    assert windows[0].start == 0 and windows[-1].stop == num_tokens
    assert all(0 <= w.stop - w.start <= room for w in windows)
    for before, after in itertools.pairwise(windows):
        assert before.start < after.start <= before.stop
        assert before.stop - after.start == min(overlap, room // 2)


def test_no_more_windows_than_allowed_are_cut():
    windows = list(WindowRule(overlap=5, max_windows=3).cut(10_000, 20))
    assert [(w.start, w.stop) for w in windows] == [(0, 20), (15, 35), (30, 50)]


@pytest.mark.parametrize("wrong", [{"overlap": -1}, {"max_windows": 0}, {"length": 4}])
def test_a_rule_that_cannot_work_is_refused(wrong):
    with pytest.raises(ValueError, match="needs overlap"):
        WindowRule(**wrong)


def test_a_passage_that_fits_scores_as_without_windows(scorer):
    pairs = [(QUERY, "a cat is not a dog"), ("river", "the tree"), ("river", "")]
    np.testing.assert_array_equal(scorer.score(pairs, windows=WindowRule()), scorer.score(pairs))


def test_a_long_passage_scores_as_its_best_window_even_when_all_scores_are_negative(scorer):
    rule = WindowRule(overlap=8)
    sequences, owners = pair_windows(scorer.pair_tokenizer, [(QUERY, LONG)], rule)
    assert len(sequences) > 3 and set(owners.tolist()) == {0}
    alone = np.concatenate([values for _, values in scorer._batches(sequences)])
    best = scorer.score([(QUERY, LONG)], windows=rule)[0]
    assert best == pytest.approx(alone.max(), abs=1e-6)
    head = scorer.score([(QUERY, LONG)])[0]
    assert best >= head - 1e-6


def test_a_best_window_below_zero_stays_below_zero(scorer):
    head = scorer.model.classifier
    head = getattr(head, "out_proj", head)
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.constant_(head.bias, -3.0)
    assert scorer.score([(QUERY, LONG), (QUERY, "")], windows=WindowRule()).tolist() == [-3.0, -3.0]


def test_no_window_is_longer_than_asked_and_a_query_that_would_fill_it_is_cut(scorer):
    for length in (16, 40, None):
        sequences, _ = pair_windows(
            scorer.pair_tokenizer, [(LONG, LONG)], WindowRule(overlap=1000, max_windows=7, length=length)
        )
        assert len(sequences) == 7
        assert max(len(ids) for ids, _ in sequences) <= (length or scorer.pair_tokenizer.max_length)


def test_a_tokenizer_whose_pairs_cannot_be_spliced_gives_nearly_the_same_windows(scorer):
    rule = WindowRule(overlap=8, length=40)
    spliced, _ = pair_windows(scorer.pair_tokenizer, [(QUERY, LONG)], rule)
    scorer.pair_tokenizer._splices = False
    try:
        joined, _ = pair_windows(scorer.pair_tokenizer, [(QUERY, LONG)], rule)
    finally:
        scorer.pair_tokenizer._splices = True
    assert len(joined) == len(spliced) and joined[0][0][:20].tolist() == spliced[0][0][:20].tolist()
    assert max(len(ids) for ids, _ in joined) <= 2 * 40 < scorer.pair_tokenizer.max_length
