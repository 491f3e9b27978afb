"""Where documents lie for retrieval: among BM25's words, or among a bi-encoder's vectors.

Loads a model only where one is named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sharprank.retrieval.diverse import Space, VectorSpace, WordSpace
from sharprank.retrieval.tfidf import TfIdf

BM25_NAME = "bm25"


def open_space(
    retriever: str,
    texts: Mapping[str, str],
    tfidf: TfIdf,
    *,
    device: str | None = None,
    cache: str | None = None,
) -> Space:
    """The space that a name stands for.

    Args:
        retriever: "bm25", or a bi-encoder.
        texts: the documents by id.
        cache: folder for finished embeddings.

    Raises:
        UserError: no such model.
    """
    if retriever == BM25_NAME:
        return WordSpace(texts, tfidf=tfidf)
    from sharprank.models.bi_encoder import BiEncoder
    from sharprank.retrieval.dense import passage_store
    from sharprank.retrieval.embeddings import embed

    encoder = BiEncoder.load(retriever, device=device)

    def encode(part: Sequence[str], bar: Any) -> np.ndarray:
        return encoder.encode(part, kind="passage", progress=bar)

    shards = embed(list(texts.values()), encode, name="documents", store=passage_store(encoder, cache))
    return VectorSpace(texts, shards, lambda query: encoder.encode([query], kind="query")[0])
