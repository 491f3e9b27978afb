"""Loading is strict: float32 whatever was stored, one label, a tokenizer, safetensors, a length the model has."""

from __future__ import annotations

import shutil

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from sharprank.errors import UserError
from sharprank.models.cross_encoder import check_max_length, load_cross_encoder, save_cross_encoder
from sharprank.models.kinds import PLAIN, Asked
from sharprank.models.minilm import resolve_model


def test_a_half_precision_checkpoint_is_loaded_in_float32(tiny_bert, tmp_path):
    model = AutoModelForSequenceClassification.from_pretrained(tiny_bert, dtype=torch.float16)
    model.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(tmp_path)
    loaded, _ = load_cross_encoder(str(tmp_path))
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}


def test_an_encoder_gets_a_head_from_the_seed_and_it_is_said(tiny_encoder, capsys):
    plain = Asked(pooling=PLAIN)
    first, _ = load_cross_encoder(str(tiny_encoder), seed=1, asked=plain)
    assert "untrained" in capsys.readouterr().err
    torch.manual_seed(99)
    second, _ = load_cross_encoder(str(tiny_encoder), seed=1, asked=plain)
    other, _ = load_cross_encoder(str(tiny_encoder), seed=2, asked=plain)
    assert torch.equal(first.classifier.weight, second.classifier.weight)
    assert not torch.equal(first.classifier.weight, other.classifier.weight)


def test_a_classifier_with_several_labels_is_refused(tiny_bert, tmp_path):
    model = AutoModelForSequenceClassification.from_pretrained(tiny_bert, num_labels=3, ignore_mismatched_sizes=True)
    model.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="3 labels"):
        load_cross_encoder(str(tmp_path))


def test_a_folder_without_a_tokenizer_is_refused_before_loading(tiny_bert, tmp_path):
    shutil.copy(tiny_bert / "config.json", tmp_path)
    with pytest.raises(UserError, match="no tokenizer"):
        load_cross_encoder(str(tmp_path))


def test_pickled_weights_are_refused(tiny_bert, tmp_path):
    shutil.copytree(tiny_bert, tmp_path / "model")
    weights = tmp_path / "model" / "model.safetensors"
    model = AutoModelForSequenceClassification.from_pretrained(tiny_bert)
    torch.save(model.state_dict(), tmp_path / "model" / "pytorch_model.bin")
    weights.unlink()
    with pytest.raises(UserError) as caught:
        load_cross_encoder(str(tmp_path / "model"))
    assert "safetensors" in caught.value.fix


def test_a_hub_id_that_cannot_be_reached_is_a_user_error():
    with pytest.raises(UserError, match="nobody/no-such-model"):
        load_cross_encoder("nobody/no-such-model")


def test_a_length_beyond_the_models_positions_names_the_limit(tiny_bert, tiny_xlmr):
    for folder in (tiny_bert, tiny_xlmr):
        model, tokenizer = load_cross_encoder(str(folder))
        assert check_max_length(None, model.config, tokenizer) == 128
        assert check_max_length(128, model.config, tokenizer) == 128
        with pytest.raises(UserError, match="--max_len 129 is more than the 128 positions"):
            check_max_length(129, model.config, tokenizer)


def test_what_is_saved_scores_the_same_when_loaded_again(tiny_bert, tmp_path):
    from sharprank.models.scoring import PairScorer

    model, tokenizer = load_cross_encoder(str(tiny_bert))
    save_cross_encoder(model, tokenizer, tmp_path)
    pairs = [("a cat", "the dog"), ("read", "write the file")]
    before = PairScorer.load(str(tiny_bert), device="cpu").score(pairs)
    assert PairScorer.load(str(tmp_path), device="cpu").score(pairs).tolist() == before.tolist()
    assert not list(tmp_path.glob("*.bin"))


@pytest.mark.parametrize("path", ["./no/such/folder", "/no/such/folder", "some/deep/folder"])
def test_a_missing_folder_is_named(path):
    with pytest.raises(UserError, match="does not exist"):
        resolve_model(path)


def test_a_training_folder_without_a_final_model_points_to_its_checkpoints(tmp_path):
    (tmp_path / "checkpoint-5").mkdir()
    with pytest.raises(UserError) as caught:
        resolve_model(str(tmp_path))
    assert "checkpoint-5" in caught.value.fix


def test_minilm_is_accepted_only_with_the_known_weights(minilm, monkeypatch):
    import sharprank.models.minilm as module

    module.minilm_folder.cache_clear()
    assert resolve_model("minilm") == str(minilm)
    module.minilm_folder.cache_clear()
    monkeypatch.setattr(module, "hash_file", lambda path: "0" * 64)
    with pytest.raises(UserError, match="not the known all-MiniLM-L6-v2"):
        resolve_model("minilm")
    module.minilm_folder.cache_clear()
