"""Measure what a reranker has to beat on the documentation of this Python: BM25 and MiniLM, by split.

    python benchmarks/first_stages.py [OUTPUT.json]

Prints one line a ranking and split, and writes the same as JSON (default: first_stages.json beside this file).
"""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from pathlib import Path

from sharprank.formats.collections import read_collection
from sharprank.formats.python_docs import SPLITS, write_python_docs
from sharprank.formats.writers import write_json
from sharprank.metrics.ranking import average, measure_run
from sharprank.mining.config import MineConfig
from sharprank.pipeline.first_stage import NUM_RANKED, bm25_run, dense_run
from sharprank.provenance import versions

MEASURES = ("MRR@10", "nDCG@10", "Recall@20")
MINILM = MineConfig(input_file="", output_file="", model_name_or_path="minilm", dtype="auto", device="cpu")
RANKINGS = {"BM25": bm25_run, "minilm": partial(dense_run, mine=MINILM)}


def main(output_path: Path) -> None:
    """Measure, print, write."""
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        counts = write_python_docs(Path(folder) / "docs")
        collections = {split: read_collection(Path(folder) / "docs", split=split) for split in SPLITS}
        any_split = collections["test"]
        for name, rank in RANKINGS.items():
            run = rank(any_split.passages, any_split.queries, NUM_RANKED)
            for split, collection in collections.items():
                results[f"{name}, {split}"] = average(measure_run(collection.qrels, run, MEASURES))
            everything = {query_id: judged for c in collections.values() for query_id, judged in c.qrels.items()}
            results[f"{name}, all"] = average(measure_run(everything, run, MEASURES))
    for name, measured in results.items():
        print(f"{name:<20}", "  ".join(f"{measure} {value:.3f}" for measure, value in measured.items()))
    rounded = {name: {m: round(v, 4) for m, v in measured.items()} for name, measured in results.items()}
    write_json(output_path, {"pairs": counts, "results": rounded, "versions": versions()})


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).with_suffix(".json"))
