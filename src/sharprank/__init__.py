"""sharprank makes rerankers better: mine hard negatives, train a cross-encoder, prove it ranks better, use it.

Importing this package loads no torch; the names below are resolved when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.optim import AdamW

    from sharprank.api.cross_encoder import CrossEncoder
    from sharprank.api.data import RerankCollator, RerankDataset
    from sharprank.api.ranking import AutoModelForRanking
    from sharprank.api.trainer import RerankTrainer
    from sharprank.serving.haystack import HaystackReranker
    from sharprank.serving.langchain import LangChainReranker
    from sharprank.serving.llama_index import LlamaIndexReranker
    from sharprank.serving.reranker import Reranker

__version__ = "0.1.0"
__all__ = [
    "AdamW",
    "AutoModelForRanking",
    "CrossEncoder",
    "HaystackReranker",
    "LangChainReranker",
    "LlamaIndexReranker",
    "RerankCollator",
    "RerankDataset",
    "RerankTrainer",
    "Reranker",
    "__version__",
]

_LAZY = {
    "AdamW": "torch.optim",  # transformers had one, and code that trains with it should go on
    "AutoModelForRanking": "sharprank.api.ranking",
    "CrossEncoder": "sharprank.api.cross_encoder",
    "HaystackReranker": "sharprank.serving.haystack",
    "LangChainReranker": "sharprank.serving.langchain",
    "LlamaIndexReranker": "sharprank.serving.llama_index",
    "RerankCollator": "sharprank.api.data",
    "RerankDataset": "sharprank.api.data",
    "RerankTrainer": "sharprank.api.trainer",
    "Reranker": "sharprank.serving.reranker",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'sharprank' has no attribute {name!r}")
