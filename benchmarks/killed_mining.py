"""Kill `sharprank mine` for good (SIGKILL) at random moments, run it again, and compare bytes.

    python benchmarks/killed_mining.py [--kills 20] [--passages 20000] [--seed 0] [--output FILE.json]

One process imports everything and forks; every child mines and is killed after a random part of the time that
an uninterrupted run takes. A child that finishes first is compared with the uninterrupted run, and all it made is
deleted, so that the next starts from nothing. After the last kill one more child finishes and is compared. Shards are
made small, so that there are many moments between them.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tiny_mining import write_encoder, write_pool, write_rows

from sharprank.formats.writers import write_json
from sharprank.mining.config import MineConfig
from sharprank.mining.mine import mine
from sharprank.provenance import versions
from sharprank.retrieval import embeddings, faiss_index, table

SHARD_TEXTS = 256
NUM_ROWS = 300


class Job:
    """One mining run that can be begun, killed, and begun again.

    Args:
        folder: holds the inputs; gets the output and the cache.
        name: of the output and the cache.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.output, self.cache = folder / f"{name}.jsonl", folder / f"{name}-cache"
        self.config = MineConfig(
            input_file=str(folder / "rows.jsonl"),
            output_file=str(self.output),
            candidate_pool=str(folder / "pool.jsonl"),
            model_name_or_path=str(folder / "encoder"),
            embedding_cache=str(self.cache),
            range_for_sampling="5-60",
            negative_number=5,
            output_scores=True,
            device="cpu",
        )

    def begin(self) -> int:
        """Fork a child that mines; its process id."""
        return forked(lambda: mine(self.config))

    def hash(self) -> str:
        """Of the output and its statistics."""
        stats = Path(f"{self.output}.stats.json")
        return hashlib.sha256(self.output.read_bytes() + stats.read_bytes()).hexdigest()

    def forget(self) -> None:
        """Delete the output and the cache."""
        shutil.rmtree(self.cache, ignore_errors=True)
        for path in self.output.parent.glob(f"{self.output.name}*"):
            path.unlink()


def forked(work: Callable[[], object]) -> int:
    """Begin some work, silently, in a child; its process id. The parent starts no thread, so that it can fork."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        work()
        code = 0
    finally:
        os._exit(code)


def finish(child: int) -> float:
    """Let a child run to its end; seconds."""
    start = time.perf_counter()
    _, status = os.waitpid(child, 0)
    if status:
        raise SystemExit(f"a run failed with status {status}")
    return time.perf_counter() - start


def kill(job: Job, seconds: float) -> bool:
    """Begin the job and kill it after so many seconds; whether it was still running."""
    child = job.begin()
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            if status:
                raise SystemExit(f"a run failed with status {status}")
            return False
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def main() -> None:
    """Kill, compare, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--passages", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    options = parser.parse_args()
    for name in ("transformers.models.bert.modeling_bert", "sharprank.models.bi_encoder", "faiss"):
        importlib.import_module(name)  # once, for all children
    embeddings.SHARD_TEXTS = SHARD_TEXTS
    table.JOINED_ROWS = 4 * SHARD_TEXTS
    faiss_index.HELD_HITS = 10_000
    draw = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        finish(forked(lambda: write_encoder(folder / "encoder")))
        write_rows(folder / "rows.jsonl", NUM_ROWS)
        write_pool(folder / "pool.jsonl", options.passages)
        whole, job = Job(folder, "whole"), Job(folder, "killed")
        seconds = finish(whole.begin())
        compared, moments = 0, []
        while len(moments) < options.kills:
            moment = draw.random() * seconds
            if kill(job, moment):
                moments.append(round(moment, 3))
                continue
            compared += same(job, whole)
            job.forget()
        finish(job.begin())
        compared += same(job, whole)
    print(f"{len(moments)} kills within the {seconds:.1f} s of a run of {options.passages:,} passages")
    print(f"{compared} outputs finished after kills, all with the bytes of the uninterrupted run")
    write_json(
        options.output,
        {"seconds": round(seconds, 2), "kills": moments, "compared": compared, "versions": versions()},
    )


def same(job: Job, whole: Job) -> int:
    """1; leaves with an error when the outputs differ."""
    if job.hash() != whole.hash():
        raise SystemExit("the bytes differ after a kill")
    return 1


if __name__ == "__main__":
    sys.exit(main())
