"""The ranking that is re-ranked: the bi-encoder's or BM25's best passages for every judged query, as a TREC run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sharprank.formats.collections import collection_paths, read_collection
from sharprank.formats.trec import write_run
from sharprank.formats.writers import refuse_other_settings, write_json
from sharprank.pipeline.config import RunConfig
from sharprank.progress import say
from sharprank.provenance import describe_inputs, manifest
from sharprank.records import Run

NUM_RANKED = 100
"""Passages listed for each query; those beyond the re-ranked depth keep their places."""


def rank_first_stage(config: RunConfig, folder: str, split: str | None, *, path: Path) -> None:
    """Write the first stage's run for a split of a collection to `path` unless it is there."""
    about = path.with_name(f"{path.name}.json")
    inputs = describe_inputs(collection_paths(folder, split=split))
    settings = {
        **config.settings("first_stage", "embedder_name_or_path", "dtype"),
        "split": split,
        "num_ranked": max(NUM_RANKED, config.depth),
        "inputs": inputs,
    }
    if refuse_other_settings(path, settings, manifest_path=about, overwrite=config.overwrite) == "done":
        say(f"{path}: done before")
        return
    collection = read_collection(folder, split=split)
    queries = {query_id: collection.queries[query_id] for query_id in collection.qrels}
    rank = bm25_run if config.first_stage == "bm25" else dense_run
    write_run(path, rank(collection.passages, queries, config), tag=config.first_stage)
    write_json(about, manifest(command=["run"], settings=settings, inputs=inputs))


def bm25_run(passages: Mapping[str, str], queries: Mapping[str, str], config: RunConfig) -> Run:
    """BM25's best passages for each query."""
    from sharprank.retrieval.bm25 import BM25

    return BM25(passages).search(queries, max(NUM_RANKED, config.depth))


def dense_run(passages: Mapping[str, str], queries: Mapping[str, str], config: RunConfig) -> Run:
    """The bi-encoder's best passages for each query; vectors that mining left behind are used again."""
    from sharprank.models.bi_encoder import BiEncoder
    from sharprank.retrieval import dense

    encoder = BiEncoder.load(config.embedder_name_or_path, device=config.device, dtype=config.dtype)
    store = dense.passage_store(encoder, embedding_cache(config))
    return dense.dense_run(encoder, passages, queries, max(NUM_RANKED, config.depth), store=store)


def embedding_cache(config: RunConfig) -> Path:
    """Where mining and searching keep their vectors."""
    return config.folder / "embeddings"
