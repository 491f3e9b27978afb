"""An encoder's plain new head looks at all tokens from the start, in a checkpoint that needs no code of ours."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from sharprank.models.cross_encoder import load_cross_encoder, save_cross_encoder
from sharprank.models.head import MEAN_WEIGHT, add_mean_layer
from sharprank.models.kinds import PLAIN, Asked

PAIRS = [["what is a cat", "a dog and the tree"], ["read", "open the file and read it, then write the word"]]


def inputs(folder):
    return AutoTokenizer.from_pretrained(folder)(PAIRS, padding=True, return_tensors="pt")


def test_the_new_layer_adds_the_mean_of_all_tokens_to_the_first(tiny_encoder):
    plain = AutoModelForSequenceClassification.from_pretrained(tiny_encoder, num_labels=1, dtype=torch.float32).eval()
    batch = inputs(tiny_encoder)
    hidden = plain.bert(**batch).last_hidden_state
    mask = batch["attention_mask"][..., None].float()
    mixed = hidden[:, 0] + MEAN_WEIGHT * (hidden * mask).sum(1) / mask.sum(1)
    once = torch.nn.functional.layer_norm(mixed, mixed.shape[-1:], eps=1e-12)
    expected = torch.nn.functional.layer_norm(once, mixed.shape[-1:], eps=1e-12)
    assert add_mean_layer(plain)
    found = plain.bert(**batch).last_hidden_state[:, 0]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_every_weight_of_the_new_layer_that_matters_receives_a_gradient(tiny_encoder):
    model, _ = load_cross_encoder(str(tiny_encoder), packed=False, for_training=True, asked=Asked(pooling=PLAIN))
    model(**inputs(tiny_encoder)).logits.sum().backward()
    layer = model.bert.encoder.layer[-1]
    for weight in (layer.attention.self.query.weight, layer.attention.self.value.weight, layer.output.dense.weight):
        assert weight.grad.abs().sum() > 0


def test_a_model_with_a_head_is_left_as_it_is(tiny_bert):
    model, _ = load_cross_encoder(str(tiny_bert))
    assert model.config.num_hidden_layers == 2


@pytest.mark.parametrize("family", ["tiny_encoder", "xlmr", "modernbert"])
def test_the_saved_model_scores_alike_in_plain_transformers(family, request, tmp_path):
    if family == "tiny_encoder":
        folder = request.getfixturevalue(family)
    else:
        from transformers import AutoModel

        folder = tmp_path / "encoder"
        whole = request.getfixturevalue(f"tiny_{family}")
        AutoModel.from_pretrained(whole).save_pretrained(folder)
        AutoTokenizer.from_pretrained(whole).save_pretrained(folder)
    model, tokenizer = load_cross_encoder(
        str(folder), packed=False, seed=5, for_training=True, asked=Asked(pooling=PLAIN)
    )
    expected = model.eval()(**inputs(folder)).logits
    save_cross_encoder(model, tokenizer, tmp_path / "saved")
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved", dtype=torch.float32).eval()
    torch.testing.assert_close(again(**inputs(folder)).logits, expected, atol=1e-6, rtol=0)
