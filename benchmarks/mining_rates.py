"""Measure what mining at scale is made of, on one CPU core: embedding, storing texts, exact and approximate search.

    OMP_NUM_THREADS=1 python benchmarks/mining_rates.py [--output FILE.json]  (two minutes)

Embedding: all-MiniLM-L6-v2 on docstrings of this Python. Search: random vectors of 384 dimensions around a thousand
centres. All rates are by CPU time. Ends with what they come to for large pools (docs/scale.md).
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
from sharprank.retrieval.approximate import INDEX_ROWS, LISTS_SEARCHED, REFINED
from sharprank.retrieval.faiss_index import rescore, search

SIZE, CENTRES, K = 384, 1000, 210
ROWS, QUERIES = 131_072, 1000
POOLS = (10_000_000, 100_000_000, 1_000_000_000)
POOL_QUERIES, POOL_TOKENS, POOL_BYTES = 100_000, 85, 500
"""Of the pools reckoned with: queries, tokens a passage, bytes a passage."""
LISTS, TRAINING_ROWS, GRAPH_ROWS = 256, 16_384, 8192
INDEX = f"IVF{LISTS},PQ48"


def seconds(work: Callable[..., Any], *arguments: Any) -> float:
    """CPU time of some work, which others on the machine hardly change."""
    start = time.process_time()
    work(*arguments)
    return time.process_time() - start


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
    texts = [passage.text for passage in iter_corpus(folder / "docs")][:300]
    encoder = BiEncoder.load("minilm", device="cpu", dtype="float32")
    tokens = sum(len(ids) for ids in encoder.tokenizer(texts, truncation=True, max_length=512)["input_ids"])
    encoder.encode(texts[:50], kind="passage")
    took = seconds(lambda: encoder.encode(texts, kind="passage"))
    return {"texts_a_second": len(texts) / took, "tokens_a_second": tokens / took, "tokens_a_text": tokens / len(texts)}


def storing(folder: Path) -> dict[str, float]:
    """Texts a second into a store, and bytes on disk beside the texts themselves."""
    texts = [f"{number} made up passage of a few words, as long as need be" for number in range(200_000)]

    def write() -> None:
        with TextWriter(folder / "store") as writer:
            for text in texts:
                writer.add(text)

    took = seconds(write)
    on_disk = sum(path.stat().st_size for path in (folder / "store").iterdir()) - sum(map(len, texts))
    return {"texts_a_second": len(texts) / took, "bytes_a_text": on_disk / len(texts)}


def searching() -> dict[str, dict[str, float]]:
    """Exact search in pairs of query and passage a second; an index by its steps, with its recall."""
    table_ND, queries_QD = vectors(ROWS, 1), vectors(QUERIES, 2)
    took = seconds(search, [table_ND], queries_QD, K)
    exact = {"pairs_a_second": QUERIES * ROWS / took}
    return {"exact": exact, INDEX: indexed(table_ND, queries_QD), "HNSW32": graph(table_ND[:GRAPH_ROWS], queries_QD)}


def indexed(table_ND: np.ndarray, queries_QD: np.ndarray) -> dict[str, float]:
    """Training, adding, scanning, and scoring what was found."""
    import faiss

    index = faiss.index_factory(SIZE, INDEX, faiss.METRIC_INNER_PRODUCT)
    training = seconds(index.train, table_ND[:TRAINING_ROWS])
    adding = seconds(index.add, table_ND)
    faiss.ParameterSpace().set_index_parameters(index, f"nprobe={LISTS // LISTS_SEARCHED}")
    scanning = seconds(index.search, queries_QD, REFINED * K)
    found = index.search(queries_QD, REFINED * K)[1]
    scoring = seconds(rescore, [table_ND], queries_QD, found)
    best = rescore([table_ND], queries_QD, found)[0][:, :K]
    return {
        "rows": len(table_ND),
        "training_rows": TRAINING_ROWS,
        "training_seconds": training,
        "rows_added_a_second": len(table_ND) / adding,
        "scan_seconds_a_query": scanning / QUERIES,
        "scoring_seconds_a_query": scoring / QUERIES,
        "recall": recall(best, [table_ND], queries_QD),
        "bytes_a_row": len(faiss.serialize_index(index)) / len(table_ND),
    }


def graph(table_ND: np.ndarray, queries_QD: np.ndarray) -> dict[str, float]:
    """Building and searching a graph with efSearch of four times the hits."""
    import faiss

    index = faiss.index_factory(SIZE, "HNSW32", faiss.METRIC_INNER_PRODUCT)
    adding = seconds(index.add, table_ND)
    faiss.ParameterSpace().set_index_parameters(index, f"efSearch={2 * REFINED * K}")
    scanning = seconds(index.search, queries_QD, K)
    return {
        "rows": len(table_ND),
        "rows_added_a_second": len(table_ND) / adding,
        "scan_seconds_a_query": scanning / QUERIES,
        "recall": recall(index.search(queries_QD, K)[1], [table_ND], queries_QD),
        "bytes_a_row": len(faiss.serialize_index(index)) / len(table_ND),
    }


def recall(found_QK: np.ndarray, table: list[np.ndarray], queries_QD: np.ndarray) -> float:
    """The share of the exact hits that were found."""
    exact_QK = search(table, queries_QD, K).ids
    return float(np.mean([len(np.intersect1d(a, b)) / K for a, b in zip(found_QK, exact_QK, strict=True)]))


def costs(rates: dict[str, Any], count: int) -> dict[str, float]:
    """Core hours and bytes for a pool of `count` passages, vectors in float16."""
    index, hours = rates[INDEX], 1 / 3600
    an_index = POOL_QUERIES * index["scoring_seconds_a_query"] * -(-count // INDEX_ROWS)
    return {
        "reading_core_hours": hours * count / rates["storing"]["texts_a_second"],
        "embedding_core_hours": hours * count * POOL_TOKENS / rates["embedding"]["tokens_a_second"],
        "exact_search_core_hours": hours * count * POOL_QUERIES / rates["exact"]["pairs_a_second"],
        "indexing_core_hours": hours * count / index["rows_added_a_second"],
        "index_search_core_hours": hours
        * (an_index + POOL_QUERIES * index["scan_seconds_a_query"] * count / index["rows"]),
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
        results = {"embedding": embedding(folder), "storing": storing(folder), **searching()}
    for name, measured in results.items():
        print(f"{name:<14}", "  ".join(f"{what} {value:,.3g}" for what, value in measured.items()))
    reckoned = {f"{count:,}": costs(results, count) for count in POOLS}
    for count, measured in reckoned.items():
        print(f"{count:>13} passages:", "  ".join(f"{what} {value:,.3g}" for what, value in measured.items()))
    write_json(options.output, {"results": results, "reckoned": reckoned, "versions": versions()})


if __name__ == "__main__":
    main()
