"""Training in processes of its own: killed for good and run again, and shared by two ranks under torchrun."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from sharprank.cli.train import main
from sharprank.training.resume import RUN_FILE, checkpoints
from sharprank.training.trainer import COMPLETE_MARK
from tests.training.conftest import make_rows, write_rows

SECONDS = 240
REPOSITORY = Path(__file__).parents[2]


def environment() -> dict[str, str]:
    return {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


def losses(folder: Path) -> list[float]:
    history = json.loads((folder / "trainer_state.json").read_text())["log_history"]
    return [entry["loss"] for entry in history if "loss" in entry]


def torchrun(num_processes: int, words: list[str]) -> subprocess.CompletedProcess:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        f"--nproc_per_node={num_processes}",
        f"--master_port={port}",
    ]
    return subprocess.run(
        [*command, "run.py", *words],
        cwd=REPOSITORY / "reranker",
        env=environment(),
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


def test_a_killed_run_continues_from_its_last_checkpoint_to_the_same_weights(arguments, tmp_path):
    flags = {"num_train_epochs": 8, "save_steps": 2, "save_total_limit": 2}
    command = [sys.executable, "-m", "sharprank", "train"]
    broken = tmp_path / "broken"
    process = subprocess.Popen([*command, *arguments(output_dir=broken, **flags)], env=environment())
    deadline = time.monotonic() + SECONDS
    while len([c for c in checkpoints(broken) if (c / COMPLETE_MARK).is_file()]) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not json.loads((broken / RUN_FILE).read_text())["finished"]

    again = subprocess.run(
        [*command, *arguments(output_dir=broken, **flags)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert again.returncode == 0, again.stderr
    assert "continuing from" in again.stderr
    whole = subprocess.run(
        [*command, *arguments(output_dir=tmp_path / "whole", **flags)], env=environment(), timeout=SECONDS
    )
    assert whole.returncode == 0
    left, right = load_file(broken / "model.safetensors"), load_file(tmp_path / "whole" / "model.safetensors")
    assert all(torch.equal(left[name], right[name]) for name in left)
    assert losses(broken) == losses(tmp_path / "whole")


@pytest.fixture
def without_dropout(tiny_bert, tmp_path) -> Path:
    folder = tmp_path / "still"
    shutil.copytree(tiny_bert, folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_two_processes_give_the_loss_curve_and_measures_of_one(arguments, eval_file, without_dropout, tmp_path):
    # 22 rows in global batches of 4: the last batch holds 2 groups, one for each rank.
    flags = {
        "model_name_or_path": without_dropout,
        "eval_data": eval_file,
        "num_train_epochs": 2,
        "ddp_backend": "nccl",
    }
    curves, measures = {}, {}
    for processes in (1, 2):
        out = tmp_path / str(processes)
        words = arguments(output_dir=out, per_device_train_batch_size=4 // processes, **flags)
        result = torchrun(processes, words)
        assert result.returncode == 0, result.stderr[-3000:]
        curves[processes] = losses(out)
        measures[processes] = json.loads((out / RUN_FILE).read_text())["measures"]
        assert result.stdout.count("nDCG@10") == 1  # the first rank alone reports
    np.testing.assert_allclose(curves[2], curves[1], atol=2e-4)
    assert len(curves[1]) == 12
    assert measures[2] == pytest.approx(measures[1], abs=1e-6)


def test_two_processes_divide_each_term_of_an_objective_by_its_global_count(arguments, without_dropout, tmp_path):
    # Positives and negatives of ragged rows, groups in pieces, and two terms with other counts than groups.
    rows = [{**row, "pos_scores": [3.0], "neg_scores": [0.5 * i for i in range(5)]} for row in make_rows(22, seed=1)]
    for index, row in enumerate(rows):
        row["neg"], row["neg_scores"] = row["neg"][: 1 + index % 5], row["neg_scores"][: 1 + index % 5]
    flags = {
        "train_data": write_rows(tmp_path / "rows.jsonl", rows),
        "model_name_or_path": without_dropout,
        "loss": "margin_mse",
        "distillation_weight": 0.5,
        "micro_batch_tokens": 20,
        "num_train_epochs": 1,
        "learning_rate": 1e-4,
    }
    assert main(arguments(output_dir=tmp_path / "1", per_device_train_batch_size=4, **flags)) == 0
    result = torchrun(2, arguments(output_dir=tmp_path / "2", per_device_train_batch_size=2, **flags))
    assert result.returncode == 0, result.stderr[-3000:]
    assert len(losses(tmp_path / "1")) == 6
    np.testing.assert_allclose(losses(tmp_path / "2"), losses(tmp_path / "1"), rtol=2e-3)


def test_accumulation_under_two_processes_and_a_rank_without_work_change_nothing(arguments, without_dropout, tmp_path):
    # Global batches of 3 x 2 ranks x 1 and of 1 x 2 x 3; 22 = 3 * 6 + 4 leaves ranks of different load.
    curves = []
    for batch, accumulation in ((3, 1), (1, 3)):
        out = tmp_path / f"{batch}x{accumulation}"
        flags = {
            "per_device_train_batch_size": batch,
            "gradient_accumulation_steps": accumulation,
            "num_train_epochs": 1,
            "ddp_static_graph": True,  # torch's reducer would fail on accumulation
        }
        result = torchrun(2, arguments(output_dir=out, model_name_or_path=without_dropout, **flags))
        assert result.returncode == 0, result.stderr[-3000:]
        assert result.stderr.count("--ddp_static_graph does not go with micro-batches") == 1
        curves.append(losses(out))
    np.testing.assert_allclose(curves[0], curves[1], atol=2e-4)


def test_under_torchrun_a_mistake_is_said_once_and_the_exit_code_is_not_zero(arguments):
    result = torchrun(2, arguments(max_len=999))
    assert result.returncode != 0
    assert result.stderr.count("--max_len 999 is more than the 128 positions") == 1
    assert "fix: use --max_len 128" in result.stderr


def test_two_processes_choose_what_one_chooses_and_end_with_its_comparison(tiny_encoder, tmp_path, capsys):
    similar = [
        {**row, "pos_similarity": [0.5], "neg_similarity": [0.7, 0.4, 0.3, 0.2, 0.1]} for row in make_rows(24, 1)
    ]
    data = write_rows(tmp_path / "mined.jsonl", similar)
    words = ["-m", tiny_encoder, "--train_data", data, "--validation_split", 0.3, "--max_steps", 4, "--dropout", 0.0]
    assert main([str(word) for word in [*words, "--output_dir", tmp_path / "1"]]) == 0
    alone = capsys.readouterr().out
    result = torchrun(2, [str(word) for word in [*words, "--output_dir", tmp_path / "2"]])
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("chosen (a flag overrules)") == 1
    assert "--per_device_train_batch_size 4 (17 queries)" in result.stderr  # steps are given: no passes to choose
    runs = [json.loads((tmp_path / name / RUN_FILE).read_text()) for name in "12"]
    assert runs[0]["settings"] == runs[1]["settings"] and runs[0]["settings"]["global_batch_size"] == 8
    ranked = [text[text.index("7 validation queries") :].splitlines()[:2] for text in (alone, result.stdout)]
    assert ranked[0] == ranked[1]
    first = [json.loads((tmp_path / name / RUN_FILE).read_text())["measures"] for name in "12"]
    assert first[0] == pytest.approx(first[1], abs=0.05)


def test_a_run_that_chose_its_batch_goes_on_with_two_processes_to_the_weights_of_one(tiny_encoder, tmp_path, capsys):
    data = write_rows(tmp_path / "rows.jsonl", make_rows(24, 1))
    words = ["-m", tiny_encoder, "--train_data", data, "--max_steps", 6, "--save_steps", 3]
    words = [str(word) for word in [*words, "--dropout", 0.0, "--bf16", False, "--logging_steps", 1]]
    one, two = tmp_path / "1", tmp_path / "2"
    for folder in (one, two):
        assert main([*words, "--output_dir", str(folder)]) == 0
    shutil.rmtree(two / "checkpoint-6")
    run = json.loads((two / RUN_FILE).read_text())
    (two / RUN_FILE).write_text(json.dumps(run | {"finished": False}))
    result = torchrun(2, [*words, "--output_dir", str(two)])
    assert result.returncode == 0, result.stderr[-3000:]
    assert "--per_device_train_batch_size 4 " in result.stderr and "continuing from" in result.stderr
    assert json.loads((two / RUN_FILE).read_text())["settings"] == run["settings"]
    assert len(losses(one)) == 6
    np.testing.assert_allclose(losses(two), losses(one), atol=2e-3)
