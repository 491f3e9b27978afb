"""Peak memory of training: each side alone in a process of its own, since a peak cannot be taken back."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.speed.material import make_material
from benchmarks.speed.training import Trainee, flagembedding_side, sentence_transformers_side, sharprank_side

NUM_ROWS = 8
SIDES: dict[str, Callable[..., Trainee]] = {
    "sharprank": lambda material, folder: sharprank_side(material, bf16=False, dropout=0.1),
    "FlagEmbedding": lambda material, folder: flagembedding_side(material, folder, bf16=False, dropout=0.1),
    "sentence-transformers": lambda material, folder: sentence_transformers_side(
        material, bf16=False, dropout=0.1, mini_batch_size=None
    ),
}


def peak_bytes(side: str) -> dict[str, int]:
    """Peak resident memory of one side's process: before its first training step, and in the end."""
    words = [sys.executable, "-m", "benchmarks.speed.memory", side]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def _measure(side: str) -> dict[str, int]:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        material = make_material(folder, num_rows=NUM_ROWS)
        trainee = SIDES[side](material, folder)
        before = _peak()
        trainee.steps(NUM_ROWS)
        return {"loaded": before, "trained": _peak()}


def _peak() -> int:
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would remember the parent's peak across fork and exec
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    print(json.dumps(_measure(sys.argv[1])))
