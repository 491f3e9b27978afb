"""Rows without a language model: queries from the documents' own words, positives by where they came from.

Negatives are found by diverse retrieval and pass the miner's filters. All passages are bodies without titles, positives
and negatives alike, so that no reranker can tell them apart by their form.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any
from zlib import crc32

from sharprank.retrieval.diverse import Retriever
from sharprank.retrieval.filters import Protected
from sharprank.retrieval.tfidf import TfIdf
from sharprank.synthesis.corpus import Document
from sharprank.synthesis.outcome import Outcome
from sharprank.synthesis.queries import LAST_RESORT, Query, body_of, queries_of

NO_QUERY, NOT_FOUND, NO_NEGATIVE = "no further query in the document", "query does not find its document", "no negative"


class ExtractiveGenerator:
    """Makes rows offline.

    Args:
        corpus: all documents.
        retriever: finds negatives.
        tfidf: which words say much.
        kinds: where queries come from.
        num_candidates: negatives of a row at most.
        max_source_rank: how far down a query may find its own document.
        seed: which kind of query a document begins with.
    """

    def __init__(
        self,
        corpus: Mapping[str, Document],
        retriever: Retriever,
        tfidf: TfIdf,
        *,
        kinds: Sequence[str],
        num_candidates: int,
        max_source_rank: int,
        seed: int,
    ) -> None:
        self._corpus, self._retriever, self._tfidf = corpus, retriever, tfidf
        self._kinds, self._seed = list(kinds), seed
        self._num_candidates, self._max_source_rank = num_candidates, max_source_rank

    def attempt(self, document: Document, turn: int) -> Outcome:
        """See `Generator`: the turn-th query of the document."""
        queries = queries_of(document, self._tfidf, self._turned(document))
        if turn >= len(queries):
            return Outcome(reason=NO_QUERY)
        query = queries[turn]
        about: dict[str, Any] = {"kind": query.kind, "query": query.text, "pos_ids": [document.doc_id]}
        if document.doc_id not in self._retriever.best(query.text, self._max_source_rank):
            return Outcome(reason=NOT_FOUND, about=about)
        negatives, refused = self._negatives(document, query)
        about |= {"neg_ids": list(negatives), "refused": dict(refused)}
        if not negatives:
            return Outcome(reason=NO_NEGATIVE, about=about)
        row = {"query": query.text, "pos": [query.passage], "neg": list(negatives.values())}
        return Outcome(row=row, about=about)

    def _turned(self, document: Document) -> list[str]:
        """The kinds, beginning with another one for every document; the last resort stays last."""
        kinds = [kind for kind in self._kinds if kind != LAST_RESORT]
        start = crc32(f"{self._seed}\n{document.doc_id}".encode("utf-8", "surrogatepass")) % max(1, len(kinds))
        return [*kinds[start:], *kinds[:start], *([LAST_RESORT] if LAST_RESORT in self._kinds else [])]

    def _negatives(self, document: Document, query: Query) -> tuple[dict[str, str], Counter[str]]:
        protected = Protected(query.text, [query.passage, document.text, body_of(document)])
        candidates = self._retriever.diverse(query.text, self._num_candidates, source_id=document.doc_id)
        admitted: dict[str, str] = {}
        refused: Counter[str] = Counter()
        for passage_id in candidates:
            found = self._corpus[passage_id]
            text = body_of(found)
            reason = protected.reason(found.text) or protected.admit(text)
            if reason is None:
                admitted[passage_id] = text
            else:
                refused[reason] += 1
        return admitted, refused
