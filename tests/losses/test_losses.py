"""Losses against hand numbers and other libraries; sums that add up over any cut into micro-batches."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sharprank.losses.catalog import LOSSES
from sharprank.losses.listwise import listwise_ce
from sharprank.losses.pointwise import bce


def ragged(lengths: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(sum(lengths))
    scores = torch.randn(sum(lengths), generator=generator, dtype=torch.float64)
    relevance = torch.cat([torch.tensor([1.0] + [0.0] * (n - 1)) for n in lengths])
    return scores.float(), relevance


def test_listwise_ce_of_equal_scores_is_ln_of_the_group_length():
    loss = listwise_ce(torch.zeros(10), [8, 2], torch.tensor([1.0] + [0.0] * 7 + [1.0, 0.0]))
    assert loss.item() == pytest.approx(math.log(8) + math.log(2), abs=1e-6)


def test_listwise_ce_by_hand():
    # scores 2, 1, 0: softmax of the first is e^2 / (e^2 + e + 1) = 0.66524
    loss = listwise_ce(torch.tensor([2.0, 1.0, 0.0]), [3], torch.tensor([1.0, 0.0, 0.0]))
    assert loss.item() == pytest.approx(-math.log(0.6652409557748219), abs=1e-6)


def test_listwise_ce_is_torch_cross_entropy_on_full_groups():
    scores, relevance = ragged([5, 5, 5])
    expected = torch.nn.functional.cross_entropy(scores.view(3, 5), torch.zeros(3, dtype=torch.long), reduction="sum")
    torch.testing.assert_close(listwise_ce(scores, [5, 5, 5], relevance), expected)


def test_several_positives_share_the_target():
    scores = torch.tensor([1.0, 3.0, 0.5])
    log_p = torch.log_softmax(scores, 0)
    loss = listwise_ce(scores, [3], torch.tensor([1.0, 1.0, 0.0]))
    assert loss.item() == pytest.approx(-(log_p[0] + log_p[1]).item() / 2, abs=1e-6)


def test_listwise_ce_agrees_with_flag_embeddings_group_loss():
    from FlagEmbedding.abc.finetune.reranker.AbsModeling import AbsRerankerModel

    scores, relevance = ragged([4, 4])
    cross_entropy = torch.nn.CrossEntropyLoss(reduction="mean")  # what AbsRerankerModel keeps and applies to the groups
    assert "cross_entropy" in AbsRerankerModel.__init__.__code__.co_names
    expected = cross_entropy(scores.view(2, 4), torch.zeros(2, dtype=torch.long))
    torch.testing.assert_close(listwise_ce(scores, [4, 4], relevance) / 2, expected)


def test_bce_is_that_of_sentence_transformers():
    from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss

    scores, relevance = ragged([4, 3])
    reference = BinaryCrossEntropyLoss.__new__(BinaryCrossEntropyLoss)
    torch.nn.Module.__init__(reference)
    expected = torch.nn.BCEWithLogitsLoss()(scores, relevance)
    assert "BCEWithLogitsLoss" in BinaryCrossEntropyLoss.__init__.__code__.co_names
    torch.testing.assert_close(bce(scores, [4, 3], relevance) / 7, expected)


@settings(deadline=None, max_examples=40)
@given(lengths=st.lists(st.integers(2, 9), min_size=1, max_size=6), data=st.data())
@pytest.mark.parametrize("name", sorted(LOSSES))
def test_the_sum_does_not_depend_on_how_the_groups_are_cut(name, lengths, data):
    loss = LOSSES[name]
    scores, relevance = ragged(lengths)
    cut = data.draw(st.integers(0, len(lengths)))
    at = sum(lengths[:cut])
    parts = [(scores[:at], lengths[:cut], relevance[:at]), (scores[at:], lengths[cut:], relevance[at:])]
    total = sum(loss.total(*part).item() for part in parts if part[1])
    assert total == pytest.approx(loss.total(scores, lengths, relevance).item(), rel=1e-4)
    assert loss.count(lengths) == sum(loss.count(part[1]) for part in parts)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_a_short_group_is_not_filled_up_with_somebody_elses_pairs(name):
    loss = LOSSES[name]
    scores, relevance = ragged([3, 8, 2])
    parts = zip(scores.split([3, 8, 2]), relevance.split([3, 8, 2]), strict=True)
    groups = [loss.total(s, [len(s)], r).item() for s, r in parts]
    assert loss.total(scores, [3, 8, 2], relevance).item() == pytest.approx(sum(groups), rel=1e-5)


def test_gradients_of_padded_groups_are_finite():
    scores = torch.randn(5, requires_grad=True)
    listwise_ce(scores, [2, 3], torch.tensor([1.0, 0.0, 1.0, 0.0, 0.0])).backward()
    assert torch.isfinite(scores.grad).all()
    assert scores.grad[:2].sum().abs() < 1e-6
