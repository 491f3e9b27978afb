"""`LangChainReranker`: a `Reranker` as LangChain's document compressor. Needs the extra `langchain`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sharprank.serving.extras import check_top_n, missing_extra
from sharprank.serving.reranker import Reranker

try:
    from langchain_core.documents import BaseDocumentCompressor, Document  # pyright: ignore[reportMissingImports]
    from pydantic import ConfigDict, field_validator
except ImportError as error:
    raise missing_extra("langchain", "langchain-core", error) from error


class LangChainReranker(BaseDocumentCompressor):
    """Orders the retrieved documents by their relevance to the query, best first.

    Attributes:
        reranker: the model.
        top_n: documents that are kept; None keeps all.
        normalize: give probabilities instead of raw scores.
        score_key: the metadata field that gets the score.
    """

    reranker: Reranker
    top_n: int | None = None
    normalize: bool = True
    score_key: str = "relevance_score"

    model_config = ConfigDict(arbitrary_types_allowed=True)

    @field_validator("top_n")
    @classmethod
    def _keeps_some(cls, top_n: int | None) -> int | None:
        check_top_n(top_n)
        return top_n

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Any = None
    ) -> Sequence[Document]:
        """Copies of the best documents with their score in the metadata."""
        texts = [document.page_content for document in documents]
        ranked = self.reranker.rank(query, texts, top_k=self.top_n, normalize=self.normalize)
        return [_with_score(documents[one.index], self.score_key, one.score) for one in ranked]


def _with_score(document: Document, key: str, score: float) -> Document:
    return document.model_copy(update={"metadata": {**document.metadata, key: score}})
