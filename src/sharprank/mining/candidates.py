"""The ranking behind mining: pool and queries embedded, every query's best passages found, any pair's cosine known.

Texts, vectors and hits are on disk and looked at a little at a time. What was computed before by the same encoder for
the same texts is found again; several ranks share what is missing.

Shapes: Q distinct queries, K candidates a query, D dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from sharprank.formats.cache import entry_folder, key_of
from sharprank.formats.text_store import TextStore
from sharprank.mining.costs import PROBE_TEXTS, Costs, say_costs
from sharprank.mining.pool import Pool
from sharprank.progress import Bar, say
from sharprank.ranks import ALONE, Ranks
from sharprank.retrieval.approximate import ApproximateSearch
from sharprank.retrieval.embeddings import EmbeddingStore, Inventory
from sharprank.retrieval.faiss_index import SCORE_DECIMALS, Backend, Hits, inner_products, search
from sharprank.retrieval.hits import KIND, StoredHits, find_hits
from sharprank.retrieval.stored import Shard
from sharprank.retrieval.table import take


class Encoder(Protocol):
    """What mining asks of a bi-encoder (`sharprank.models.bi_encoder.BiEncoder` is one)."""

    @property
    def size(self) -> int:
        """Dimensions of a vector."""
        ...

    def encode(
        self, texts: Sequence[str], *, kind: Any, progress: str | Bar[Any] | None, tokenize_batch: int
    ) -> np.ndarray:
        """Normalised vectors float32 [N, D]; kind is "query" or "passage"."""
        ...

    def windows(self, texts: Sequence[str], rule: Any) -> list[list[str]]:
        """Passages cut into pieces that are read whole (`sharprank.models.windows.WindowRule`)."""
        ...

    def settings(self) -> dict[str, Any]:
        """Everything but the weights that decides the vectors."""
        ...

    def weights_sha256(self) -> str:
        """What tells one model's vectors from another's."""
        ...


@dataclass(frozen=True)
class Searching:
    """How to embed and to search; only `k`, `dtype` and the index decide what is found.

    Attributes:
        k: candidates of a query.
        cache: folder that keeps vectors and hits.
        dtype: what vectors are stored as.
        batch_size: texts tokenised at a time.
        query_block: queries searched at a time.
        backend: what searches exactly; by default FAISS on the CPU.
        index_factory: a FAISS index to search in place of the whole table; None searches exactly.
        index_parameters: how thoroughly ("nprobe=64").
        ranks: who shares the work.
    """

    k: int
    cache: Path
    dtype: str = "float32"
    batch_size: int = 2048
    query_block: int = 1024
    backend: Backend | None = None
    index_factory: str | None = None
    index_parameters: str | None = None
    ranks: Ranks = ALONE


class Candidates:
    """Every query's candidates, best first.

    Args:
        pool: the passages.
        queries: the distinct queries.
        query_shards: their vectors.
        hits: the numbers of their candidates in the pool, and cosines.
        shards: vectors of the pool, then those of the texts beside it.
        beside: texts that are not in the pool but whose cosines are known.
        recall: of an approximate search, as measured; None for an exact one.
    """

    def __init__(
        self,
        pool: Pool,
        queries: TextStore,
        query_shards: Sequence[Shard],
        *,
        hits: StoredHits,
        shards: Sequence[Shard],
        beside: TextStore | None = None,
        recall: float | None = None,
    ) -> None:
        self.pool, self.recall = pool, recall
        self._queries, self._query_shards, self._hits = queries, query_shards, hits
        self._shards, self._beside = shards, beside
        self._last: tuple[str, int, Hits, dict[int, float]] | None = None

    def ranked(self, query: str) -> np.ndarray:
        """Pool ids int64 [K] of the query's candidates, best first."""
        return self._of(query)[1].ids

    def scores(self, query: str) -> np.ndarray:
        """Cosines float32 [K] of the query's candidates."""
        return self._of(query)[1].scores

    def similarities(self, query: str, texts: Sequence[str]) -> list[float | None]:
        """The cosine of the query with each text; None where a text was never embedded."""
        number, _, known = self._of(query)
        rows = [self._row(text) for text in texts]
        unknown = [row for row in dict.fromkeys(rows) if row is not None and row not in known]
        if unknown:
            query_D = take(self._query_shards, np.array([number]))[0]
            values = inner_products(self._shards, query_D, np.asarray(unknown, np.int64)).tolist()
            known.update(zip(unknown, values, strict=True))
        return [None if row is None else round(known[row], SCORE_DECIMALS) for row in rows]

    def _of(self, query: str) -> tuple[int, Hits, dict[int, float]]:
        """The query's number, its hits, and the cosines that are known so far."""
        if self._last is None or self._last[0] != query:
            number = self._queries.find(query, key=query)
            if number is None:
                raise KeyError(query)
            hits = self._hits[number]
            self._last = query, number, hits, dict(zip(hits.ids.tolist(), hits.scores.tolist(), strict=True))
        return self._last[1:]

    def _row(self, text: str) -> int | None:
        found = self.pool.find(text)
        if found is None and self._beside is not None:
            found = self._beside.find(text)
            return None if found is None else len(self.pool) + found
        return found


def find_candidates(
    encoder: Encoder,
    pool: Pool,
    queries: TextStore,
    how: Searching,
    *,
    about_encoder: Mapping[str, Any],
    beside: TextStore | None = None,
) -> Candidates:
    """Embed everything and search.

    Args:
        queries: distinct, each found by itself (`key`).
        about_encoder: all that decides the encoder's vectors, which kept ones are found by.
        beside: more texts whose cosines will be asked for (those in the pool are known anyway).

    Raises:
        UserError: an index that FAISS refuses, a cache that cannot be written, a full disk, a rank that has died.
    """
    index = None
    if how.index_factory is not None:
        index = ApproximateSearch(how.index_factory, encoder.size, len(pool), parameters=how.index_parameters, k=how.k)
    # The kind decides the instruction, so it belongs to what a store is found by.
    stores = {
        kind: EmbeddingStore(how.cache, {**about_encoder, "kind": kind}, dtype=how.dtype)
        for kind in ("passage", "query")
    }
    work = _Work(encoder, how, stores)
    texts = {"passages": pool, "queries": queries, "positives": beside if beside is not None else []}
    found = {name: work.inventory(name, some) for name, some in texts.items()}
    folder = _hits_folder(how, stores, found)
    say_costs(_costs(encoder, how, texts, found, pool), encode=lambda some: work.encode("passages", some, None))
    shards, query_shards, more = (work.fill(name, texts[name], found[name]) for name in texts)
    if index is not None:
        about = {"passages": [stores["passage"].key, found["passages"].key], "index_factory": how.index_factory}
        index.prepare(shards, entry_folder(how.cache, "index", key_of(about), about), ranks=how.ranks)
    hits = find_hits(query_shards, how.k, _share_searcher(shards, how, index), folder=folder, ranks=how.ranks)
    recall = None if index is None else _measure_recall(index, hits, shards, query_shards, folder=folder, how=how)
    return Candidates(pool, queries, query_shards, hits=hits, shards=[*shards, *more], beside=beside, recall=recall)


class _Work:
    """Embedding, by the name of what is embedded."""

    def __init__(self, encoder: Encoder, how: Searching, stores: Mapping[str, EmbeddingStore]) -> None:
        self._encoder, self._how, self._stores = encoder, how, stores

    def inventory(self, name: str, texts: Sequence[str]) -> Inventory:
        return self._stores[_kind(name)].missing(texts, self._how.ranks)

    def fill(self, name: str, texts: Sequence[str], inventory: Inventory) -> list[Shard]:
        def encode(part: Sequence[str], bar: Bar[Any] | None) -> np.ndarray:
            return self.encode(name, part, bar)

        return self._stores[_kind(name)].fill(texts, inventory, encode, name=name, ranks=self._how.ranks)

    def encode(self, name: str, part: Sequence[str], bar: Bar[Any] | None) -> np.ndarray:
        return self._encoder.encode(part, kind=_kind(name), progress=bar, tokenize_batch=self._how.batch_size)


def _kind(name: str) -> str:
    return "query" if name == "queries" else "passage"


def _hits_folder(how: Searching, stores: Mapping[str, EmbeddingStore], found: Mapping[str, Inventory]) -> Path:
    """Where the hits of this search are kept: found by all that decides them."""
    about = {
        "passages": [stores["passage"].key, found["passages"].key],
        "queries": [stores["query"].key, found["queries"].key],
        "k": how.k,
        "index_factory": how.index_factory,
        "index_parameters": how.index_parameters,
    }
    return entry_folder(how.cache, KIND, key_of(about), about)


def _share_searcher(shards: Sequence[Shard], how: Searching, index: ApproximateSearch | None) -> Any:
    def search_share(queries_QD: np.ndarray, share: tuple[int, int], bar: Bar[Any]) -> Hits:
        if index is not None:
            return index.search(shards, queries_QD, share=share, progress=bar)
        options = {"query_block": how.query_block, "backend": how.backend, "share": share, "progress": bar}
        return search(shards, queries_QD, how.k, **options)

    return search_share


def _measure_recall(
    index: ApproximateSearch,
    hits: StoredHits,
    shards: Sequence[Shard],
    query_shards: Sequence[Shard],
    *,
    folder: Path,
    how: Searching,
) -> float:
    """How many of the true K best the approximate search found, over a sample of the queries; said aloud."""
    sample = index.sample(len(hits))
    exact = find_hits(
        [take(query_shards, sample)],
        how.k,
        _share_searcher(shards, how, None),
        folder=folder / "exact",
        ranks=how.ranks,
        desc="measuring recall",
    )
    shared = [
        len(np.intersect1d(exact[i].ids, hits[int(number)].ids)) / max(1, len(exact[i].ids))
        for i, number in enumerate(sample)
    ]
    recall = round(float(np.mean(shared)), 4)
    say(f"{how.index_factory}: recall@{how.k} {recall:.3f} against exact search, measured on {len(sample)} queries")
    return recall


def _costs(
    encoder: Encoder, how: Searching, texts: Mapping[str, Sequence[str]], found: Mapping[str, Inventory], pool: Pool
) -> Costs:
    return Costs(
        num_texts={name: len(some) for name, some in texts.items()},
        num_missing={name: inventory.num_missing for name, inventory in found.items()},
        vector_bytes=encoder.size * np.dtype(how.dtype).itemsize,
        k=how.k,
        cache=how.cache,
        num_ranks=how.ranks.count,
        probe=[pool[i] for i in np.linspace(0, len(pool) - 1, PROBE_TEXTS).astype(int).tolist()],
    )
