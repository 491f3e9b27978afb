"""The ranking that is re-ranked: the bi-encoder's or BM25's best passages for every judged query, as a TREC run."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from sharprank.formats.collections import collection_paths, read_collection
from sharprank.formats.trec import write_run
from sharprank.formats.writers import refuse_other_settings, write_json
from sharprank.mining.config import ENCODER_FLAGS, MineConfig
from sharprank.pipeline.config import RunConfig
from sharprank.progress import say
from sharprank.provenance import describe_inputs, manifest
from sharprank.records import Run

NUM_RANKED = 100
"""Passages listed for each query; those beyond the re-ranked depth keep their places."""


def rank_first_stage(config: RunConfig, mine: MineConfig, folder: str, split: str | None, *, path: Path) -> None:
    """Write the first stage's run for a split of a collection to `path` unless it is there.

    Args:
        mine: the flags of mining, whose bi-encoder is the dense first stage.
    """
    about = path.with_name(f"{path.name}.json")
    inputs = describe_inputs(collection_paths(folder, split=split))
    k = max(NUM_RANKED, config.depth)
    is_dense = config.first_stage == "dense"
    settings = {
        **config.settings("first_stage"),
        **{name: getattr(mine, name) for name in ENCODER_FLAGS if is_dense},
        "split": split,
        "num_ranked": k,
        "inputs": inputs,
    }
    if refuse_other_settings(path, settings, manifest_path=about, overwrite=config.overwrite) == "done":
        say(f"{path}: done before")
        return
    collection = read_collection(folder, split=split)
    queries = {query_id: collection.queries[query_id] for query_id in collection.qrels}
    rank = partial(dense_run, mine=mine) if is_dense else bm25_run
    write_run(path, rank(collection.passages, queries, k), tag=config.first_stage)
    write_json(about, manifest(command=["run"], settings=settings, inputs=inputs))


def bm25_run(passages: Mapping[str, str], queries: Mapping[str, str], k: int) -> Run:
    """BM25's k best passages for each query."""
    from sharprank.retrieval.bm25 import BM25

    return BM25(passages).search(queries, k)


def dense_run(passages: Mapping[str, str], queries: Mapping[str, str], k: int, *, mine: MineConfig) -> Run:
    """The k best passages for each query of the bi-encoder that mines; vectors it left behind are used again."""
    from sharprank.mining.mine import encoder_of
    from sharprank.retrieval import dense

    encoder = encoder_of(mine)
    return dense.dense_run(encoder, passages, queries, k, store=dense.passage_store(encoder, mine.embedding_cache))


def embedding_cache(config: RunConfig) -> Path:
    """Where mining and searching keep their vectors, unless mining is told otherwise."""
    return config.folder / "embeddings"
