"""`Reranker`: scores as in training, a float for one flat pair, a list for a list, best passages first."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from sharprank import Reranker
from sharprank.errors import UserError
from sharprank.models.scoring import PairScorer

PASSAGES = ["a cat is not a dog", "the tree and the river", "open the file, read it"]


@pytest.fixture
def reranker(tiny_bert) -> Reranker:
    return Reranker.from_pretrained(str(tiny_bert), dtype="float32", device="cpu")


def test_one_flat_pair_gives_a_float_and_a_list_gives_a_list(reranker):
    one = reranker.compute_score(("what is a cat", PASSAGES[0]))
    listed = reranker.compute_score([("what is a cat", PASSAGES[0])])
    assert isinstance(one, float) and isinstance(listed, list)
    assert listed == [pytest.approx(one, abs=1e-6)]
    assert reranker.compute_score(["what is a cat", PASSAGES[0]]) == pytest.approx(one, abs=1e-6)
    assert reranker.compute_score([]) == []


def test_two_pairs_are_not_mistaken_for_one_flat_pair(reranker):
    scores = reranker.compute_score([("cat", "dog"), ("tree", "river")])
    assert len(scores) == 2


def test_scores_are_those_of_the_scorer_that_training_and_evaluation_use(reranker, tiny_bert):
    pairs = [("what is a cat", passage) for passage in PASSAGES]
    expected = PairScorer.load(str(tiny_bert), dtype="float32", device="cpu").score(pairs)
    np.testing.assert_allclose(reranker.compute_score(pairs), expected, atol=1e-6)


def test_normalize_gives_the_sigmoid(reranker):
    pair = ("what is a cat", PASSAGES[0])
    raw = reranker.compute_score(pair)
    assert reranker.compute_score(pair, normalize=True) == pytest.approx(torch.tensor(raw).sigmoid().item(), abs=1e-6)


def test_rank_puts_the_best_first_and_keeps_the_places_given(reranker):
    ranked = reranker.rank("what is a cat", PASSAGES)
    scores = reranker.compute_score([("what is a cat", passage) for passage in PASSAGES])
    assert [r.index for r in ranked] == sorted(range(3), key=lambda i: -scores[i])
    assert all(r.passage == PASSAGES[r.index] and r.score == pytest.approx(scores[r.index], abs=1e-6) for r in ranked)
    assert reranker.rank("what is a cat", PASSAGES, top_k=1) == ranked[:1]
    assert reranker.rank("what is a cat", []) == []


@pytest.mark.parametrize("pairs", [[("cat",)], [("cat", None)], [("a", "b", "c")], ["cat", 3]])
def test_what_is_no_pair_is_refused_with_its_value(reranker, pairs):
    with pytest.raises(ValueError, match="a pair is"):
        reranker.compute_score(pairs)


def test_a_length_beyond_the_model_is_refused(tiny_bert):
    with pytest.raises(UserError, match="128 positions"):
        Reranker.from_pretrained(str(tiny_bert), max_length=512)


def test_an_unknown_device_or_dtype_is_a_user_error(tiny_bert):
    with pytest.raises(UserError, match="device 'gpu'"):
        Reranker.from_pretrained(str(tiny_bert), device="gpu")
    with pytest.raises(UserError, match="dtype 'int3'"):
        Reranker.from_pretrained(str(tiny_bert), dtype="int3")


def test_importing_the_name_costs_torch_only_when_it_is_used():
    code = "import sharprank, sys; assert 'torch' not in sys.modules; sharprank.Reranker; assert 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_bfloat16_scores_stay_close_and_rank_alike(tiny_bert, reranker):
    pairs = [(query, passage) for query in ("cat", "read the file", "river") for passage in PASSAGES]
    low = Reranker.from_pretrained(str(tiny_bert), dtype="bfloat16", device="cpu").compute_score(pairs)
    full = reranker.compute_score(pairs)
    assert np.corrcoef(low, full)[0, 1] > 0.99
