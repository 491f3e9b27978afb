"""`LlamaIndexReranker`: a `Reranker` as LlamaIndex's node postprocessor. Needs the extra `llama-index`."""

from __future__ import annotations

from typing import Any

from sharprank.serving.extras import check_top_n, missing_extra
from sharprank.serving.reranker import Reranker

try:
    from llama_index.core.bridge.pydantic import Field, field_validator  # pyright: ignore[reportMissingImports]
    from llama_index.core.postprocessor.types import BaseNodePostprocessor  # pyright: ignore[reportMissingImports]
    from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle  # pyright: ignore[reportMissingImports]
except ImportError as error:
    raise missing_extra("llama-index", "llama-index-core", error) from error


class LlamaIndexReranker(BaseNodePostprocessor):
    """Orders the retrieved nodes by their relevance to the query, best first.

    Attributes:
        reranker: the model.
        top_n: nodes that are kept; None keeps all.
        normalize: give probabilities instead of raw scores.
    """

    reranker: Any = Field(exclude=True)
    top_n: int | None = None
    normalize: bool = True

    @field_validator("reranker")
    @classmethod
    def _is_reranker(cls, reranker: Any) -> Any:
        if not isinstance(reranker, Reranker):
            raise ValueError(f"reranker is a {type(reranker).__name__}, not a sharprank.Reranker")
        return reranker

    @field_validator("top_n")
    @classmethod
    def _keeps_some(cls, top_n: int | None) -> int | None:
        check_top_n(top_n)
        return top_n

    @classmethod
    def class_name(cls) -> str:
        """How LlamaIndex names it."""
        return "LlamaIndexReranker"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        """New `NodeWithScore`s around the same nodes; those given keep their scores."""
        if query_bundle is None:
            raise ValueError("nodes cannot be ranked without a query: pass query_str or query_bundle")
        texts = [node.node.get_content(metadata_mode=MetadataMode.EMBED) for node in nodes]
        ranked = self.reranker.rank(query_bundle.query_str, texts, top_k=self.top_n, normalize=self.normalize)
        return [NodeWithScore(node=nodes[one.index].node, score=one.score) for one in ranked]
