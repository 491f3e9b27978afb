"""A cross-encoder as judge of the negatives: what it takes for relevant is none, and may become a positive.

It scores whole blocks of rows at a time, so that short and long pairs share its batches. Scores are kept in chunks of
CHUNK_PAIRS pairs, each a file that appears whole or not at all and is found again by the teacher and the very pairs:
a run that died continues behind the last of them, and what a pair scores never depends on when the run was stopped.

Shapes: P pairs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from sharprank.formats.writers import atomic_open
from sharprank.retrieval.filters import ScoreRule

CHUNK_PAIRS = 4096
SCORE_DECIMALS = 4

AS_GOOD_AS_A_POSITIVE = "teacher: scores as high as a positive"
PROBABLY_RELEVANT = "teacher: probably relevant"
PROMOTED = "teacher: promoted to a positive"

Pair = tuple[str, str]


class Scorer(Protocol):
    """A cross-encoder (`sharprank.models.scoring.PairScorer` is one)."""

    def score(self, pairs: Sequence[Pair], *, windows: Any = None, progress: str | None = None) -> np.ndarray:
        """Raw scores float32 [P]."""
        ...


class Teacher:
    """Scores of pairs, each chunk computed once.

    Args:
        scorer: the model.
        folder: where finished chunks of this very teacher are kept; None keeps none.
        windows: read long passages whole, in windows (`sharprank.models.windows.WindowRule`), and take the best.
        probability: from raw scores to probabilities.
    """

    def __init__(
        self,
        scorer: Scorer,
        *,
        folder: Path | None,
        probability: Callable[[np.ndarray], np.ndarray],
        windows: Any = None,
    ) -> None:
        self._scorer = scorer
        self._windows = windows
        self._folder = folder
        self.probability = probability
        self.num_scored = self.num_found = 0

    def judged(self, pairs: Sequence[Pair]) -> tuple[np.ndarray, np.ndarray]:
        """Raw scores and probabilities, float64 [P] each."""
        scores = self.scores(pairs)
        return scores, self.probability(scores)

    def scores(self, pairs: Sequence[Pair]) -> np.ndarray:
        """Raw scores float64 [P], rounded to SCORE_DECIMALS, in the order of the pairs."""
        chunks = [self._chunk(pairs[start : start + CHUNK_PAIRS]) for start in range(0, len(pairs), CHUNK_PAIRS)]
        return np.concatenate(chunks).astype(np.float64).round(SCORE_DECIMALS) if chunks else np.empty(0)

    def _chunk(self, pairs: Sequence[Pair]) -> np.ndarray:
        path = (
            None if self._folder is None else self._folder / f"{_hash(*(text for pair in pairs for text in pair))}.npy"
        )
        stored = None if path is None else _load(path, len(pairs))
        if stored is not None:
            self.num_found += len(pairs)
            return stored
        scores = self._scorer.score(pairs, windows=self._windows).astype(np.float32)
        self.num_scored += len(pairs)
        if path is not None:
            with atomic_open(path, "wb") as file:
                np.save(file, scores, allow_pickle=False)
        return scores


def _hash(*texts: str) -> str:
    state = hashlib.blake2b(digest_size=16)
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        state.update(len(data).to_bytes(8, "little"))
        state.update(data)
    return state.hexdigest()


def _load(path: Path, num_pairs: int) -> np.ndarray | None:
    """The stored scores; None where they are absent, cut short, or not what they should be."""
    try:
        scores = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return scores if scores.shape == (num_pairs,) and scores.dtype == np.float32 else None


@dataclass(frozen=True)
class TeacherRule:
    """What the teacher's scores decide.

    Attributes:
        margin: a negative's raw score is below the lowest positive's by more than this.
        ceiling: a negative's probability is at most this; None: not looked at.
        promote: from this probability on a candidate becomes a positive; None: none does.
    """

    margin: float = 0.0
    ceiling: float | None = None
    promote: float | None = None

    def reason(self, score: float, probability: float, lowest_positive: float) -> str | None:
        """Why a candidate may not be a negative; None when it may.

        Args:
            score: the teacher's raw score.
            lowest_positive: the smallest raw score of the row's positives.
        """
        if self.promote is not None and probability >= self.promote:
            return PROMOTED
        if ScoreRule(ceiling=self.ceiling).reason(probability, None):
            return PROBABLY_RELEVANT
        return AS_GOOD_AS_A_POSITIVE if ScoreRule(margin=self.margin).reason(score, lowest_positive) else None
