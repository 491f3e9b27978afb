"""`HaystackReranker`: a `Reranker` as a Haystack ranker component. Needs the extra `haystack`.

Haystack 3 loads a saved pipeline with it by `Pipeline.loads(text, allowed_modules=["sharprank.serving.haystack"])`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sharprank.serving.extras import check_top_n, missing_extra
from sharprank.serving.reranker import Reranker

try:
    from haystack import (  # pyright: ignore[reportMissingImports]
        Document,
        component,
        default_from_dict,
        default_to_dict,
    )
except ImportError as error:
    raise missing_extra("haystack", "haystack-ai", error) from error


@component
class HaystackReranker:
    """Orders documents by their relevance to the query, best first.

    Args:
        model: a folder or a hub id; loaded by `warm_up`, or when it is first used.
        top_k: documents that are kept; None keeps all.
        normalize: give probabilities instead of raw scores.
        options: what else `Reranker.from_pretrained` takes (max_length, dtype, device, ...).
    """

    def __init__(
        self, model: str, top_k: int | None = None, normalize: bool = True, options: dict[str, Any] | None = None
    ) -> None:
        check_top_n(top_k)
        self.model, self.top_k, self.normalize, self.options = model, top_k, normalize, dict(options or {})
        self._reranker: Reranker | None = None

    def warm_up(self) -> None:
        """Load the model, once."""
        if self._reranker is None:
            self._reranker = Reranker.from_pretrained(self.model, **self.options)

    def to_dict(self) -> dict[str, Any]:
        """For saving a pipeline."""
        return default_to_dict(self, model=self.model, top_k=self.top_k, normalize=self.normalize, options=self.options)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> HaystackReranker:
        """From a saved pipeline."""
        return default_from_dict(cls, data)

    @component.output_types(documents=list[Document])
    def run(self, query: str, documents: list[Document], top_k: int | None = None) -> dict[str, list[Document]]:
        """Copies of the best documents with their score.

        Args:
            query: what is asked.
            documents: those without text count as empty.
            top_k: overrides the component's own.
        """
        check_top_n(top_k)
        self.warm_up()
        assert self._reranker is not None
        texts = [document.content or "" for document in documents]
        kept = self.top_k if top_k is None else top_k
        ranked = self._reranker.rank(query, texts, top_k=kept, normalize=self.normalize)
        return {"documents": [replace(documents[one.index], score=one.score) for one in ranked]}
