"""FSDP by accelerate and ZeRO by DeepSpeed, two CPU processes each: the losses of one process, best checkpoint, resume.

DeepSpeed is an extra; where it is absent its runs are skipped and its files are checked as far as accelerate can.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from sharprank.cli.train import main
from sharprank.models.scoring import PairScorer
from sharprank.training.resume import RUN_FILE, checkpoints

REPOSITORY = Path(__file__).parents[2]
CONFIGS = REPOSITORY / "configs"
PAIRS = [("cat and dog 1", "cat dog tree"), ("read", "file")]
SECONDS = 240
# Budgets that give the ranks different numbers of micro-batches, or of pieces of a group; they have to keep in step.
UNEVEN = {"micro_batch_tokens": 690, "max_len": 300}
PIECES = {"micro_batch_tokens": 346, "max_len": 300}
RUNS = {
    "default_fsdp.yaml": ("tiny_bert", {}),
    "qwen3_fsdp.yaml": ("tiny_qwen3", {**PIECES, "use_lora": True, "lora_dropout": 0, "learning_rate": 5e-3}),
}
FAMILIES = {
    "default_fsdp.yaml": "tiny_bert",
    "xlmroberta_default_config.yaml": "tiny_xlmr",
    "qwen3_fsdp.yaml": "tiny_qwen3",
}
needs_deepspeed = pytest.mark.skipif(
    importlib.util.find_spec("deepspeed") is None,
    reason="needs the extra `deepspeed`: pip install sharprank[deepspeed]",
)


def accelerate_environment(config: Path) -> dict[str, str]:
    """What `accelerate launch --config_file` tells the processes it starts, read by accelerate itself."""
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser
    from accelerate.utils.launch import prepare_multi_gpu_env

    args, *_ = _validate_launch_command(launch_command_parser().parse_args(["--config_file", str(config), "train.py"]))
    told = prepare_multi_gpu_env(args)
    return {name: value for name, value in told.items() if name.startswith(("ACCELERATE_", "FSDP_"))}


def losses(folder: Path) -> list[float]:
    history = json.loads((folder / "trainer_state.json").read_text())["log_history"]
    return [entry["loss"] for entry in history if "loss" in entry]


def run_on_two(script: list[str], words: list[str], **environment: str) -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", f"--master_port={port}"]
    settings = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", **environment}
    result = subprocess.run(
        [*launcher, *script, *words],
        env={**os.environ, **settings},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout + result.stderr


def cut_short(folder: Path) -> Path:
    """Leave what a kill after the first checkpoint would have left; returns a copy of the final weights."""
    kept = folder.parent / f"{folder.name}.safetensors"
    shutil.move(folder / "model.safetensors", kept)
    for checkpoint in checkpoints(folder)[1:]:
        shutil.rmtree(checkpoint)
    run = json.loads((folder / RUN_FILE).read_text())
    (folder / RUN_FILE).write_text(json.dumps(run | {"finished": False}))
    return kept


@pytest.fixture
def trained_alone(arguments, eval_file, request, tmp_path):
    """Flags of a training, already run in one process; groups of a step are the same for two."""

    def run(model: str, **flags) -> tuple[dict, Path]:
        flags = {"model_name_or_path": request.getfixturevalue(model), "eval_data": eval_file, "dropout": 0, **flags}
        flags = {"num_train_epochs": 1, "save_steps": 2, "save_total_limit": 5, **flags}
        assert main(arguments(output_dir=tmp_path / "alone", per_device_train_batch_size=4, **flags)) == 0
        return {**flags, "per_device_train_batch_size": 2}, tmp_path / "alone"

    return run


def check_same(found: Path, alone: Path) -> None:
    np.testing.assert_allclose(losses(found), losses(alone), atol=2e-4)
    measures = [json.loads((folder / RUN_FILE).read_text())["measures"] for folder in (found, alone)]
    assert measures[0] == pytest.approx(measures[1], abs=1e-6)
    scores = [PairScorer.load(str(folder), device="cpu").score(PAIRS) for folder in (found, alone)]
    np.testing.assert_allclose(scores[0], scores[1], atol=2e-2)
    best = json.loads((found / "trainer_state.json").read_text())["best_model_checkpoint"]
    np.testing.assert_allclose(PairScorer.load(best, device="cpu").score(PAIRS), scores[0], atol=1e-4)


@pytest.mark.parametrize("config", RUNS)
def test_fsdp_shards_the_weights_and_trains_evaluates_and_resumes_as_one_process_does(
    config, arguments, trained_alone, tmp_path
):
    model, own = RUNS[config]
    flags, alone = trained_alone(model, **own)
    words = arguments(output_dir=tmp_path / "sharded", **flags)
    environment = accelerate_environment(CONFIGS / config)
    script = [str(Path(__file__).parent / "fsdp_on_cpu.py")]
    said = run_on_two(script, words, **environment)
    here, in_all = map(int, re.search(r"sharded: (\d+) of (\d+)", said).groups())
    assert here < 0.6 * in_all
    check_same(tmp_path / "sharded", alone)
    if config == "default_fsdp.yaml":
        kept = load_file(cut_short(tmp_path / "sharded"))
        assert "continuing from" in run_on_two(script, words, **environment)
        again = load_file(tmp_path / "sharded" / "model.safetensors")
        assert all(np.array_equal(kept[name], again[name]) for name in kept)


@needs_deepspeed
@pytest.mark.slow
@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_zero_trains_evaluates_and_resumes_as_one_process_does(stage, arguments, trained_alone, tmp_path):
    model = "tiny_qwen3" if stage == 3 else "tiny_bert"
    flags, alone = trained_alone(model, **(UNEVEN if stage == 3 else {}))
    words = arguments(output_dir=tmp_path / "zero", deepspeed=CONFIGS / f"ds_stage{stage}.json", **flags)
    script = ["-m", "sharprank", "train"]
    run_on_two(script, words, DS_ACCELERATOR="cpu")
    check_same(tmp_path / "zero", alone)
    kept = load_file(cut_short(tmp_path / "zero"))
    assert "continuing from" in run_on_two(script, words, DS_ACCELERATOR="cpu")
    again = load_file(tmp_path / "zero" / "model.safetensors")
    assert all(np.allclose(kept[name], again[name], atol=1e-6) for name in kept)


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_a_zero_file_says_its_stage_and_leaves_the_rest_to_the_flags(stage):
    from accelerate.utils.deepspeed import HfDeepSpeedConfig

    config = HfDeepSpeedConfig(str(CONFIGS / f"ds_stage{stage}.json"))
    assert config.get_value("zero_optimization.stage") == stage and config.is_zero3() == (stage == 3)
    for name in ("train_batch_size", "gradient_clipping", "optimizer.params.lr", "fp16.enabled", "bf16.enabled"):
        assert config.get_value(name) == "auto"
    assert stage != 3 or config.get_value("zero_optimization.stage3_gather_16bit_weights_on_model_save")


@pytest.mark.parametrize("config", FAMILIES)
def test_an_fsdp_file_shards_by_the_layers_of_its_family(config, request):
    from transformers import AutoModelForSequenceClassification

    told = accelerate_environment(CONFIGS / config)
    assert told["ACCELERATE_USE_FSDP"] == "true" and told["FSDP_RESHARD_AFTER_FORWARD"] == "true"
    model = AutoModelForSequenceClassification.from_pretrained(request.getfixturevalue(FAMILIES[config]))
    assert told["FSDP_TRANSFORMER_CLS_TO_WRAP"] in {type(module).__name__ for module in model.modules()}


def test_what_an_engine_cannot_do_here_is_said(arguments, monkeypatch, capsys):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert main(arguments(num_train_epochs=1)) == 0
    assert "here every process holds them all" in capsys.readouterr().err
    monkeypatch.delenv("ACCELERATE_USE_FSDP")
    assert main(arguments(deepspeed="no_such.json")) == 2
    said = capsys.readouterr().err
    assert "sharprank[deepspeed]" in said or "no_such.json does not exist" in said
