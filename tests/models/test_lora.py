"""Adapters: only low-rank matrices and new parts learn, the head comes back with them, and merging changes no score."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from sharprank.errors import UserError
from sharprank.models.checkpoint import open_reranker
from sharprank.models.kinds import Asked
from sharprank.models.lora import Lora, add_adapter
from sharprank.models.scoring import PairScorer

PAIRS = [("a cat", "the dog can read"), ("read", "write the file to the house " * 3), ("what is it", "red")]
FAMILIES = {
    "tiny_bert": Asked(),
    "tiny_encoder": Asked(),
    "tiny_xlmr": Asked(),
    "tiny_modernbert": Asked(),
    "pooled": Asked(pooling="weighted"),
    "tiny_qwen3": Asked(),
    "tiny_gemma": Asked(),
}


def moved(checkpoint, *, rank: int = 4):
    """A peft model whose trained weights are all off their start."""
    adapter = checkpoint.load(seed=1, for_training=True, lora=Lora(rank=rank))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in adapter.parameters():
            if parameter.requires_grad:
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return adapter


def scores_of(model, checkpoint) -> np.ndarray:
    return PairScorer(model, checkpoint.pair_tokenizer(), device=torch.device("cpu")).score(PAIRS)


@pytest.mark.parametrize("name", FAMILIES)
def test_an_adapter_reloads_with_its_head_and_merges_to_the_same_scores(name, request, tmp_path):
    folder = request.getfixturevalue("tiny_encoder" if name == "pooled" else name)
    checkpoint = open_reranker(str(folder), asked=FAMILIES[name])
    adapter = moved(checkpoint)
    trained = {name for name, p in adapter.named_parameters() if p.requires_grad}
    assert all("lora_" in name or "modules_to_save" in name for name in trained)
    assert any("lora_" in name for name in trained)
    expected = scores_of(adapter, checkpoint)
    assert not np.allclose(expected, scores_of(checkpoint.load(seed=1, for_training=True), checkpoint), atol=1e-3)
    adapter.save_pretrained(tmp_path)
    checkpoint.tokenizer.save_pretrained(tmp_path)

    again = open_reranker(str(tmp_path))
    assert again.recipe == checkpoint.recipe and again.path == str(folder)
    merged = again.load(seed=99)
    assert not any("lora" in name for name, _ in merged.named_modules())
    assert all(parameter.requires_grad for parameter in merged.parameters())  # a whole model, to train on as one
    np.testing.assert_allclose(scores_of(merged, again), expected, atol=1e-4)
    merged.save_pretrained(tmp_path / "whole")
    checkpoint.tokenizer.save_pretrained(tmp_path / "whole")
    whole = PairScorer.load(str(tmp_path / "whole"), device="cpu").score(PAIRS)
    np.testing.assert_allclose(whole, expected, atol=1e-4)
    further = again.load(for_training=True, lora=Lora())
    assert {name for name, p in further.named_parameters() if p.requires_grad} == trained


def test_the_output_head_of_a_language_model_is_left_alone(tiny_qwen3):
    adapter = moved(open_reranker(str(tiny_qwen3)))
    assert not any("lm_head" in name for name, p in adapter.named_parameters() if p.requires_grad)


def test_targets_that_the_model_does_not_have_are_refused(tiny_bert):
    model = open_reranker(str(tiny_bert)).load()
    with pytest.raises(UserError, match="--target_modules q_proj"):
        add_adapter(model, Lora(targets=("q_proj",)), base="x", seed=0)


def test_an_adapter_without_its_base_is_refused_by_both_names(tiny_bert, tmp_path):
    base = tmp_path / "base"
    shutil.copytree(tiny_bert, base)
    moved(open_reranker(str(base))).save_pretrained(tmp_path / "adapter")
    shutil.rmtree(base)
    with pytest.raises(UserError) as caught:
        open_reranker(str(tmp_path / "adapter"))
    assert str(base) in caught.value.problem and str(tmp_path / "adapter") in caught.value.problem
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": None}))
    with pytest.raises(UserError, match="does not say which model"):
        open_reranker(str(tmp_path / "adapter"))


@pytest.mark.parametrize("other", ["tiny_xlmr", "tiny_qwen3"])
def test_an_adapter_of_another_model_is_refused(other, tiny_bert, request, tmp_path):
    moved(open_reranker(str(tiny_bert))).save_pretrained(tmp_path)
    path = tmp_path / "adapter_config.json"
    base = str(request.getfixturevalue(other))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"base_model_name_or_path": base}))
    with pytest.raises(UserError, match="does not fit its base model"):
        open_reranker(str(tmp_path)).load()
