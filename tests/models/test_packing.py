"""Packed rows give the scores and gradients of padded rows, for every family, and nothing leaks between sequences."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from sharprank.models.attention import packed_attention
from sharprank.models.batches import TokenBatch, model_inputs, plan_batches
from sharprank.models.packing import (
    ATTENTION_NAME,
    Packing,
    can_pack,
    enable_packing,
    first_position,
    reads_first_tokens,
    usable_positions,
    uses_token_types,
)

LENGTHS = (5, 40, 1, 17, 90, 2)
CPU = torch.device("cpu")
FAMILIES = ["tiny_bert", "tiny_xlmr", "tiny_modernbert", "tiny_modernbert_mean"]


@pytest.fixture
def family(request):
    """(padded model, packed model) of one family, with the same weights and no dropout."""
    name = request.param
    folder = request.getfixturevalue(name.removesuffix("_mean"))
    extra = {"classifier_pooling": "mean"} if name.endswith("_mean") else {}
    padded = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32, **extra)
    for module in padded.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    if hasattr(padded.config, "attention_dropout"):
        padded.config.attention_dropout = 0.0
    padded.set_attn_implementation("eager")
    packed = copy.deepcopy(padded)
    assert enable_packing(packed, first_tokens_only=reads_first_tokens(packed))
    return padded, packed


def random_batch(model, lengths=LENGTHS) -> TokenBatch:
    rng = np.random.default_rng(0)
    ids = [rng.integers(5, model.config.vocab_size, size=n) for n in lengths]
    types = [np.repeat([0, 1], [n // 3, n - n // 3]) for n in lengths]
    return TokenBatch.of(list(zip(ids, types, strict=True)))


def scores_of(model, batch: TokenBatch) -> torch.Tensor:
    inputs = model_inputs(batch, model.config, device=CPU, token_types=uses_token_types(model.config))
    return model(**inputs).logits[:, 0]


def gradients(model, batch: TokenBatch) -> dict[str, torch.Tensor]:
    model.zero_grad()
    (scores_of(model, batch) ** 2).sum().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("family", FAMILIES, indirect=True)
def test_packed_scores_are_those_of_padded_rows(family):
    padded, packed = family
    batch = random_batch(padded)
    expected = scores_of(padded.eval(), batch)
    assert expected.std() > 1e-2  # the texts really differ
    torch.testing.assert_close(scores_of(packed.eval(), batch), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", FAMILIES, indirect=True)
@pytest.mark.parametrize("checkpointing", [False, True])
def test_packed_gradients_are_those_of_padded_rows(family, checkpointing):
    padded, packed = family
    batch = random_batch(padded)
    expected = gradients(padded.train(), batch)
    if checkpointing:
        packed.gradient_checkpointing_enable({"use_reentrant": False})
    found = gradients(packed.train(), batch)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        if gradient.norm() > 1e-6:
            assert (found[name] - gradient).norm() <= 1e-4 * gradient.norm(), name


@pytest.mark.parametrize("family", FAMILIES, indirect=True)
def test_packed_scores_under_bf16_autocast_stay_close_to_padded_ones(family):
    padded, packed = family
    batch = random_batch(padded)
    expected = scores_of(padded.eval(), batch)
    with torch.autocast("cpu", torch.bfloat16):
        found = scores_of(packed.train(), batch)
        found.sum().backward()
    assert (found.float() - expected).abs().max() < 0.1 * expected.std()


@pytest.mark.parametrize("family", FAMILIES, indirect=True)
def test_a_sequence_does_not_feel_its_neighbours(family):
    _, packed = family
    packed.eval()
    batch = random_batch(packed)
    alone = torch.cat([scores_of(packed, batch.select([i])) for i in range(len(LENGTHS))])
    torch.testing.assert_close(scores_of(packed, batch), alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", FAMILIES, indirect=True)
def test_padded_batches_still_honour_their_padding_after_packing_is_enabled(family):
    padded, packed = family
    batch = random_batch(padded)
    inputs = model_inputs(batch, padded.config, device=CPU, token_types=uses_token_types(padded.config))
    assert "attention_mask" in inputs
    expected = padded.eval()(**inputs).logits
    torch.testing.assert_close(packed.eval()(**inputs).logits, expected, atol=1e-5, rtol=0)


def test_plain_sdpa_on_a_packed_row_would_be_wrong(tiny_bert):
    """Why the registered function exists: SDPA without a mask lets the sequences of a row attend to each other."""
    model = AutoModelForSequenceClassification.from_pretrained(tiny_bert, dtype=torch.float32).eval()
    batch = random_batch(model)
    right = scores_of(model, batch)
    positions = torch.cat([torch.arange(n) for n in LENGTHS])[None]
    row = {"input_ids": torch.from_numpy(batch.ids)[None], "token_type_ids": torch.from_numpy(batch.types)[None]}
    hidden = model.bert(**row, position_ids=positions).last_hidden_state
    starts = Packing.of(LENGTHS).starts
    wrong = model.classifier(torch.tanh(model.bert.pooler.dense(hidden[0, starts])))[:, 0]
    assert (wrong - right).abs().max() > 1e-2


def test_xlmr_positions_start_behind_the_padding_index(tiny_xlmr):
    model = AutoModelForSequenceClassification.from_pretrained(tiny_xlmr)
    assert first_position(model.config) == model.config.pad_token_id + 1 == 2
    assert usable_positions(model.config) == 128
    assert not uses_token_types(model.config)


def test_a_mask_beside_a_pack_is_refused():
    q = torch.zeros(1, 2, 4, 8)
    with pytest.raises(ValueError, match="without an attention mask"):
        packed_attention(None, q, q, q, torch.ones(1, 1, 4, 4), packing=Packing.of([2, 2]))
    with pytest.raises(ValueError, match="one row"):
        two = torch.zeros(2, 2, 4, 8)
        packed_attention(None, two, two, two, None, packing=Packing.of([2, 2]))


@pytest.mark.parametrize(("causal", "window"), [(False, None), (True, None), (False, 20)])
def test_bfloat16_attention_is_that_of_float32_at_every_length(causal, window):
    lengths = (5, 63, 64, 90, 256, 257)
    module = torch.nn.Module()
    module.is_causal = causal
    torch.manual_seed(0)
    states = [torch.randn(1, 3, sum(lengths), 16) for _ in range(3)]

    def attend(dtype: torch.dtype) -> torch.Tensor:
        q, k, v = (x.to(dtype) for x in states)
        with torch.inference_mode():
            out, _ = packed_attention(module, q, k, v, None, sliding_window=window, packing=Packing.of(lengths))
        return out.float()

    torch.testing.assert_close(attend(torch.bfloat16), attend(torch.float32), atol=0.03, rtol=0.03)


def test_families_that_cannot_pack_are_left_alone():
    from transformers import DistilBertConfig, DistilBertForSequenceClassification

    config = DistilBertConfig(vocab_size=50, dim=16, n_layers=1, n_heads=2, hidden_dim=32)
    model = DistilBertForSequenceClassification(config)
    before = model.config._attn_implementation
    assert not can_pack(model)
    assert not enable_packing(model, first_tokens_only=True)
    assert model.config._attn_implementation == before


def test_the_saved_configuration_does_not_name_our_attention(tiny_bert, tmp_path):
    model = AutoModelForSequenceClassification.from_pretrained(tiny_bert, dtype=torch.float32)
    enable_packing(model, first_tokens_only=True)
    model.save_pretrained(tmp_path)
    assert ATTENTION_NAME not in (tmp_path / "config.json").read_text()
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path, dtype=torch.float32)
    assert again.config._attn_implementation != ATTENTION_NAME


def test_attention_dropout_drops_the_share_it_should_and_repeats_under_a_seed(tiny_bert):
    model = AutoModelForSequenceClassification.from_pretrained(
        tiny_bert, dtype=torch.float32, attention_probs_dropout_prob=0.5, hidden_dropout_prob=0.0
    )
    enable_packing(model, first_tokens_only=True)
    batch = random_batch(model)
    model.train()
    torch.manual_seed(7)
    first = scores_of(model, batch)
    torch.manual_seed(7)
    second = scores_of(model, batch)
    other = scores_of(model, batch)
    torch.testing.assert_close(first, second, atol=0, rtol=0)
    assert (first - other).abs().max() > 1e-3


def test_dropout_keeps_the_mean_of_the_attention_output():
    torch.manual_seed(0)
    q = torch.randn(1, 2, 60, 8, requires_grad=True)
    value = torch.rand(1, 2, 60, 8)
    packing = Packing.of([20, 40])
    runs = [packed_attention(None, q, q, value, None, dropout=0.1, packing=packing)[0] for _ in range(400)]
    expected = packed_attention(None, q, q, value, None, packing=packing)[0]
    torch.testing.assert_close(torch.stack(runs).mean(0), expected, atol=0.05, rtol=0)
    zeroed = (runs[0] - expected).abs().max()
    assert zeroed > 1e-3


def test_dropout_gradients_agree_with_finite_differences():
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, 1, 5, 4, dtype=torch.float64, requires_grad=True) for _ in range(3))

    def attend(q, k, v):
        torch.manual_seed(3)
        return packed_attention(None, q, k, v, None, dropout=0.3, sliding_window=3, packing=Packing.of([3, 2]))[0]

    assert torch.autograd.gradcheck(attend, (q, k, v))


def test_packs_keep_the_order_and_the_budget_and_padded_plans_count_their_padding():
    lengths = np.asarray([10, 30, 5, 60, 20, 8])
    packs = list(plan_batches(lengths, budget=50, packed=True))
    assert packs == [[0, 1, 2], [3], [4, 5]]
    padded = list(plan_batches(lengths, budget=50, packed=False))
    assert sorted(index for batch in padded for index in batch) == list(range(6))
    for batch in padded:
        assert len(batch) == 1 or max(lengths[batch]) * len(batch) <= 50
