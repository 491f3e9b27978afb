"""`Reranker`: a trained cross-encoder in three calls, with the pair text and truncation of its training.

Safe to share between threads: calls wait for each other, since one forward pass uses the whole device anyway.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np

from sharprank.formats.calibration import check_calibration, read_calibration
from sharprank.formats.fusion import stored_weight
from sharprank.metrics.calibration import Calibration
from sharprank.metrics.fusion import check_first_stage, check_weight, fuse_scores
from sharprank.metrics.pairs import sigmoid
from sharprank.models.minilm import weights_folder
from sharprank.models.scoring import PairScorer
from sharprank.models.token_cache import CachingPairTokenizer
from sharprank.models.windows import WindowRule


@dataclass(frozen=True)
class RankedPassage:
    """One passage of a ranking.

    Attributes:
        index: 0-based place in the list that was given.
        score: raw score, or probability if that was asked for; higher is better.
    """

    index: int
    score: float
    passage: str


class Reranker:
    """Scores and ranks passages for queries.

    Args:
        scorer: the model.
        cached_passages: passages whose token ids are kept between calls (0: none).
        calibration: turns scores into probabilities; without one it is the sigmoid that does.
        first_stage_weight: what the first stage's scores count where `rank` is given some, 0 to 1.
    """

    def __init__(
        self,
        scorer: PairScorer,
        *,
        cached_passages: int = 0,
        calibration: Calibration | None = None,
        first_stage_weight: float | None = None,
    ) -> None:
        if cached_passages:
            scorer.pair_tokenizer = CachingPairTokenizer(scorer.pair_tokenizer, num_passages=cached_passages)
        self.scorer = scorer
        self.calibration, self.first_stage_weight = calibration, first_stage_weight
        self._lock = threading.Lock()

    @classmethod
    def from_pretrained(
        cls,
        path: str,
        max_length: int | None = None,
        dtype: Any = None,
        device: Any = None,
        *,
        cached_passages: int = 0,
        calibration: str | Path | None = None,
        trust_remote_code: bool = False,
    ) -> Reranker:
        """Load a reranker, with the calibration and the weight of the first stage that are stored in its folder.

        Args:
            path: a folder or a hub id.
            max_length: tokens of a pair; default as trained, else 512 or the model's limit.
            dtype: "float32", "bfloat16", "float16", "auto" or a torch dtype; default bfloat16 on CUDA from Ampere on,
                else float32.
            device: "cpu", "cuda:0", ...; default the best there is.
            cached_passages: passages whose token ids are kept between calls (0: none).
            calibration: a file of `sharprank calibrate --output_file`, in the place of the folder's own.

        Raises:
            UserError: no such model, no tokenizer, several labels, a length beyond the model, a calibration of other
                weights.
        """
        if calibration is not None:
            check_calibration(calibration)
        scorer = PairScorer.load(
            path, max_length=max_length, dtype=dtype, device=device, trust_remote_code=trust_remote_code
        )
        fitted = read_calibration(weights_folder(path), file=calibration)
        weight = stored_weight(weights_folder(path))
        return cls(scorer, cached_passages=cached_passages, calibration=fitted, first_stage_weight=weight)

    @overload
    def compute_score(self, pairs: tuple[str, str], *, normalize: bool = ...) -> float: ...

    @overload
    def compute_score(self, pairs: Sequence[Sequence[str]], *, normalize: bool = ...) -> list[float]: ...

    def compute_score(self, pairs: Any, *, normalize: bool = False) -> Any:
        """Raw scores of (query, passage) pairs: a float for one flat pair of strings, a list for a list of pairs.

        Args:
            normalize: give probabilities.

        Raises:
            ValueError: something that is not a pair of strings.
        """
        flat = len(pairs) == 2 and all(isinstance(part, str) for part in pairs)
        scores = self._score([_pair(pair) for pair in ([pairs] if flat else pairs)], normalize=normalize)
        return scores[0] if flat else scores

    def _score(
        self, pairs: Sequence[tuple[str, str]], *, normalize: bool, windows: WindowRule | None = None
    ) -> list[float]:
        with self._lock:
            scores = self.scorer.score(pairs, windows=windows).astype(np.float64)
        return (self.probabilities(scores) if normalize else scores).tolist()

    def probabilities(self, scores: Sequence[float] | np.ndarray) -> np.ndarray:
        """Probabilities of raw scores: by the model's calibration, or else their sigmoid."""
        return sigmoid(scores) if self.calibration is None else self.calibration.probabilities(scores)

    def score_lists(
        self,
        queries: Sequence[str],
        passages: Sequence[Sequence[str]],
        *,
        normalize: bool = False,
        windows: WindowRule | None = None,
    ) -> list[list[float]]:
        """Scores of each query's own passages, in input order; all queries share the model's batches.

        Args:
            queries: Q of them.
            passages: Q lists; a list may be empty.
            normalize: give probabilities.
            windows: read long passages whole, in overlapping windows, and take the best.

        Raises:
            ValueError: not one list a query, or something that is not a string.
        """
        if isinstance(passages, str) or isinstance(queries, str) or len(queries) != len(passages):
            raise ValueError(f"one list of passages a query: got {len(queries)} queries and {len(passages)} lists")
        pairs = [_pair((query, text)) for query, texts in zip(queries, passages, strict=True) for text in _texts(texts)]
        scores = iter(self._score(pairs, normalize=normalize, windows=windows))
        return [[next(scores) for _ in texts] for texts in passages]

    def rank(
        self,
        query: str,
        passages: Sequence[str],
        *,
        top_k: int | None = None,
        normalize: bool = False,
        windows: WindowRule | None = None,
        first_stage_scores: Sequence[float] | None = None,
    ) -> list[RankedPassage]:
        """The passages, best first; equal scores keep the order given.

        Args:
            top_k: how many to return; all of them by default.
            normalize: give probabilities.
            windows: read long passages whole, in overlapping windows, and take the best.
            first_stage_scores: one a passage; they count `first_stage_weight` beside the model's, both standardised.

        Raises:
            ValueError: a negative `top_k`; first-stage scores without a weight from 0 to 1, that are not one finite
                number a passage, or with `normalize`.
        """
        if first_stage_scores is None:
            return self.rank_many([query], [passages], top_k=top_k, normalize=normalize, windows=windows)[0]
        _check_top_k(top_k)
        weight = self._weight_beside(normalize=normalize)
        check_first_stage(first_stage_scores, num_passages=len(_texts(passages)))
        scores = self.score_lists([query], [passages], windows=windows)[0]
        fused = fuse_scores(first_stage_scores, scores, weight)
        return _best(fused, passages, fused)[:top_k]

    def _weight_beside(self, *, normalize: bool) -> float:
        """What the first stage's scores count, checked before anything is scored."""
        if self.first_stage_weight is None:
            raise ValueError("no weight for first_stage_scores is stored with this model; set first_stage_weight")
        check_weight(self.first_stage_weight)
        if normalize:
            raise ValueError("fused scores are no probabilities; leave out normalize or first_stage_scores")
        return self.first_stage_weight

    def rank_many(
        self,
        queries: Sequence[str],
        passages: Sequence[Sequence[str]],
        *,
        top_k: int | None = None,
        normalize: bool = False,
        windows: WindowRule | None = None,
    ) -> list[list[RankedPassage]]:
        """`rank` for many queries in one call."""
        _check_top_k(top_k)
        lists = self.score_lists(queries, passages, windows=windows)
        shown = [self.probabilities(scores).tolist() if normalize else scores for scores in lists]
        return [_best(*one)[:top_k] for one in zip(lists, passages, shown, strict=True)]

    def rerank(
        self,
        query: str,
        documents: Sequence[str],
        *,
        chunk_max_length: int = 512,
        chunk_overlap: int = 50,
        max_chunks_per_doc: int = 100,
        normalize: bool = False,
        return_dict: bool = True,
    ) -> Any:
        """Rank long documents by their best chunk, called and answered as in open-retrievals.

        Returns:
            `{"rerank_document": [...], "rerank_scores": [...], "rerank_ids": [...]}`, best first, ids being places in
            the list given; or only the documents.
        """
        windows = WindowRule(overlap=chunk_overlap, max_windows=max_chunks_per_doc, length=chunk_max_length)
        ranked = self.rank(query, documents, normalize=normalize, windows=windows)
        texts = [one.passage for one in ranked]
        if not return_dict:
            return texts
        return {
            "rerank_document": texts,
            "rerank_scores": [one.score for one in ranked],
            "rerank_ids": [one.index for one in ranked],
        }


def _best(scores: Sequence[float], passages: Sequence[str], shown: Sequence[float]) -> list[RankedPassage]:
    """By raw score, since the probabilities of large ones are all 1; each with the value that is shown for it."""
    order = sorted(range(len(passages)), key=lambda index: -scores[index])
    return [RankedPassage(index, shown[index], passages[index]) for index in order]


def _check_top_k(top_k: int | None) -> None:
    if top_k is not None and top_k < 0:
        raise ValueError(f"top_k is {top_k}; use 0 or more, or None for all")


def _texts(texts: Any) -> Any:
    if isinstance(texts, str):
        raise ValueError(f"the passages of a query are a list of strings; got the string {texts[:60]!r}")
    return texts


def _pair(pair: Any) -> tuple[str, str]:
    if isinstance(pair, (list, tuple)) and len(pair) == 2 and all(isinstance(part, str) for part in pair):
        return pair[0], pair[1]
    raise ValueError(f"a pair is (query, passage), both strings; got {pair!r}")
