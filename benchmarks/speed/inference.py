"""Scoring pairs, encoding passages and searching: what each side calls, as its documentation shows it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks.speed.material import MAX_LENGTH, Material

NUM_NEIGHBOURS = 200


def scoring_sides(material: Material, *, dtype: torch.dtype) -> dict[str, Callable[[], np.ndarray]]:
    """Raw scores of `material.pairs`, one call a side."""
    import FlagEmbedding
    from sentence_transformers.cross_encoder import CrossEncoder

    from sharprank.models.scoring import PairScorer

    pairs, path = material.pairs, str(material.model_path)
    flag: Any = FlagEmbedding.FlagReranker(path, use_fp16=False, devices="cpu", max_length=MAX_LENGTH)
    flag.model.to(dtype)
    peer = CrossEncoder(path, max_length=MAX_LENGTH, device="cpu", model_kwargs={"dtype": dtype})
    ours = PairScorer.load(path, max_length=MAX_LENGTH, dtype=dtype, device="cpu")

    def predict(batch_size: int) -> Callable[[], np.ndarray]:
        identity = torch.nn.Identity()
        return lambda: np.asarray(
            peer.predict(pairs, batch_size=batch_size, activation_fn=identity, show_progress_bar=False)
        )

    return {
        "sharprank": lambda: ours.score(pairs),
        "FlagEmbedding, batch 128 (its default)": lambda: np.asarray(flag.compute_score(pairs, batch_size=128)),
        "FlagEmbedding, batch 32": lambda: np.asarray(flag.compute_score(pairs, batch_size=32)),
        "sentence-transformers, batch 32 (its default)": predict(32),
        "sentence-transformers, batch 16": predict(16),
        "sentence-transformers, batch 8": predict(8),
    }


def encoding_sides(material: Material, *, dtype: torch.dtype) -> dict[str, Callable[[], np.ndarray]]:
    """Normalised embeddings [N, 384] of the rows' distinct passages."""
    import FlagEmbedding
    from sentence_transformers import SentenceTransformer

    from sharprank.models.bi_encoder import BiEncoder

    texts = list(dict.fromkeys(text for _, text in material.pairs))
    path = material.encoder_path
    flag: Any = FlagEmbedding.FlagModel(path, pooling_method="mean", use_fp16=False, devices="cpu")
    flag.model.to(dtype)
    peer = SentenceTransformer(path, device="cpu", model_kwargs={"dtype": dtype})
    peer.max_seq_length = MAX_LENGTH
    ours = BiEncoder.load(path, passage_max_length=MAX_LENGTH, dtype=dtype, device="cpu")

    def flag_encode(batch_size: int) -> Callable[[], np.ndarray]:
        return lambda: np.asarray(flag.encode_corpus(texts, batch_size=batch_size, max_length=MAX_LENGTH))

    def peer_encode(batch_size: int) -> Callable[[], np.ndarray]:
        options: dict[str, Any] = {"normalize_embeddings": True, "show_progress_bar": False}
        return lambda: np.asarray(peer.encode(texts, batch_size=batch_size, **options), dtype=np.float32)

    # FlagEmbedding turns its model into float32 on a CPU, whatever it was: its slow default is timed only once.
    default = {"FlagEmbedding, batch 256 (its default)": flag_encode(256)} if dtype == torch.float32 else {}
    return {
        "sharprank": lambda: ours.encode(texts, kind="passage"),
        **default,
        "FlagEmbedding, batch 32": flag_encode(32),
        "sentence-transformers, batch 32 (its default)": peer_encode(32),
        "sentence-transformers, batch 16": peer_encode(16),
    }


def search_sides(
    num_queries: int, num_passages: int, *, size: int = 384, seed: int = 0
) -> dict[str, Callable[[], np.ndarray]]:
    """Ids [Q, k] of each query's nearest passages among random unit vectors."""
    import faiss

    from sharprank.retrieval.faiss_index import search

    passages, queries = (random_units(n, size, seed=seed + i) for i, n in enumerate((num_passages, num_queries)))

    def by_faiss(batch_size: int) -> np.ndarray:
        index: Any = faiss.IndexFlatIP(size)
        index.add(passages)
        starts = range(0, num_queries, batch_size)
        return np.concatenate([index.search(queries[s : s + batch_size], NUM_NEIGHBOURS)[1] for s in starts])

    return {
        "sharprank": lambda: search([passages], queries, k=NUM_NEIGHBOURS).ids,
        "FlagEmbedding, batch 64 (its hn_mine)": lambda: by_faiss(64),
        "sentence-transformers, batch 16384 (its default)": lambda: by_faiss(16_384),
    }


def random_units(count: int, size: int = 384, *, seed: int) -> np.ndarray:
    """Random vectors of length 1, float32 [count, size]."""
    vectors = np.random.default_rng(seed).standard_normal((count, size), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
