"""oneDNN's products are torch's up to rounding, and never those of weights that have changed since."""

from __future__ import annotations

import copy
import io

import numpy as np
import pytest
import torch
from torch import nn

from sharprank.models import onednn
from sharprank.models.bi_encoder import BiEncoder
from sharprank.models.cross_encoder import load_cross_encoder
from sharprank.models.onednn import OneDnnLinear, laid_out, use_onednn
from sharprank.models.scoring import PairScorer

PAIRS = [("what is a cat", "a cat is not a dog"), ("sort the table", "the key and the value of the row " * 3)]

needs_it = pytest.mark.skipif(not onednn.works(torch.float32), reason="this torch or processor has no such products")


def both(*shape: int, bias: bool = True, dtype: torch.dtype = torch.float32) -> tuple[nn.Linear, OneDnnLinear]:
    """A linear layer, and its copy through oneDNN."""
    torch.manual_seed(0)
    plain = nn.Linear(*shape, bias=bias).to(dtype)
    fast = nn.Sequential(copy.deepcopy(plain))
    use_onednn(fast)
    assert isinstance(fast[0], OneDnnLinear)
    return plain, fast[0]


@needs_it
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("keeps", [True, False])
def test_products_are_torchs_up_to_rounding(dtype, bias, keeps):
    if not onednn.works(dtype):
        pytest.skip("not in this precision")
    plain, fast = both(48, 80, bias=bias, dtype=dtype)
    close = {"rtol": 1e-5, "atol": 1e-6} if dtype == torch.float32 else {"rtol": 2e-2, "atol": 2e-3}
    x = torch.randn(3, 17, 48).to(dtype)
    with torch.inference_mode():
        fast.keeps = keeps
        for part in (x, x[:, 0], x.transpose(0, 1), x[0, 0], x[:0], x[:1]):  # strided, one-dimensional, empty
            torch.testing.assert_close(fast(part), plain(part), **close)
        gelu = torch.nn.functional.gelu(plain(x).float()).to(dtype)
        torch.testing.assert_close(fast.product(x, activation="gelu"), gelu, **close)


@needs_it
def test_gradients_and_autocast_are_left_to_torch():
    plain, fast = both(8, 6)
    x = torch.randn(5, 8)
    for layer in (plain, fast):
        layer(x).square().sum().backward()
    assert torch.equal(fast.weight.grad, plain.weight.grad)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert fast(x).dtype == torch.bfloat16
    with torch.inference_mode():
        assert not fast.takes(x.double())
        assert fast.takes(x)


@needs_it
def test_laid_out_weights_are_let_go_after_the_call_and_whatever_happens_in_it():
    _, fast = both(8, 6)
    x = torch.ones(2, 8)
    with pytest.raises(ZeroDivisionError), laid_out(fast), torch.inference_mode():
        fast(x)
        assert fast._laid_out is not None
        raise ZeroDivisionError
    assert fast._laid_out is None
    torch.save(nn.Sequential(copy.deepcopy(fast)), io.BytesIO())


@needs_it
def test_weights_beyond_the_limit_are_not_kept_twice(monkeypatch):
    plain, fast = both(8, 6)
    monkeypatch.setattr(onednn, "LAID_OUT_BYTES", fast.weight.nbytes - 1)
    with laid_out(fast), torch.inference_mode():
        torch.testing.assert_close(fast(torch.ones(2, 8)), plain(torch.ones(2, 8)))
        assert fast._laid_out is None


@pytest.mark.parametrize("folder", ["tiny_bert", "tiny_xlmr", "tiny_modernbert"])
def test_scores_follow_weights_that_changed_between_two_calls(folder, request):
    path = str(request.getfixturevalue(folder))
    scorer = PairScorer.load(path, device="cpu", dtype="float32")
    scorer.score(PAIRS)
    changed, _ = load_cross_encoder(path, for_training=False)
    for model in (scorer.model, changed):
        for weights in model.parameters():
            weights.data.mul_(1.1)  # leaves no trace in the parameter's version
    expected = PairScorer(changed, scorer.pair_tokenizer, device=torch.device("cpu")).score(PAIRS)
    np.testing.assert_array_equal(scorer.score(PAIRS), expected)


@needs_it
@pytest.mark.parametrize("folder", ["tiny_bert", "tiny_xlmr"])
def test_scores_with_and_without_agree(folder, request, monkeypatch):
    path = str(request.getfixturevalue(folder))
    scorer = PairScorer.load(path, device="cpu", dtype="float32")
    found = scorer.score(PAIRS)
    monkeypatch.setattr(onednn, "works", lambda dtype: False)
    np.testing.assert_allclose(found, scorer.score(PAIRS), atol=1e-5)


@needs_it
def test_mining_and_scoring_use_it_without_being_asked(tiny_encoder, tiny_bert):
    loaded = BiEncoder.load(str(tiny_encoder), device="cpu"), PairScorer.load(str(tiny_bert), device="cpu")
    for model in (one.model for one in loaded):
        linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
        assert linear and all(type(module) is OneDnnLinear for module in linear)
