"""Encoders with our pooling head: the pooling says what it is, packs equal padded rows, checkpoints come back."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from sharprank.errors import UserError
from sharprank.models.batches import TokenBatch, model_inputs
from sharprank.models.checkpoint import open_reranker
from sharprank.models.cross_encoder import save_cross_encoder
from sharprank.models.kinds import Asked
from sharprank.models.packing import uses_token_types
from sharprank.models.scoring import PairScorer

PAIRS = [("a cat", "the dog can read"), ("read", "write the file to the house " * 3), ("what is it", "red")]
POOLINGS = ["cls", "mean", "last", "weighted"]
CPU = torch.device("cpu")


def by_hand(folder, model, pooling: str) -> list[float]:
    """Scores from the plain encoder's states, one pair at a time, by the definition of the pooling."""
    encoder, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    scores = []
    for query, passage in PAIRS:
        with torch.no_grad():
            output = encoder(**tokenizer([query], [passage], return_tensors="pt"), output_hidden_states=True)
        states = output.last_hidden_state[0]
        if pooling == "weighted":  # two layers: the states of the embeddings, and of layers 1 and 2
            weights = model.score.layer_weights.detach()
            layers = torch.stack(output.hidden_states)[model.score.first_layer :, 0]
            states = (weights[:, None, None] * layers).sum(0) / weights.sum()
        pooled = {"cls": states[0], "last": states[-1]}.get(pooling, states.mean(0))
        scores.append(model.score.linear(pooled).item())
    return scores


@pytest.mark.parametrize("folder", ["tiny_encoder", "tiny_modernbert"])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_scores_are_those_of_the_definition_and_packs_are_exact(folder, pooling, request):
    folder = request.getfixturevalue(folder)
    checkpoint = open_reranker(str(folder), asked=Asked(pooling=pooling))
    batch = TokenBatch.of(checkpoint.pair_tokenizer().encode(PAIRS))
    found = []
    for packed in (False, True):
        model = checkpoint.load(seed=3, packed=packed, for_training=True).eval()
        if pooling == "weighted":
            with torch.no_grad():
                model.score.layer_weights.copy_(torch.tensor([0.5, 2.0]))
        inputs = model_inputs(batch, model.config, device=CPU, token_types=uses_token_types(model.config))
        assert ("packing" in inputs) == packed
        scores = model(**inputs).logits[:, 0]
        np.testing.assert_allclose(scores.detach(), by_hand(folder, model, pooling), atol=1e-5)
        (scores**2).sum().backward()
        found.append({name: p.grad for name, p in model.named_parameters()})
    padded, packed_gradients = found
    for name, gradient in padded.items():
        assert gradient is not None, f"{name} would never learn"
        assert (packed_gradients[name] - gradient).norm() <= 1e-4 * gradient.norm() + 1e-6, name


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_head_is_saved_and_reloaded_with_the_model(tiny_encoder, tmp_path, pooling, capsys):
    checkpoint = open_reranker(str(tiny_encoder), asked=Asked(pooling=pooling))
    model = checkpoint.load(seed=5, for_training=True)
    with torch.no_grad():
        model.score.linear.bias.fill_(7.0)
    save_cross_encoder(model, checkpoint.tokenizer, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == ["BertModel"]
    again = PairScorer.load(str(tmp_path), device="cpu", seed=99)
    assert "untrained" not in capsys.readouterr().err
    np.testing.assert_allclose(again.score(PAIRS), by_hand(tiny_encoder, model, pooling), atol=1e-5)
    assert type(AutoModel.from_pretrained(tmp_path)).__name__ == "BertModel"


@pytest.mark.parametrize("pooling", ["cls", "mean", "last"])
def test_sentence_transformers_loads_a_pooled_reranker_with_the_same_scores(tiny_encoder, tmp_path, pooling):
    from sentence_transformers import CrossEncoder

    checkpoint = open_reranker(str(tiny_encoder), asked=Asked(pooling=pooling))
    save_cross_encoder(checkpoint.load(seed=5, for_training=True), checkpoint.tokenizer, tmp_path)
    expected = CrossEncoder(str(tmp_path), device="cpu", activation_fn=torch.nn.Identity()).predict(PAIRS)
    found = PairScorer.load(str(tmp_path), device="cpu").score(PAIRS)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_families_that_cannot_be_packed_are_pooled_as_well(tmp_path, tiny_tokenizer, capsys):
    from transformers import DebertaV2Config, DebertaV2Model

    torch.manual_seed(0)
    config = DebertaV2Config(
        vocab_size=len(tiny_tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=128, type_vocab_size=0, initializer_range=0.2,
        relative_attention=True, pos_att_type=["p2c", "c2p"],
    )  # fmt: skip
    DebertaV2Model(config).save_pretrained(tmp_path)
    tiny_tokenizer.save_pretrained(tmp_path)
    scorer = PairScorer.load(str(tmp_path), device="cpu", asked=Asked(pooling="mean"))
    assert "sorted by length and padded" in capsys.readouterr().err
    alone = [float(scorer.score([pair])[0]) for pair in PAIRS]
    np.testing.assert_allclose(scorer.score(PAIRS), alone, atol=1e-5)
    np.testing.assert_allclose(alone, by_hand(tmp_path, scorer.model, "mean"), atol=1e-5)


def test_a_decoder_pools_its_last_token_and_never_its_first(tiny_qwen3):
    scorer = PairScorer.load(str(tiny_qwen3), device="cpu", asked=Asked(pooling="last"))
    assert np.std(scorer.score(PAIRS)) > 1e-3
    with pytest.raises(UserError, match="the first token of qwen3 sees nothing"):
        open_reranker(str(tiny_qwen3), asked=Asked(pooling="cls"))


def test_an_unknown_pooling_is_refused(tiny_encoder):
    with pytest.raises(UserError, match="--pooling 'max' is unknown"):
        open_reranker(str(tiny_encoder), asked=Asked(pooling="max"))
