"""Mining shared by ranks under torchrun, and ranks that die."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sharprank.cli.mine import main
from sharprank.retrieval import embeddings, table

SECONDS = 240
SCRIPT = str(Path(__file__).with_name("small_shards.py"))
WORDS = "green red blue fast slow apple banana cat dog fish tree river house find read write sort search map".split()


@pytest.fixture
def words(tmp_path, tiny_encoder, tiny_bert, cache):
    """The flags of a run over 600 passages and 150 queries; its output and cache by name."""
    draw = random.Random(2)
    texts = [f"{i} " + " ".join(draw.choices(WORDS, k=draw.randint(2, 20))) for i in range(900)]
    rows = [{"query": texts[i], "pos": [texts[200 + i]]} for i in range(150)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts[300:]))

    def flags(name: str) -> list[str]:
        return [
            "--input_file", str(tmp_path / "rows.jsonl"), "--candidate_pool", str(tmp_path / "pool.jsonl"),
            "--output_file", str(tmp_path / f"{name}.jsonl"), "--embedding_cache", str(cache / name),
            "--model_name_or_path", str(tiny_encoder), "--range_for_sampling", "2-60", "--negative_number", "5",
            "--device", "cpu", "--output_scores", "--search_batch_size", "16", "--teacher", str(tiny_bert),
        ]  # fmt: skip

    return flags


def free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def started(words: list[str], **environment: str) -> subprocess.Popen:
    env = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    command = [sys.executable, SCRIPT, *words]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def bytes_of_one_process(words, tmp_path, monkeypatch) -> bytes:
    """What mining here, with the same small shards, writes."""
    monkeypatch.setattr(embeddings, "SHARD_TEXTS", 32)
    monkeypatch.setattr(table, "JOINED_ROWS", 64)
    assert main(words("alone")) == 0
    return (tmp_path / "alone.jsonl").read_bytes()


def test_two_ranks_give_the_bytes_of_one_process_and_say_things_once(words, tmp_path, bytes_of_one_process):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", f"--master_port={free_port()}"]
    shared = subprocess.run(
        [*command, SCRIPT, *words("shared")], capture_output=True, text=True, timeout=SECONDS, env={**os.environ}
    )
    assert shared.returncode == 0, shared.stderr
    assert (tmp_path / "shared.jsonl").read_bytes() == bytes_of_one_process
    assert shared.stdout.count("output ") == 1
    assert shared.stderr.count("to do: embed 600 of 600 passages") == 1


def test_when_a_rank_dies_the_other_stops_with_one_message_and_the_next_run_continues(
    words, tmp_path, cache, bytes_of_one_process, capsys
):
    ranks = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "DIE_AT": "1:3"}
    first, second = (started(words("run"), RANK=str(rank), LOCAL_RANK=str(rank), **ranks) for rank in (0, 1))
    said = first.communicate(timeout=SECONDS)[1]
    assert second.wait(SECONDS) == -signal.SIGKILL
    assert first.returncode == 2, said
    assert said.count("error: another rank has stopped") == 1 and "Traceback" not in said
    assert not (tmp_path / "run.jsonl").exists()
    assert len(list((cache / "run").rglob("*.npy"))) >= 3

    capsys.readouterr()
    assert main(words("run")) == 0
    assert "embed 600 of 600" not in capsys.readouterr().err
    assert (tmp_path / "run.jsonl").read_bytes() == bytes_of_one_process
