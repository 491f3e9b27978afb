"""A cross-encoder as judge of the negatives: what it takes for relevant is none, and may become a positive.

It scores whole blocks of rows at a time, so that short and long pairs share its batches. Scores are kept in chunks of
CHUNK_PAIRS pairs, each a file that appears whole or not at all and is found again by the teacher and the very pairs:
a run that died continues behind the last of them, and what a pair scores never depends on when the run was stopped.
Several ranks share the chunks and read each other's.

Shapes: P pairs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from sharprank.formats.cache import entry_folder, key_of
from sharprank.mining.config import MineConfig
from sharprank.ranks import ALONE, Ranks
from sharprank.retrieval.filters import ScoreRule
from sharprank.retrieval.stored import load_array, save_array

CHUNK_PAIRS = 1024
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
        folder: where finished chunks of this very teacher are kept.
        windows: read long passages whole, in windows (`sharprank.models.windows.WindowRule`), and take the best.
        probability: from raw scores to probabilities.
        ranks: who shares the chunks; all of them ask for the same pairs in the same order.
    """

    def __init__(
        self,
        scorer: Scorer,
        *,
        folder: Path,
        probability: Callable[[np.ndarray], np.ndarray],
        windows: Any = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self._scorer = scorer
        self._windows = windows
        self._folder = folder
        self._ranks = ranks
        self.probability = probability
        self.num_scored = self.num_found = 0

    def judged(self, pairs: Sequence[Pair]) -> tuple[np.ndarray, np.ndarray]:
        """Raw scores and probabilities, float64 [P] each."""
        scores = self.scores(pairs)
        return scores, self.probability(scores)

    def scores(self, pairs: Sequence[Pair]) -> np.ndarray:
        """Raw scores float64 [P], rounded to SCORE_DECIMALS, in the order of the pairs."""
        chunks = [pairs[start : start + CHUNK_PAIRS] for start in range(0, len(pairs), CHUNK_PAIRS)]
        paths = [self._folder / f"{_hash(chunk)}.npy" for chunk in chunks]
        for chunk, path in self._ranks.share(list(zip(chunks, paths, strict=True))):
            self._fill(chunk, path)
        self._ranks.wait()
        scores = [_load(path, len(chunk)) for chunk, path in zip(chunks, paths, strict=True)]
        return np.concatenate([np.empty(0), *scores]).astype(np.float64).round(SCORE_DECIMALS)

    def _fill(self, pairs: Sequence[Pair], path: Path) -> None:
        stored = load_array(path)
        if stored is not None and stored.shape == (len(pairs),):
            self.num_found += len(pairs)
            return
        save_array(path, self._scorer.score(pairs, windows=self._windows).astype(np.float32))
        self.num_scored += len(pairs)


def _hash(pairs: Sequence[Pair]) -> str:
    state = hashlib.blake2b(digest_size=16)
    for pair in pairs:
        for text in pair:
            data = text.encode("utf-8", "surrogatepass")
            state.update(len(data).to_bytes(8, "little"))
            state.update(data)
    return state.hexdigest()


def _load(path: Path, num_pairs: int) -> np.ndarray:
    stored = load_array(path)
    if stored is None or stored.shape != (num_pairs,):
        raise OSError(f"{path} could not be read back after it was written")
    return np.asarray(stored)


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


def load_teacher(config: MineConfig, cache: Path, ranks: Ranks = ALONE) -> tuple[Teacher, dict[str, Any]] | None:
    """The teacher that the flags name, and all that decides its scores; None when they name none.

    Raises:
        UserError: no such model, or none that scores pairs.
    """
    if config.teacher is None:
        return None
    from sharprank.formats.calibration import read_calibration
    from sharprank.metrics.pairs import sigmoid
    from sharprank.models.devices import device_of_rank
    from sharprank.models.loading import hash_weights
    from sharprank.models.scoring import PairScorer
    from sharprank.models.windows import WindowRule

    scorer = PairScorer.load(
        config.teacher,
        max_length=config.teacher_max_length,
        dtype=config.dtype,
        device=device_of_rank(config.device, ranks.local) if ranks.count > 1 else config.device,
        trust_remote_code=config.trust_remote_code,
    )
    windows = WindowRule(overlap=config.overlap) if config.long_passages == "split" else None
    about = {
        "model": config.teacher,
        "weights_sha256": hash_weights(scorer.model),
        "max_length": scorer.pair_tokenizer.max_length,
        "dtype": str(next(scorer.model.parameters()).dtype).removeprefix("torch."),
        "device": scorer.device.type,
        "prompt": None if scorer.pair_tokenizer.prompt is None else asdict(scorer.pair_tokenizer.prompt),
        "windows": None if windows is None else vars(windows),
    }
    calibration = read_calibration(Path(config.teacher).expanduser())
    folder = entry_folder(cache, "teacher", key_of(about), about)
    probability = sigmoid if calibration is None else calibration.probabilities
    return Teacher(scorer, folder=folder, probability=probability, windows=windows, ranks=ranks), about
