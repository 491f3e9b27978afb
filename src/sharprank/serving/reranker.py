"""`Reranker`: a trained cross-encoder in three calls, with the pair text and truncation of its training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np

from sharprank.models.scoring import PairScorer


@dataclass(frozen=True)
class RankedPassage:
    """One passage of a ranking.

    Attributes:
        index: 0-based place in the list that was given.
        score: raw score, higher is better.
    """

    index: int
    score: float
    passage: str


class Reranker:
    """Scores and ranks passages for queries."""

    def __init__(self, scorer: PairScorer) -> None:
        self.scorer = scorer

    @classmethod
    def from_pretrained(
        cls,
        path: str,
        max_length: int | None = None,
        dtype: Any = None,
        device: Any = None,
        *,
        trust_remote_code: bool = False,
    ) -> Reranker:
        """Load a reranker.

        Args:
            path: a folder or a hub id.
            max_length: tokens of a pair; default 512, or the model's limit if lower.
            dtype: "float32", "bfloat16", "float16", "auto" or a torch dtype; default bfloat16 on CUDA, else float32.
            device: "cpu", "cuda:0", ...; default the best there is.

        Raises:
            UserError: no such model, no tokenizer, several labels, a length beyond the model.
        """
        return cls(
            PairScorer.load(
                path, max_length=max_length, dtype=dtype, device=device, trust_remote_code=trust_remote_code
            )
        )

    @overload
    def compute_score(self, pairs: tuple[str, str]) -> float: ...

    @overload
    def compute_score(self, pairs: Sequence[Sequence[str]]) -> list[float]: ...

    def compute_score(self, pairs: Any, *, normalize: bool = False) -> Any:
        """Raw scores of (query, passage) pairs: a float for one flat pair of strings, a list for a list of pairs.

        Args:
            normalize: give the sigmoid of the raw scores.

        Raises:
            ValueError: something that is not a pair of strings.
        """
        flat = len(pairs) == 2 and all(isinstance(part, str) for part in pairs)
        listed = [_pair(pair) for pair in ([pairs] if flat else pairs)]
        scores = self.scorer.score(listed).astype(np.float64)
        if normalize:
            scores = 1.0 / (1.0 + np.exp(-scores))
        return float(scores[0]) if flat else scores.tolist()

    def rank(self, query: str, passages: Sequence[str], *, top_k: int | None = None) -> list[RankedPassage]:
        """The passages, best first; equal scores keep the order given.

        Args:
            top_k: how many to return; all of them by default.
        """
        scores = self.compute_score([(query, passage) for passage in passages]) if passages else []
        order = sorted(range(len(passages)), key=lambda index: -scores[index])
        return [RankedPassage(index, scores[index], passages[index]) for index in order[:top_k]]


def _pair(pair: Any) -> tuple[str, str]:
    if isinstance(pair, (list, tuple)) and len(pair) == 2 and all(isinstance(part, str) for part in pair):
        return pair[0], pair[1]
    raise ValueError(f"a pair is (query, passage), both strings; got {pair!r}")
