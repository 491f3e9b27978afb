"""The doors: exactly the commands people know, and nothing in their folders that could get in the way."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TORCHRUN = (sys.executable, "-m", "torch.distributed.run")
DOORS = {
    "embedding/finetune/hn_mine.py": "mine",
    "reranker/run.py": "train",
    "reranker/eval.py": "evaluate",
    "reranker/test_reranker.py": "test_reranker",
}


def run(folder: str, *words: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        words, cwd=ROOT / folder, capture_output=True, text=True, env={**os.environ, **environment}, timeout=180
    )


def test_hn_mine_opens_from_the_embedding_folder():
    process = run("embedding", sys.executable, "-m", "finetune.hn_mine", "--help")
    assert process.returncode == 0, process.stderr
    for flag in (
        "model_name_or_path", "input_file", "output_file", "candidate_pool", "range_for_sampling", "negative_number",
        "use_gpu_for_searching", "query_instruction_for_retrieval",
    ):  # fmt: skip
        assert f"--{flag}" in process.stdout


def test_hn_mine_wins_over_an_installed_package_of_the_same_name(tmp_path):
    (tmp_path / "finetune").mkdir()
    for name in ("__init__.py", "hn_mine.py"):
        (tmp_path / "finetune" / name).write_text("raise SystemExit('the wrong package')\n")
    process = run("embedding", sys.executable, "-m", "finetune.hn_mine", "--help", PYTHONPATH=str(tmp_path))
    assert process.returncode == 0, process.stderr


def test_run_opens_under_torchrun():
    process = run("reranker", *TORCHRUN, "--nproc_per_node", "1", "run.py", "--help")
    assert process.returncode == 0, process.stderr
    for flag in (
        "model_name_or_path", "config_name", "tokenizer_name", "cache_dir", "train_data", "sub_data_name",
        "train_group_size", "max_len", "per_device_train_batch_size", "learning_rate", "num_train_epochs",
        "label_smoothing_factor", "fp16", "save_steps", "logging_steps", "output_dir", "overwrite_output_dir",
        "warmup_ratio", "gradient_accumulation_steps", "resume_from_checkpoint", "ddp_backend",
        "ddp_find_unused_parameters", "dataloader_drop_last", "weight_decay",
    ):  # fmt: skip
        assert f"--{flag}" in process.stdout, flag


def test_eval_opens_from_the_reranker_folder():
    process = run("reranker", sys.executable, "eval.py", "--help")
    assert process.returncode == 0, process.stderr
    for flag in ("-m", "--model_name_or_path", "-d", "--data", "-sd", "--sub_data_name"):
        assert flag in process.stdout


def test_the_three_commands_work_one_after_the_other(world, tiny_bert, tiny_encoder):
    mined, out, data = str(world / "mined.jsonl"), str(world / "out"), str(world / "pairs.jsonl")
    mine = ["--model_name_or_path", str(tiny_encoder), "--input_file", data, "--output_file", mined]
    mine += ["--candidate_pool", str(world / "pool.jsonl"), "--range_for_sampling", "1-20", "--negative_number", "5"]
    process = run("embedding", sys.executable, "-m", "finetune.hn_mine", *mine)
    assert process.returncode == 0, process.stderr
    train = ["--model_name_or_path", str(tiny_bert), "--train_data", mined, "--output_dir", out, "--max_len", "64"]
    train += ["--learning_rate", "6e-5", "--num_train_epochs", "1", "--per_device_train_batch_size", "8"]
    train += ["--dataloader_drop_last", "True", "--train_group_size", "4", "--weight_decay", "0.01"]
    train += ["--logging_steps", "500", "--save_steps", "500", "--overwrite_output_dir", "True", "--use_cpu"]
    process = run("reranker", *TORCHRUN, "--nproc_per_node", "1", "run.py", *train, OMP_NUM_THREADS="1")
    assert process.returncode == 0, process.stderr
    process = run("reranker", sys.executable, "eval.py", "-m", out, "-d", mined)
    assert process.returncode == 0, process.stderr
    names = [line.partition(":")[0] for line in process.stdout.splitlines()[:4]]
    assert names == ["precision", "recall", "f1", "auc"]


def test_only_rank_0_reports_a_mistake_and_it_does_so_first():
    process = run("reranker", *TORCHRUN, "--nproc_per_node", "2", "run.py", "--no_such_flag", "1", OMP_NUM_THREADS="1")
    assert process.returncode != 0
    assert process.stderr.count("error: sharprank train: unknown flag --no_such_flag") == 1


@pytest.mark.parametrize("door", DOORS)
def test_a_door_is_a_docstring_one_import_and_one_call(door):
    text = (ROOT / door).read_text(encoding="utf-8")
    kinds = [type(node) for node in ast.parse(text).body]
    assert kinds == [ast.Expr, ast.ImportFrom, ast.If]
    assert f"from sharprank.cli.{DOORS[door]} import main" in text
    assert len(text.splitlines()) <= 8


def test_door_folders_hold_doors_only():
    found = {
        str(path.relative_to(ROOT)) for folder in ("embedding", "reranker") for path in (ROOT / folder).rglob("*.py")
    }
    assert found == {*DOORS, "embedding/finetune/__init__.py"}
