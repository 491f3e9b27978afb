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


QUERIES = ["what is a cat", "read the file"]
GROUPS = [["a cat is small", "the dog", "blue river"], ["open and read it", "a tree", "green house and the river"]]


@pytest.fixture
def still_model(tiny_bert):
    """(model without dropout in training mode, tokenizer): what the other libraries compute their losses on."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    model = AutoModelForSequenceClassification.from_pretrained(tiny_bert, dtype=torch.float32, **still)
    return model.train(), AutoTokenizer.from_pretrained(tiny_bert)


def scores_of(model, tokenizer):
    pairs = [[query, passage] for query, group in zip(QUERIES, GROUPS, strict=True) for passage in group]
    batch = tokenizer(pairs, padding=True, return_tensors="pt")
    return model(**batch).logits[:, 0], batch


def test_listwise_ce_is_the_loss_of_flag_embeddings_reranker(still_model):
    from FlagEmbedding.finetune.reranker.encoder_only.base.modeling import CrossEncoderModel

    model, tokenizer = still_model
    scores, batch = scores_of(model, tokenizer)
    theirs = CrossEncoderModel(model, tokenizer=tokenizer, train_batch_size=2).train()
    expected = theirs(pair=batch, teacher_scores=None).loss
    torch.testing.assert_close(listwise_ce(scores, [3, 3], torch.tensor([1.0, 0, 0] * 2)) / 2, expected)


def test_bce_is_the_loss_of_sentence_transformers(still_model, tiny_bert):
    from sentence_transformers import CrossEncoder
    from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss

    model, tokenizer = still_model
    scores, _ = scores_of(model, tokenizer)
    theirs = BinaryCrossEntropyLoss(CrossEncoder(str(tiny_bert), device="cpu").eval())
    queries = [query for query in QUERIES for _ in range(3)]
    passages = [passage for group in GROUPS for passage in group]
    labels = torch.tensor([1.0, 0, 0] * 2)
    expected = theirs([queries, passages], labels)
    torch.testing.assert_close(bce(scores, [3, 3], labels) / 6, expected, atol=1e-5, rtol=1e-5)


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
