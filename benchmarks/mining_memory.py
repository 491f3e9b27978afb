"""Measure the peak memory of mining pools of growing size, and what one more passage takes.

    python benchmarks/mining_memory.py [--encoders hashed tiny minilm] [--passages 100000 1000000] [--output FILE.json]

Every pool is mined in a process of its own, from scratch. The peak is the process's largest resident set, mapped
files included. Encoders: `hashed` gives every text a random vector of 256 dimensions without a model, so that nothing
hides what the stage itself takes; `tiny` is a BERT of one layer with random weights; `minilm` is all-MiniLM-L6-v2, on
10,000 passages, for the part that does not grow.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tiny_mining import write_encoder, write_pool, write_rows

from sharprank.formats.writers import write_json
from sharprank.mining.config import MineConfig
from sharprank.mining.mine import mine
from sharprank.provenance import versions

NUM_ROWS = 1000
SIZE = 256
MINILM_PASSAGES = 10_000
LETTERS = 24
MB = 1e6


class HashedEncoder:
    """The sum of a random vector for each of a text's first bytes, and of one for its hash."""

    size = SIZE

    def __init__(self) -> None:
        self._table = np.random.default_rng(0).normal(size=(512, SIZE)).astype(np.float32)

    def encode(self, texts: Sequence[str], *, kind: Any, progress: Any, tokenize_batch: int) -> np.ndarray:
        vectors = np.empty((len(texts), SIZE), np.float32)
        for number, text in enumerate(texts):
            data = text.encode()
            letters = np.frombuffer(data[:LETTERS].ljust(LETTERS), np.uint8)
            vectors[number] = self._table[letters].sum(0) + 4 * self._table[256 + zlib.crc32(data) % 256]
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def settings(self) -> dict[str, Any]:
        return {"model": "hashed"}

    def weights_sha256(self) -> str:
        return "hashed"


def measure(folder: Path, encoder: str, count: int) -> dict[str, Any]:
    """Mine a pool of `count` passages in a new process: seconds, peak bytes, bytes of the cache."""
    pool = folder / f"{count}.jsonl"
    in_a_child(lambda: pool.exists() or write_pool(pool, count))
    config = MineConfig(
        input_file=str(folder / "rows.jsonl"),
        output_file=str(folder / f"{encoder}-{count}.jsonl"),
        candidate_pool=str(pool),
        model_name_or_path=str(folder / "encoder") if encoder == "tiny" else encoder,
        embedding_cache=str(folder / f"cache-{encoder}-{count}"),
        range_for_sampling="10-210",
        negative_number=15,
        output_scores=True,
        device="cpu",
    )
    start = time.perf_counter()
    load = {"load_encoder": lambda config: HashedEncoder()} if encoder == "hashed" else {}
    usage = in_a_child(lambda: mine(config, **load))
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    on_disk = sum(path.stat().st_size for path in Path(config.embedding_cache or "").rglob("*") if path.is_file())
    seconds = round(time.perf_counter() - start, 1)
    print(
        f"{encoder:<8}{count:>10,} passages: {peak / MB:6.0f} MB at most, {seconds:7.1f} s, {on_disk / MB:6.0f} MB on disk",
        flush=True,
    )
    return {"passages": count, "seconds": seconds, "peak_bytes": peak, "disk_bytes": on_disk}


def in_a_child(work: Any) -> resource.struct_rusage:
    """Do some work in a forked process; what it used. The parent stays small: it imports no model."""
    child = os.fork()
    if not child:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    _, status, usage = os.wait4(child, 0)
    if status:
        raise SystemExit(f"a run failed with status {status}")
    return usage


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoders", nargs="+", choices=("hashed", "tiny", "minilm"), default=["hashed", "minilm"])
    parser.add_argument("--passages", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    options = parser.parse_args()
    results = json.loads(options.output.read_text())["results"] if options.output.exists() else {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        in_a_child(lambda: write_rows(folder / "rows.jsonl", NUM_ROWS))
        for encoder in options.encoders:
            if encoder == "tiny":
                in_a_child(lambda: write_encoder(folder / "encoder", hidden_size=SIZE))
            counts = [MINILM_PASSAGES] if encoder == "minilm" else options.passages
            measured = [measure(folder, encoder, count) for count in counts]
            results[encoder] = {"runs": measured}
            first, last = measured[0], measured[-1]
            if last["passages"] > first["passages"]:
                growth = (last["peak_bytes"] - first["peak_bytes"]) / (last["passages"] - first["passages"])
                results[encoder]["bytes_a_passage"] = round(growth, 1)
                print(f"{encoder:<8}one more passage takes {growth:.1f} bytes of memory")
    write_json(options.output, {"results": results, "rows": NUM_ROWS, "dimensions": SIZE, "versions": versions()})


if __name__ == "__main__":
    main()
