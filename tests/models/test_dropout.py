"""Byte dropout drops the share it says, keeps the mean, repeats under torch's seed and leaves weights alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from sharprank.models.dropout import ByteDropout, ByteMask, set_dropout, use_byte_dropout


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_it_drops_the_share_it_says_and_keeps_the_mean(share):
    torch.manual_seed(0)
    out = ByteDropout(share)(torch.ones(1000, 201))
    dropped = (out == 0).float().mean().item()
    assert dropped == pytest.approx(round(share * 256) / 256, abs=0.004)
    assert out.mean().item() == pytest.approx(1.0, abs=0.02)


def test_the_gradient_passes_where_the_value_passed():
    torch.manual_seed(0)
    x = torch.randn(50, 7, requires_grad=True)
    out = ByteDropout(0.3)(x)
    out.sum().backward()
    torch.testing.assert_close(out, x * x.grad)


def test_it_repeats_under_torchs_seed_and_changes_without():
    layer, x = ByteDropout(0.3), torch.ones(64, 64)
    torch.manual_seed(1)
    first, other = layer(x), layer(x)
    torch.manual_seed(1)
    assert torch.equal(layer(x), first)
    assert not torch.equal(first, other)


def test_recomputation_under_gradient_checkpointing_sees_the_same_mask():
    torch.manual_seed(0)
    layer = nn.Sequential(nn.Linear(8, 8), ByteDropout(0.5), nn.Linear(8, 1))
    x = torch.randn(4, 8, requires_grad=True)
    torch.manual_seed(5)
    layer(x).sum().backward()
    expected, x.grad = x.grad, None
    torch.manual_seed(5)
    checkpoint(layer, x, use_reentrant=False).sum().backward()
    torch.testing.assert_close(x.grad, expected)


def test_evaluation_and_a_share_of_zero_change_nothing():
    x = torch.randn(5, 5)
    assert torch.equal(ByteDropout(0.5).eval()(x), x)
    assert torch.equal(ByteDropout(0.0)(x), x)
    assert not ByteMask(0.0)


def test_a_model_keeps_its_weights_and_their_names():
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.2))
    before = model.state_dict()
    use_byte_dropout(model)
    assert isinstance(model[1], ByteDropout) and model[1].p == 0.2
    assert model.state_dict().keys() == before.keys()


@pytest.mark.parametrize("family", ["tiny_bert", "tiny_xlmr", "tiny_modernbert"])
def test_one_share_for_a_whole_model_reaches_its_attention_and_not_its_configuration(family, request):
    from transformers import AutoModelForSequenceClassification

    extra = {"attention_dropout": 0.4} if family == "tiny_modernbert" else {}
    model = AutoModelForSequenceClassification.from_pretrained(request.getfixturevalue(family), **extra).train()
    before = model.config.to_dict()
    set_dropout(model, 0.0)
    ids = torch.arange(8, 20)[None]
    assert torch.equal(model(input_ids=ids).logits, model(input_ids=ids).logits)
    assert model.config.to_dict() == before
