"""Measure what mining at scale is made of, on one CPU core: embedding, storing texts, exact and approximate search.

    OMP_NUM_THREADS=1 python benchmarks/mining_rates.py [--output FILE.json]

Embedding: all-MiniLM-L6-v2 on docstrings of this Python. Search: random vectors of 384 dimensions around a thousand
centres. Ends with what these rates come to for large pools (docs/scale.md).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sharprank.formats.collections import iter_corpus
from sharprank.formats.python_docs import write_python_docs
from sharprank.formats.text_store import TextWriter
from sharprank.formats.writers import write_json
from sharprank.models.bi_encoder import BiEncoder
from sharprank.provenance import versions
from sharprank.retrieval.approximate import ApproximateSearch
from sharprank.retrieval.faiss_index import search

SIZE, CENTRES, K = 384, 1000, 210
ROWS, QUERIES = 262_144, 1000
POOLS = (10_000_000, 100_000_000, 1_000_000_000)
POOL_QUERIES, POOL_TOKENS, POOL_BYTES = 100_000, 85, 500
"""Of the pools reckoned with: queries, tokens a passage, bytes a passage."""
INDEX = "IVF1024,PQ48"
INDEXES = {"IVF1024,PQ48": ROWS, "IVF1024,SQ8": ROWS, "HNSW32": 32_768}


def seconds(work: Callable[..., Any], *arguments: Any) -> float:
    """Wall time of some work."""
    start = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - start


def vectors(count: int, seed: int) -> np.ndarray:
    """Unit vectors around a thousand centres."""
    draw = np.random.default_rng(seed)
    centres = np.random.default_rng(0).normal(size=(CENTRES, SIZE)).astype(np.float32)
    noise = draw.normal(size=(count, SIZE)).astype(np.float32)
    found = centres[draw.integers(CENTRES, size=count)] + noise
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def embedding(folder: Path) -> dict[str, float]:
    """Texts and tokens a second, and tokens of a text."""
    write_python_docs(folder / "docs")
    texts = [passage.text for passage in iter_corpus(folder / "docs")][:600]
    encoder = BiEncoder.load("minilm", device="cpu", dtype="float32")
    tokens = sum(len(ids) for ids in encoder.tokenizer(texts, truncation=True, max_length=512)["input_ids"])
    encoder.encode(texts[:50], kind="passage")
    took = seconds(lambda: encoder.encode(texts, kind="passage"))
    return {"texts_a_second": len(texts) / took, "tokens_a_second": tokens / took, "tokens_a_text": tokens / len(texts)}


def storing(folder: Path) -> dict[str, float]:
    """Texts a second into a store, and bytes on disk beside the texts themselves."""
    texts = [f"{number} made up passage of a few words, as long as need be" for number in range(300_000)]

    def write() -> None:
        with TextWriter(folder / "store") as writer:
            for text in texts:
                writer.add(text)

    took = seconds(write)
    on_disk = sum(path.stat().st_size for path in (folder / "store").iterdir()) - sum(map(len, texts))
    return {"texts_a_second": len(texts) / took, "bytes_a_text": on_disk / len(texts)}


def searching(folder: Path) -> dict[str, dict[str, float]]:
    """Exact search in pairs of query and passage a second; indexes in rows and queries a second, with their recall."""
    table_ND, queries_QD = vectors(ROWS, 1), vectors(QUERIES, 2)
    took = seconds(lambda: search([table_ND], queries_QD, K))
    results = {"exact": {"pairs_a_second": QUERIES * ROWS / took}}
    for factory, rows in INDEXES.items():
        table = [table_ND[:rows]]
        exact = search(table, queries_QD, K)
        index = ApproximateSearch(factory, SIZE, rows, k=K)
        building = seconds(index.prepare, table, folder / factory)
        hits = index.search(table, queries_QD)
        took = seconds(index.search, table, queries_QD)
        shared = [len(np.intersect1d(a, b)) / K for a, b in zip(hits.ids, exact.ids, strict=True)]
        size = sum(path.stat().st_size for path in (folder / factory).iterdir())
        results[factory] = {
            "rows": rows,
            "rows_indexed_a_second": rows / building,
            "queries_a_second": QUERIES / took,
            "recall": float(np.mean(shared)),
            "bytes_a_row": size / rows,
        }
    return results


def costs(rates: dict[str, Any], count: int) -> dict[str, float]:
    """Core hours and bytes for a pool of `count` passages, vectors in float16."""
    index, hours = rates[INDEX], 1 / 3600
    return {
        "reading_core_hours": hours * count / rates["storing"]["texts_a_second"],
        "embedding_core_hours": hours * count * POOL_TOKENS / rates["embedding"]["tokens_a_second"],
        "exact_search_core_hours": hours * count * POOL_QUERIES / rates["exact"]["pairs_a_second"],
        "indexing_core_hours": hours * count / index["rows_indexed_a_second"],
        "index_search_core_hours": hours * POOL_QUERIES * count / index["rows"] / index["queries_a_second"],
        "text_bytes": count * (POOL_BYTES + rates["storing"]["bytes_a_text"]),
        "vector_bytes": count * SIZE * 2,
        "index_bytes": count * index["bytes_a_row"],
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        results = {"embedding": embedding(folder), "storing": storing(folder), **searching(folder)}
    for name, measured in results.items():
        print(f"{name:<14}", "  ".join(f"{what} {value:,.3g}" for what, value in measured.items()))
    reckoned = {f"{count:,}": costs(results, count) for count in POOLS}
    for count, measured in reckoned.items():
        print(f"{count:>13} passages:", "  ".join(f"{what} {value:,.3g}" for what, value in measured.items()))
    write_json(options.output, {"results": results, "reckoned": reckoned, "versions": versions()})


if __name__ == "__main__":
    main()
