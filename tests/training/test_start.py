"""The start's share in the saved weights: the mean of both ends, resumed and by two processes, refused elsewhere."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from sharprank.cli.train import main
from sharprank.errors import UserError
from sharprank.training.config import RerankTrainingArguments
from sharprank.training.resume import RUN_FILE
from sharprank.training.start import Start
from tests.training.conftest import make_rows, write_rows
from tests.training.test_processes import torchrun


@pytest.fixture
def words(tiny_encoder, tmp_path):
    """A training of an embedding model, whose new head ranks already."""

    def of(name, *more) -> list[str]:
        data = write_rows(tmp_path / "rows.jsonl", make_rows(16, seed=1))
        flags = ["-m", tiny_encoder, "--train_data", data, "--output_dir", tmp_path / name, "--max_steps", 4]
        flags += ["--learning_rate", 1e-2, "--bf16", False, "--dropout", 0.0, "--save_steps", 2, "--logging_steps", 1]
        return [str(word) for word in [*flags, *more]]

    return of


def weights(folder) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in load_file(folder / "model.safetensors").items()}


def test_the_saved_weights_lie_halfway_between_both_ends(words, tmp_path, capsys):
    assert main(words("half")) == 0
    said = capsys.readouterr().err
    assert "--start_share 0.5 (new head that ranks already)" in said
    assert "weights: 0.5 as trained + 0.5 as they started (--start_share)" in said
    assert main(words("whole", "--start_share", 0)) == 0
    assert "as they started" not in capsys.readouterr().err
    assert main(words("start", "--start_share", 0, "--learning_rate", 0)) == 0
    half, whole, start = (weights(tmp_path / name) for name in ("half", "whole", "start"))
    assert max(np.abs(whole[name] - start[name]).max() for name in start) > 1e-3
    for name in start:
        np.testing.assert_allclose(half[name], (whole[name] + start[name]) / 2, atol=1e-7, err_msg=name)
    on_the_way = weights(tmp_path / "half" / "checkpoint-4")
    assert all(np.array_equal(on_the_way[name], whole[name]) for name in whole)


def test_a_run_that_goes_on_and_one_of_two_processes_end_with_the_same_mean(words, tmp_path):
    assert main(words("one")) == 0
    shutil.copytree(tmp_path / "one", tmp_path / "resumed")
    shutil.rmtree(tmp_path / "resumed" / "checkpoint-4")
    run = json.loads((tmp_path / "resumed" / RUN_FILE).read_text())
    (tmp_path / "resumed" / RUN_FILE).write_text(json.dumps(run | {"finished": False}))
    assert main(words("resumed")) == 0
    small = ("--optim", "sgd", "--learning_rate", 0.1)  # Adam makes whole steps of rounding where gradients are nought
    assert main(words("small", *small)) == 0
    result = torchrun(2, words("two", *small))
    assert result.returncode == 0, result.stderr[-2000:]
    assert result.stderr.count("as they started") == 1
    one, resumed, small_one, two = (weights(tmp_path / name) for name in ("one", "resumed", "small", "two"))
    for name in one:
        np.testing.assert_array_equal(resumed[name], one[name], err_msg=name)
        np.testing.assert_allclose(two[name], small_one[name], atol=1e-5, err_msg=name)
    trained = weights(tmp_path / "two" / "checkpoint-4")
    assert max(np.abs(two[name] - trained[name]).max() for name in two) > 1e-3


def test_what_is_not_trained_is_left_alone():
    model = torch.nn.Sequential(torch.nn.Linear(2, 1), torch.nn.Linear(1, 1))
    model[1].weight.requires_grad_(False)
    start = Start(model, 0.25)
    with torch.no_grad():
        before = model[0].weight.clone()
        model[0].weight.add_(4.0)
        model[1].weight.fill_(7.0)
    start.mix_into(model)
    torch.testing.assert_close(model[0].weight, before + 3.0)
    assert model[1].weight.item() == 7.0


def test_a_trained_head_and_an_adapter_keep_what_was_trained(words, tiny_bert, tmp_path):
    assert main(words("trained", "--model_name_or_path", tiny_bert)) == 0
    pytest.importorskip("peft")
    assert main(words("adapter", "--use_lora", True, "--lora_rank", 2)) == 0
    for name in ("trained", "adapter"):
        assert json.loads((tmp_path / name / RUN_FILE).read_text())["settings"]["start_share"] is None


def test_engines_that_shard_get_no_share_and_refuse_one_that_is_asked_for(monkeypatch, words, tmp_path, capsys):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert not RerankTrainingArguments(output_dir=str(tmp_path)).has_whole_weights
    with pytest.raises(UserError, match="needs whole weights"):
        RerankTrainingArguments(output_dir=str(tmp_path), start_share=0.5)
    start = Start(torch.nn.Linear(2, 1), 0.5)
    with pytest.raises(ValueError, match="an engine shards it"):
        start.mix_into(torch.nn.Sequential(torch.nn.Linear(2, 1)))


def test_the_best_checkpoint_is_what_the_start_is_mixed_into(words, tmp_path):
    assert main(words("best", "--validation_split", 0.3)) == 0
    state = json.loads((tmp_path / "best" / "trainer_state.json").read_text())
    best = weights(tmp_path / "best" / Path(state["best_model_checkpoint"]).name)
    assert main(words("start", "--validation_split", 0.3, "--start_share", 0, "--learning_rate", 0)) == 0
    start, found = weights(tmp_path / "start"), weights(tmp_path / "best")
    for name in start:
        np.testing.assert_allclose(found[name], (best[name] + start[name]) / 2, atol=1e-6, err_msg=name)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--start_share", "1"], "--start_share 1.0 is no share"),
        (["--start_share", "-0.1"], "--start_share -0.1 is no share"),
        (["--start_share", "0.5", "--use_lora", "True"], "needs whole weights"),
        (["--seed", "-1"], "--seed -1"),
    ],
)
def test_a_share_or_seed_that_cannot_be_is_refused_with_a_way_out(more, message, words, capsys):
    assert main(words("out", *more)) == 2
    said = capsys.readouterr().err
    assert message in said and "fix: " in said
