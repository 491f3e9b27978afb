"""Attempts of an ablation: what to look for, and who says that it was found. The same for every type of retrieval."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import numpy as np

from sharprank.errors import UserError
from sharprank.records import Collection
from sharprank.synthesis.corpus import Document
from sharprank.synthesis.entities import Entity
from sharprank.synthesis.judge import Verdict
from sharprank.synthesis.llm import LlmGenerator


@dataclass(frozen=True)
class Attempt:
    """Something to look for.

    Attributes:
        name: id of the query or source document.
        query: None where it was lost before retrieval; `reason` says why.
        source_id: the document it came from, which is left out of what is found.
        entity: what a language model judges by.
    """

    name: str
    query: str | None
    source_id: str | None = None
    reason: str | None = None
    entity: Entity | None = None


class Judge(Protocol):
    """Says whether a passage is what an attempt looks for."""

    def verdict(self, attempt: Attempt, passage_id: str) -> Verdict:
        """The verdict, the same whenever it is asked for."""
        ...


class QrelsJudge:
    """A collection's judgements; what nobody judged is no success.

    Where a query has several relevant passages, the first stands for its source document: it is left out, and retrieval
    is to find another one.
    """

    def __init__(self, collection: Collection) -> None:
        self._collection = collection

    def attempts(self, num: int, *, seed: int) -> list[Attempt]:
        """Queries with a relevant passage, drawn at random.

        Raises:
            UserError: there is none.
        """
        relevant = {query_id: self._relevant(query_id) for query_id in self._collection.qrels}
        names = sorted(query_id for query_id, found in relevant.items() if found)
        if not names:
            raise UserError("no query has a relevant passage in the corpus", fix="check the judgements and --split")
        order = np.random.default_rng(seed).permutation(len(names)).tolist()
        return [
            Attempt(names[i], self._collection.queries[names[i]], next(iter(relevant[names[i]][:-1]), None))
            for i in order[:num]
        ]

    def _relevant(self, query_id: str) -> list[str]:
        judged, passages = self._collection.qrels[query_id].items(), self._collection.passages
        return [name for name, relevance in judged if relevance > 0 and passages.get(name, "").strip()]

    def verdict(self, attempt: Attempt, passage_id: str) -> Verdict:
        """See `Judge`."""
        return "valid" if self._collection.qrels[attempt.name].get(passage_id, 0) > 0 else "invalid"


class LlmJudge:
    """A language model's verdicts on passages about a document's bridge entity; each is asked for once."""

    def __init__(self, generator: LlmGenerator, corpus: Mapping[str, Document]) -> None:
        self._generator, self._corpus = generator, corpus
        self._verdicts: dict[tuple[Entity, str], Verdict] = {}

    def attempts(self, order: Iterator[tuple[int, str]], num: int) -> Iterator[tuple[str, int]]:
        """The documents to begin with: (id, turn)."""
        return ((doc_id, turn) for turn, doc_id in islice(order, num))

    def begin(self, start: tuple[str, int]) -> Attempt:
        """Extract a document's entity, once for all types."""
        doc_id, turn = start
        entity, reason = self._generator.entity(self._corpus[doc_id], turn)
        if entity is None:
            return Attempt(doc_id, None, doc_id, reason=reason)
        return Attempt(doc_id, entity.query, doc_id, entity=entity)

    def verdict(self, attempt: Attempt, passage_id: str) -> Verdict:
        """See `Judge`."""
        if attempt.entity is None:
            raise ValueError(f"attempt {attempt.name} has no entity to judge by")
        key = (attempt.entity, passage_id)
        if key not in self._verdicts:
            self._verdicts[key] = self._generator.verdict(attempt.entity, self._corpus[passage_id])
        return self._verdicts[key]
