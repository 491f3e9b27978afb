"""What may never be a negative: texts that are, or nearly are, a positive, the query, or another negative.

Texts are compared in three steps of growing tolerance, all of them exact definitions:

1. folded: case and white space (this is when two rows ask the same query);
2. plain: Unicode compatibility forms (NFKC), case, white space, punctuation and vowel points;
3. near-duplicates: the Jaccard overlap of their 3-token shingles reaches a threshold. A token is a run of letters (with
   their marks), digits and low lines, or a single Chinese or Japanese character. Shingles are 64-bit hashes.

The few texts of one row are compared with each other exactly; `minhash` finds near-duplicates among many texts.
And what may not be a negative by its score: `ScoreRule`. Knows nothing of ranks and files.

Shapes: S shingles of a text.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from functools import cache, lru_cache

import numpy as np

from sharprank.retrieval.marks import token_pattern, without_points

SHINGLE_TOKENS = 3
NEAR_DUPLICATE = 0.8
"""Jaccard overlap from which two texts are near-duplicates; a title before the text or one changed sentence in ten
stays above it."""

POSITIVE = "positive"
SAME_QUERY_POSITIVE = "positive of another row with the same query"
NEAR_QUERY_POSITIVE = "positive of a row that asks nearly the same"
NEAR_POSITIVE = "near-duplicate of a positive"
QUERY = "the query itself"
DUPLICATE = "duplicate of another negative"
NEAR_NEGATIVE = "near-duplicate of another negative"
REASONS = (POSITIVE, SAME_QUERY_POSITIVE, NEAR_QUERY_POSITIVE, NEAR_POSITIVE, QUERY, DUPLICATE, NEAR_NEGATIVE)

ABOVE_CEILING = "score above the ceiling"
BELOW_FLOOR = "score below the floor"
WITHIN_MARGIN = "score within the margin of a positive's"
WITHIN_RELATIVE_MARGIN = "score within the relative margin of a positive's"

_CJK = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_FACTORS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], np.uint64)


def fold(text: str) -> str:
    """The text without differences of case and white space.

    >>> fold("What  is a\\nDog") == fold("what is a dog ")
    True
    """
    return " ".join(text.casefold().split())


@cache
def _token() -> re.Pattern[str]:
    return token_pattern(f"[{_CJK}]", _CJK)


@lru_cache(maxsize=4096)
def plain(text: str) -> str:
    """The text without differences of Unicode form, case, white space and punctuation.

    A text of nothing but punctuation keeps it.

    >>> plain("A dog is an animal.") == plain("a dog, is an  ANIMAL")
    True
    """
    normal = unicodedata.normalize("NFKC", text)
    return " ".join(_token().findall(without_points(normal.casefold()))) or fold(normal)


@lru_cache(maxsize=4096)
def shingles(text: str) -> np.ndarray:
    """The distinct runs of SHINGLE_TOKENS tokens of `plain(text)`, sorted hashes uint64 [S]; a shorter text is one."""
    tokens = np.fromiter(map(_token_hash, plain(text).split()), np.uint64)
    if len(tokens) < SHINGLE_TOKENS:
        tokens = np.concatenate([tokens, np.zeros(SHINGLE_TOKENS - len(tokens), np.uint64)])
    runs = np.lib.stride_tricks.sliding_window_view(tokens, SHINGLE_TOKENS)
    mixed = (runs * _FACTORS).sum(axis=1, dtype=np.uint64)
    return np.unique((mixed ^ (mixed >> np.uint64(29))) * _FACTORS[0])


@lru_cache(maxsize=1 << 16)
def _token_hash(token: str) -> int:
    return int.from_bytes(hashlib.blake2b(token.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def overlap(left: np.ndarray, right: np.ndarray) -> float:
    """Jaccard overlap: shared shingles / all shingles.

    >>> overlap(shingles("a b c d"), shingles("a b c e"))  # {abc, bcd} and {abc, bce}
    0.3333333333333333
    """
    shared = len(np.intersect1d(left, right, assume_unique=True))
    return shared / (len(left) + len(right) - shared)


def near(left: np.ndarray, right: np.ndarray, threshold: float) -> bool:
    """Whether the overlap of two texts' shingles reaches the threshold."""
    smaller, larger = sorted((len(left), len(right)))
    return smaller >= threshold * larger and overlap(left, right) >= threshold


@dataclass(frozen=True)
class ScoreRule:
    """By which scores a candidate is taken for a positive that nobody labelled, or is no use; None switches a part off.

    Attributes:
        ceiling, floor: scores above the one and below the other are refused.
        margin: a negative scores less than the lowest positive by more than this.
        relative_margin: likewise, a share m of it: the line is `pos - |pos| * m`, which also holds for scores below
            zero. 0.05 is TopK-PercPos at 95 % (NV-Retriever, Moreira et al. 2024).
    """

    ceiling: float | None = None
    floor: float | None = None
    margin: float | None = None
    relative_margin: float | None = None

    def __bool__(self) -> bool:
        return any(part is not None for part in (self.ceiling, self.floor, self.margin, self.relative_margin))

    def over(self, other: ScoreRule) -> ScoreRule:
        """This rule, and what it leaves open as in the other one."""
        own, others = astuple(self), astuple(other)
        return ScoreRule(*(mine if mine is not None else theirs for mine, theirs in zip(own, others, strict=True)))

    @property
    def needs_positives(self) -> bool:
        """Whether the positives' scores have to be known."""
        return self.margin is not None or self.relative_margin is not None

    def reason(self, score: float, lowest_positive: float | None) -> str | None:
        """Why a candidate of this score may not be a negative; None when it may.

        Args:
            lowest_positive: the smallest score of the row's positives; None where it is unknown, so that no margin
                can be taken from it.
        """
        if self.ceiling is not None and score > self.ceiling:
            return ABOVE_CEILING
        if self.floor is not None and score < self.floor:
            return BELOW_FLOOR
        if lowest_positive is None:
            return None
        if self.margin is not None and score >= lowest_positive - self.margin:
            return WITHIN_MARGIN
        line = lowest_positive - abs(lowest_positive) * (self.relative_margin or 0.0)
        if self.relative_margin is not None and score >= line:
            return WITHIN_RELATIVE_MARGIN
        return None


class Protected:
    """The texts no negative of one query may be, or nearly be.

    Args:
        query: the row's query.
        positives: the row's positives.
        same_query_positives: positives of other rows that ask the same query (`fold`).
        near_query_positives: positives of rows that ask nearly the same.
        threshold: overlap from which a passage is a near-duplicate; above 1, only plain-equal texts count.
    """

    def __init__(
        self,
        query: str,
        positives: Iterable[str],
        same_query_positives: Iterable[str] = (),
        *,
        near_query_positives: Iterable[str] = (),
        threshold: float = NEAR_DUPLICATE,
    ) -> None:
        own, other, near_ones = tuple(positives), tuple(same_query_positives), tuple(near_query_positives)
        self._reasons = {plain(text): NEAR_QUERY_POSITIVE for text in near_ones}
        self._reasons |= {plain(text): SAME_QUERY_POSITIVE for text in other}
        self._reasons |= {plain(text): POSITIVE for text in own}
        self._reasons.setdefault(plain(query), QUERY)
        self._threshold = threshold
        self._texts = tuple(dict.fromkeys((*own, *other, *near_ones)))
        self._admitted: list[str] = []
        self._shingles: set[int] = set()
        self._num_known = 0

    def reason(self, passage: str) -> str | None:
        """Why `passage` may not be a negative; None when it may."""
        return self._reasons.get(plain(passage)) or self._near_reason(passage)

    def admit(self, passage: str) -> str | None:
        """As `reason`; and a passage that may be a negative now is one, so that its (near-)duplicates may not."""
        reason = self.reason(passage)
        if reason is None:
            self.add(passage)
        return reason

    def add(self, passage: str) -> None:
        """Take a passage as a negative: from now on its (near-)duplicates may not be one."""
        self._reasons[plain(passage)] = DUPLICATE
        self._admitted.append(passage)

    def _near_reason(self, passage: str) -> str | None:
        if self._threshold > 1:
            return None
        own = shingles(passage)
        shared = sum(map(self._known_shingles().__contains__, own.tolist()))
        if shared < self._threshold * len(own):  # less than that with all of them together: with none of them enough
            return None
        for texts, reason in ((self._texts, NEAR_POSITIVE), (self._admitted, NEAR_NEGATIVE)):
            if any(near(own, shingles(text), self._threshold) for text in texts):
                return reason
        return None

    def _known_shingles(self) -> set[int]:
        """The shingles of all protected texts and negatives so far."""
        for text in (*self._texts, *self._admitted)[self._num_known :]:
            self._shingles.update(shingles(text).tolist())
        self._num_known = len(self._texts) + len(self._admitted)
        return self._shingles
