"""Measure the peak memory of `sharprank mine` on pools of growing size, and what one more passage takes.

    python benchmarks/mining_memory.py [--passages 100000 1000000] [--minilm 10000] [--output FILE.json]

Every pool is mined in a process of its own, from scratch, with a tiny random encoder (and one with all-MiniLM-L6-v2,
for the part that does not grow). The peak is the process's largest resident set, mapped files included.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tiny_mining import write_encoder, write_pool, write_rows

from sharprank.formats.writers import write_json
from sharprank.provenance import versions

NUM_ROWS = 1000
SIZE = 256
"""Dimensions of the tiny encoder's vectors."""
MB = 1e6


def measure(folder: Path, count: int, model: str) -> dict[str, Any]:
    """Mine a pool of `count` passages in a new process: seconds, peak bytes, bytes of the cache."""
    pool, cache = write_pool(folder / f"{count}.jsonl", count), folder / f"cache-{model.rpartition('/')[2]}-{count}"
    output = folder / f"{count}.out.jsonl"
    flags = {
        "input_file": folder / "rows.jsonl", "output_file": output, "candidate_pool": pool, "model_name_or_path": model,
        "embedding_cache": cache, "range_for_sampling": "10-210", "negative_number": 15, "device": "cpu",
        "output_scores": True, "overwrite": True,
    }  # fmt: skip
    words = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
    start = time.perf_counter()
    process = os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, "-m", "sharprank", "mine", *words])
    _, status, usage = os.wait4(process, 0)
    seconds = time.perf_counter() - start
    if status:
        raise SystemExit(f"mining {count} passages failed with status {status}")
    on_disk = sum(path.stat().st_size for path in cache.rglob("*") if path.is_file())
    return {"passages": count, "seconds": round(seconds, 1), "peak_bytes": _bytes(usage), "disk_bytes": on_disk}


def _bytes(usage: resource.struct_rusage) -> int:
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--passages", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--minilm", type=int, default=10_000, help="passages to mine with all-MiniLM-L6-v2; 0: none")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_rows(folder / "rows.jsonl", NUM_ROWS)
        encoder = str(write_encoder(folder / "encoder", hidden_size=SIZE))
        results = {"tiny": [measure(folder, count, encoder) for count in options.passages]}
        if options.minilm:
            results["minilm"] = [measure(folder, options.minilm, "minilm")]
    for model, measured in results.items():
        for one in measured:
            print(
                f"{model:<8}{one['passages']:>10,} passages: {one['peak_bytes'] / MB:7.0f} MB at most, "
                f"{one['seconds']:7.1f} s, {one['disk_bytes'] / MB:7.0f} MB on disk"
            )
    first, last = results["tiny"][0], results["tiny"][-1]
    growth = None
    if last["passages"] > first["passages"]:
        growth = (last["peak_bytes"] - first["peak_bytes"]) / (last["passages"] - first["passages"])
        print(f"one more passage takes {growth:.1f} bytes of memory")
    write_json(
        options.output,
        {"rows": NUM_ROWS, "dimensions": SIZE, "results": results, "growth": growth, "versions": versions()},
    )


if __name__ == "__main__":
    main()
