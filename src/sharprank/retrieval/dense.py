"""A bi-encoder's ranking of passages for queries, exact, as a run. Knows an encoder only by its `encode`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from sharprank.progress import Bar
from sharprank.records import Run
from sharprank.retrieval.embeddings import EmbeddingStore, embed
from sharprank.retrieval.faiss_index import search


class Encoder(Protocol):
    """What turns texts into vectors; `sharprank.models.bi_encoder.BiEncoder` does."""

    def encode(self, texts: Sequence[str], *, kind: Any, progress: str | Bar[Any] | None = None) -> np.ndarray:
        """Vectors [N, D]."""
        ...


def passage_store(encoder: Any, folder: str | Path | None) -> EmbeddingStore | None:
    """Where an encoder's vectors of passages are kept and found again; None without a folder.

    Args:
        encoder: a `BiEncoder`; its settings and weights decide which vectors are its own.
        folder: shared by all encoders.

    Raises:
        UserError: the folder cannot be written.
    """
    if folder is None:
        return None
    key = {**encoder.settings(), "weights_sha256": encoder.weights_sha256(), "kind": "passage"}
    return EmbeddingStore(Path(folder), key)


def dense_run(
    encoder: Encoder,
    passages: Mapping[str, str],
    queries: Mapping[str, str],
    k: int,
    *,
    store: EmbeddingStore | None = None,
) -> Run:
    """The k passages of highest inner product for each query, with it as their score.

    Args:
        store: where vectors of passages are kept and found again.
    """

    def encode(texts: Sequence[str], bar: Bar[Any] | None) -> np.ndarray:
        return encoder.encode(texts, kind="passage", progress=bar)

    if not queries:
        return {}
    shards = embed(list(passages.values()), encode, name="passages", store=store)
    queries_QD = encoder.encode(list(queries.values()), kind="query", progress="encoding queries")
    hits = search(shards, queries_QD, min(k, len(passages)))
    passage_ids = list(passages)
    return {
        query_id: {passage_ids[i]: float(score) for i, score in zip(ids, scores, strict=True) if i >= 0}
        for query_id, ids, scores in zip(queries, hits.ids.tolist(), hits.scores.tolist(), strict=True)
    }
