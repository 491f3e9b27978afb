"""Training every kind of reranker with the one command: pooled encoders, language models, adapters."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from sharprank.cli.train import main
from sharprank.errors import UserError
from sharprank.models.checkpoint import open_reranker
from sharprank.models.loading import refuse_partial
from sharprank.models.prompts import QWEN3
from sharprank.models.scoring import PairScorer
from sharprank.training.resume import RUN_FILE, checkpoints

PAIRS = [("cat and dog 1", "cat dog tree"), ("cat and dog 1", "river house green " * 10), ("read", "file")]
KINDS = {
    "pooled": {"model": "tiny_encoder", "pooling": "mean", "learning_rate": 3e-3},
    "language model": {"model": "tiny_qwen3", "prompt": "qwen3", "instruction": "Find animals."},
    "adapter": {"model": "tiny_bert", "use_lora": True, "lora_alpha": 64, "learning_rate": 5e-3},
    "adapter on a new head": {"model": "tiny_encoder", "use_lora": True, "learning_rate": 3e-3},
    "adapter of a language model": {
        "model": "tiny_gemma",
        "use_lora": True,
        "lora_alpha": 64,
        "learning_rate": 5e-3,
        "gradient_checkpointing": True,
    },
}


def losses(folder: Path) -> list[float]:
    history = json.loads((folder / "trainer_state.json").read_text())["log_history"]
    return [entry["loss"] for entry in history if "loss" in entry]


@pytest.fixture
def words(arguments, request):
    """Flags of a kind's tiny training."""

    def of(kind: str, **flags) -> list[str]:
        own = dict(KINDS[kind])
        folder = request.getfixturevalue(own.pop("model"))
        return arguments(**{"model_name_or_path": folder, **own, **flags})

    return of


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_and_its_checkpoints_score_as_the_model_that_ranked(kind, words, eval_file, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(words(kind, eval_data=eval_file, num_train_epochs=5)) == 0, capsys.readouterr().err
    curve = losses(out)
    assert np.mean(curve[-6:]) < 0.85 * np.mean(curve[:3])
    scores = PairScorer.load(str(out), device="cpu").score(PAIRS)
    state = json.loads((out / "trainer_state.json").read_text())
    best = Path(state["best_model_checkpoint"])
    np.testing.assert_allclose(PairScorer.load(str(best), device="cpu").score(PAIRS), scores, atol=1e-4)
    adapters = [folder for folder in (out, *checkpoints(out)) if (folder / "adapter_model.safetensors").is_file()]
    assert len(adapters) == (len(checkpoints(out)) if "adapter" in kind else 0)
    assert (out / "model.safetensors").is_file()
    assert "untrained" not in capsys.readouterr().err


def test_an_adapter_alone_is_what_was_asked_for_and_can_be_trained_on(words, tmp_path):
    out, more = tmp_path / "out", tmp_path / "more"
    assert main(words("adapter on a new head", save_merged_lora_model=False, num_train_epochs=1)) == 0
    assert not (out / "model.safetensors").exists()
    assert "It is a LoRA adapter" in (out / "README.md").read_text()
    before = PairScorer.load(str(out), device="cpu").score(PAIRS)
    flags = {"model_name_or_path": out, "output_dir": more, "num_train_epochs": 1, "save_merged_lora_model": False}
    assert main(words("adapter on a new head", **{**flags, "learning_rate": 0.0})) == 0
    np.testing.assert_allclose(PairScorer.load(str(more), device="cpu").score(PAIRS), before, atol=1e-5)
    assert load_file(more / "adapter_model.safetensors").keys() == load_file(out / "adapter_model.safetensors").keys()
    adapter = json.loads((more / "adapter_config.json").read_text())
    assert Path(adapter["base_model_name_or_path"]).name.startswith("tiny_encoder")


@pytest.mark.parametrize("starts_from", ["the same model", "the folder itself"])
def test_a_whole_model_takes_the_place_of_an_adapter_that_it_overwrites(starts_from, words, tmp_path):
    out, flags = tmp_path / "out", {"max_steps": 1, "pooling": "mean"}
    assert main(words("adapter on a new head", save_merged_lora_model=False, **flags)) == 0
    start = {"model_name_or_path": out} if starts_from == "the folder itself" else {}
    assert main(words("pooled", overwrite_output_dir=True, **flags, **start)) == 0
    assert not list(out.glob("adapter_*"))
    opened = open_reranker(str(out))
    assert opened.adapter is None
    weights = load_file(out / "model.safetensors")
    state = opened.load().state_dict()
    assert all(np.array_equal(state[name], weights[name]) for name in weights)


def test_an_adapter_on_a_base_without_tokenizer_is_merged_and_opened_with_its_own(words, tiny_encoder, tmp_path):
    base = tmp_path / "base"
    shutil.copytree(tiny_encoder, base, ignore=shutil.ignore_patterns("*token*", "vocab*"))
    start = {"model_name_or_path": base, "tokenizer_name": tiny_encoder, "max_steps": 1}
    assert main(words("adapter on a new head", **start)) == 0
    for folder in (tmp_path / "out", tmp_path / "out" / "adapter"):
        assert len(PairScorer.load(str(folder), device="cpu").score(PAIRS)) == len(PAIRS)


def test_an_adapter_takes_the_place_of_a_model_that_it_overwrites(words, tmp_path):
    out, flags = tmp_path / "out", {"max_steps": 1, "pooling": "mean"}
    assert main(words("pooled", **flags)) == 0
    alone = {"save_merged_lora_model": False, "overwrite_output_dir": True}
    assert main(words("adapter on a new head", **alone, **flags)) == 0
    assert open_reranker(str(out)).adapter is not None and not list(out.glob("model*.safetensors"))


CODE_OF_ITS_OWN = """
from transformers import BertConfig, BertModel


class OwnConfig(BertConfig):
    model_type = "own_bert"


class OwnModel(BertModel):
    config_class = OwnConfig
"""


def test_an_adapter_of_a_model_with_code_of_its_own_is_merged(words, tiny_encoder, tmp_path, monkeypatch):
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    base, out = tmp_path / "base", tmp_path / "out"
    shutil.copytree(tiny_encoder, base)
    (base / "modeling_own.py").write_text(CODE_OF_ITS_OWN)
    config = json.loads((base / "config.json").read_text()) | {"model_type": "own_bert", "architectures": ["OwnModel"]}
    config["auto_map"] = {"AutoConfig": "modeling_own.OwnConfig", "AutoModel": "modeling_own.OwnModel"}
    (base / "config.json").write_text(json.dumps(config))
    flags = {"model_name_or_path": base, "trust_remote_code": True, "pooling": "mean", "max_steps": 1}
    assert main(words("adapter on a new head", **flags)) == 0
    whole = PairScorer.load(str(out), device="cpu", trust_remote_code=True).score(PAIRS)
    adapter = PairScorer.load(str(out / "adapter"), device="cpu", trust_remote_code=True).score(PAIRS)
    np.testing.assert_allclose(whole, adapter, atol=1e-5)


@pytest.mark.parametrize("kind", ["pooled", "adapter on a new head", "language model"])
def test_an_interrupted_training_continues_to_the_same_weights(kind, words, eval_file, tmp_path, monkeypatch):
    from sharprank.training.trainer import RerankTrainer

    flags = {"eval_data": eval_file, "num_train_epochs": 2, "save_steps": 4}
    assert main(words(kind, output_dir=tmp_path / "whole", **flags)) == 0
    original = RerankTrainer.training_step

    def stop_at_step_7(self, *args, **kwargs):
        if self.state.global_step == 7:
            raise KeyboardInterrupt
        return original(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(RerankTrainer, "training_step", stop_at_step_7)
        assert main(words(kind, output_dir=tmp_path / "broken", **flags)) == 130
    assert main(words(kind, output_dir=tmp_path / "broken", **flags)) == 0
    left, right = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "broken"))
    assert all(np.array_equal(left[name], right[name]) for name in left)
    assert losses(tmp_path / "whole") == losses(tmp_path / "broken")


@pytest.mark.parametrize("pooling", ["late", "mean", "plain"])
def test_the_best_model_is_the_one_that_was_best_whatever_its_family_calls_its_weights(
    pooling, arguments, tiny_nomic, eval_file, tmp_path
):
    flags = {"eval_data": eval_file, "max_steps": 6, "save_steps": 1, "save_total_limit": 9, "start_share": 0}
    flags |= {"model_name_or_path": tiny_nomic, "pooling": pooling, "warmup_ratio": 0}
    flags |= {"metric_for_best_model": "nDCG@10", "greater_is_better": False}  # which is not the last then
    out = tmp_path / "out"
    assert main(arguments(**flags)) == 0
    best = Path(json.loads((out / "trainer_state.json").read_text())["best_model_checkpoint"])
    last = checkpoints(out)[-1]
    assert best.name != last.name
    found, right, other = (load_file(folder / "model.safetensors") for folder in (out, best, last))
    assert all(np.array_equal(found[name], right[name]) for name in right)
    assert not any(np.array_equal(found[name], other[name]) for name in right if name.endswith("q_proj.weight"))
    shutil.rmtree(last)
    run = json.loads((out / RUN_FILE).read_text())
    (out / RUN_FILE).write_text(json.dumps(run | {"finished": False}))
    assert main(arguments(**flags)) == 0
    assert all(np.array_equal(load_file(last / "model.safetensors")[name], other[name]) for name in other)


def test_a_best_checkpoint_that_lacks_weights_is_refused_and_tied_ones_are_not_missed(tiny_qwen3, tmp_path):
    model = open_reranker(str(tiny_qwen3)).load()
    model.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    refuse_partial(model, model.load_state_dict(weights, strict=False))
    assert "lm_head.weight" not in weights
    weights["other"] = weights.pop("model.norm.weight")
    with pytest.raises(UserError, match=r"lacks model.norm.weight \(2 such weights\)"):
        refuse_partial(model, model.load_state_dict(weights, strict=False))


def test_another_prompt_in_the_same_file_is_another_training(words, tmp_path, capsys):
    path = tmp_path / "prompt.json"
    for instruction, code in (("Find animals.", 0), ("Find colours.", 2)):
        path.write_text(json.dumps(QWEN3.to_dict() | {"instruction": instruction}))
        assert main(words("language model", prompt=path, instruction=instruction, max_steps=1)) == code
    assert "was made with --prompt = " in capsys.readouterr().err


def test_an_adapter_without_peft_names_the_extra(words, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "peft", None)
    assert main(words("adapter")) == 2
    assert "sharprank[lora]" in capsys.readouterr().err


def test_what_makes_no_adapter_or_no_pooling_is_refused(words, capsys):
    for flags, message in (
        ({"use_lora": True, "lora_rank": 0}, "--lora_rank 0"),
        ({"target_modules": "query"}, "--target_modules belongs to an adapter"),
        ({"pooling": "max"}, "--pooling 'max' is unknown"),
        ({"use_lora": True, "target_modules": "nothing"}, "--target_modules nothing"),
        ({"pooling": "mean", "instruction": "x"}, "--instruction belongs to a prompt"),
    ):
        own = {"model": "tiny_encoder"} | flags
        assert main(words("pooled", **{k: v for k, v in own.items() if k != "model"})) == 2
        assert message in capsys.readouterr().err


def test_a_checkpoint_of_another_model_is_refused_before_the_first_step(words, tiny_bert, tiny_xlmr, tmp_path, capsys):
    def resumed(kind: str, folder: Path, **flags) -> tuple[int, str]:
        out = tmp_path / f"{kind} {folder.name}"
        code = main(words(kind, output_dir=out, resume_from_checkpoint=folder, max_steps=8, **flags))
        return code, capsys.readouterr().err

    assert main(words("adapter on a new head", output_dir=tmp_path / "a", max_steps=4, save_steps=2)) == 0
    own = tmp_path / "a" / "checkpoint-2"
    code, said = resumed("adapter", own)
    assert code == 2 and "is of another model" in said and str(own) in said
    code, said = resumed("pooled", tiny_xlmr)
    assert code == 2 and "is of another model" in said
    code, said = resumed("pooled", tmp_path)
    assert code == 2 and "holds no weights" in said
    assert resumed("adapter on a new head", own)[0] == 0
