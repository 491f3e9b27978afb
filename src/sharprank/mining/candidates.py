"""The ranking behind mining: pool and queries embedded, every query's best passages found, any pair's cosine known.

Shapes: Q distinct queries, K candidates a query, D dimensions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from sharprank.mining.pool import Pool
from sharprank.retrieval.embeddings import EmbeddingStore, embed
from sharprank.retrieval.faiss_index import SCORE_DECIMALS, Hits, inner_products, search


class Encoder(Protocol):
    """What mining asks of a bi-encoder (`sharprank.models.bi_encoder.BiEncoder` is one)."""

    def encode(self, texts: Sequence[str], *, kind: Any, progress: str | None, tokenize_batch: int) -> np.ndarray:
        """Normalised vectors float32 [N, D]; kind is "query" or "passage"."""
        ...

    def settings(self) -> dict[str, Any]:
        """Everything but the weights that decides the vectors."""
        ...

    def weights_sha256(self) -> str:
        """What tells one model's vectors from another's."""
        ...


@dataclass(frozen=True)
class Candidates:
    """Every query's candidates, best first.

    Attributes:
        pool: the passages.
        queries: position of each distinct query in the arrays.
        vectors_QD: the queries' vectors.
        hits: pool ids and cosines, [Q, K].
        shards: vectors of the pool, then those of the texts beside it.
        beside: texts that are not in the pool but whose cosines are known: their row in the table of `shards`.
    """

    pool: Pool
    queries: dict[str, int]
    vectors_QD: np.ndarray
    hits: Hits
    shards: Sequence[np.ndarray]
    beside: dict[str, int]

    def ranked(self, query: str) -> np.ndarray:
        """Pool ids int64 [K] of the query's candidates, best first."""
        ids_K = self.hits.ids[self.queries[query]]
        return ids_K[ids_K >= 0]

    def similarities(self, query: str, texts: Sequence[str]) -> list[float | None]:
        """The cosine of the query with each text; None where a text was never embedded."""
        rows = [self._row(text) for text in texts]
        known = [row for row in rows if row is not None]
        values = iter(inner_products(self.shards, self.vectors_QD[self.queries[query]], np.asarray(known, np.int64)))
        return [None if row is None else round(float(next(values)), SCORE_DECIMALS) for row in rows]

    def _row(self, text: str) -> int | None:
        found = self.pool.find(text)
        return self.beside.get(text) if found is None else found


def find_candidates(
    encoder: Encoder,
    pool: Pool,
    queries: Iterable[str],
    *,
    k: int,
    texts_beside: Iterable[str] = (),
    batch_size: int,
    search_batch_size: int,
    use_gpu: bool,
    cache: str | None = None,
    about_encoder: Mapping[str, Any] | None = None,
) -> Candidates:
    """Embed everything and search.

    Args:
        k: candidates of a query.
        texts_beside: more texts whose cosines will be asked for (those in the pool are known anyway).
        batch_size: texts tokenised at a time.
        search_batch_size: queries searched at a time.
        use_gpu: search on GPUs.
        cache: folder that keeps finished embeddings.
        about_encoder: all that decides the encoder's vectors, which kept embeddings are found by.

    Raises:
        ValueError: a cache without about_encoder.
    """
    if cache is not None and not about_encoder:
        raise ValueError("a cache of embeddings needs about_encoder: else one model could get another's vectors")
    embed_kind = partial(_embed, encoder, batch_size=batch_size, cache=cache, about_encoder=about_encoder or {})
    shards = embed_kind("passage", pool.texts, name="passages")
    beside = sorted({text for text in texts_beside if pool.find(text) is None})
    more_shards = embed_kind("passage", beside, name="positives")
    asked = sorted(set(queries))
    vectors_QD = np.concatenate(embed_kind("query", asked, name="queries"))
    hits = search(shards, vectors_QD, k, query_block=search_batch_size, use_gpu=use_gpu, progress="searching")
    rows = {text: len(pool) + number for number, text in enumerate(beside)}
    order = {query: number for number, query in enumerate(asked)}
    return Candidates(pool, order, vectors_QD, hits, [*shards, *more_shards], rows)


def _embed(
    encoder: Encoder,
    kind: str,
    texts: Sequence[str],
    *,
    name: str,
    batch_size: int,
    cache: str | None,
    about_encoder: Mapping[str, Any],
) -> list[np.ndarray]:
    def encode(part: Sequence[str], words: str) -> np.ndarray:
        return encoder.encode(part, kind=kind, progress=words, tokenize_batch=batch_size)

    store = None
    if cache is not None:  # the kind decides the instruction, so it belongs to what the store is found by
        store = EmbeddingStore(Path(cache), {**about_encoder, "kind": kind})
    return embed(texts, encode, name=name, store=store)
