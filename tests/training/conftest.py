"""Small rows that a tiny model can learn, and the training command with tiny settings."""

from __future__ import annotations

import json
import random

import pytest

GOOD = "cat dog fish tree river house green red blue".split()
BAD = "python file line row data table key index rank".split()


def make_rows(count: int, seed: int, num_negatives: int = 5) -> list[dict]:
    """Positives are made of other words than negatives, which even a tiny random model learns in a few steps."""
    rng = random.Random(seed)
    rows = []
    for i in range(count):
        negatives = [" ".join(rng.choices(BAD, k=3 + (i + j) % 5)) + f" {j}" for j in range(num_negatives)]
        rows.append({"query": f"what is {i}", "pos": [" ".join(rng.choices(GOOD, k=4))], "neg": negatives})
    return rows


def write_rows(path, rows) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.fixture
def train_file(tmp_path) -> str:
    return write_rows(tmp_path / "train.jsonl", make_rows(22, seed=1))


@pytest.fixture
def eval_file(tmp_path) -> str:
    return write_rows(tmp_path / "eval.jsonl", make_rows(9, seed=2))


@pytest.fixture
def arguments(tiny_bert, train_file, tmp_path):
    """Words of a tiny `sharprank train`; keyword arguments replace or add flags."""

    def words(**flags) -> list[str]:
        settings = {
            "model_name_or_path": tiny_bert,
            "train_data": train_file,
            "output_dir": tmp_path / "out",
            "per_device_train_batch_size": 4,
            "train_group_size": 4,
            "num_train_epochs": 2,
            "learning_rate": 1e-3,
            "logging_steps": 1,
            "use_cpu": True,
            "bf16": False,  # most tests compare numbers
            **flags,
        }
        return [word for name, value in settings.items() for word in (f"--{name}", str(value))]

    return words
