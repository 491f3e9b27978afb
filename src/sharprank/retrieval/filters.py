"""What may never be a negative: texts that are, or nearly are, a positive, the query, or another negative.

Texts are compared in three steps of growing tolerance, all of them exact definitions:

1. folded: case and white space (this is when two rows ask the same query);
2. plain: Unicode compatibility forms (NFKC), case, white space and punctuation;
3. near-duplicates: the Jaccard overlap of their 3-token shingles reaches a threshold. A token is a run of letters,
   digits and low lines, or a single Chinese or Japanese character.

Knows nothing of scores, ranks and files.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

SHINGLE_TOKENS = 3
NEAR_DUPLICATE = 0.8
"""Jaccard overlap from which two texts are near-duplicates; a title before the text or one changed sentence in ten
stays above it."""

POSITIVE = "positive"
SAME_QUERY_POSITIVE = "positive of another row with the same query"
NEAR_POSITIVE = "near-duplicate of a positive"
QUERY = "the query itself"
DUPLICATE = "duplicate of another negative"
REASONS = (POSITIVE, SAME_QUERY_POSITIVE, NEAR_POSITIVE, QUERY, DUPLICATE)

_CJK = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_TOKEN = re.compile(rf"[{_CJK}]|[^\W{_CJK}]+")

Shingles = frozenset[tuple[str, ...]]


def fold(text: str) -> str:
    """The text without differences of case and white space.

    >>> fold("What  is a\\nDog") == fold("what is a dog ")
    True
    """
    return " ".join(text.casefold().split())


def plain(text: str) -> str:
    """The text without differences of Unicode form, case, white space and punctuation.

    A text of nothing but punctuation keeps it.

    >>> plain("A dog is an animal.") == plain("a dog, is an  ANIMAL")
    True
    """
    normal = unicodedata.normalize("NFKC", text)
    return " ".join(_TOKEN.findall(normal.casefold())) or fold(normal)


@lru_cache(maxsize=4096)
def shingles(text: str) -> Shingles:
    """The distinct runs of SHINGLE_TOKENS tokens of `plain(text)`; a shorter text is one run."""
    tokens = plain(text).split()
    if len(tokens) <= SHINGLE_TOKENS:
        return frozenset([tuple(tokens)])
    return frozenset(zip(*(tokens[i:] for i in range(SHINGLE_TOKENS)), strict=False))


def overlap(left: Shingles, right: Shingles) -> float:
    """Jaccard overlap: shared shingles / all shingles.

    >>> overlap(shingles("a b c d"), shingles("a b c e"))  # {abc, bcd} and {abc, bce}
    0.3333333333333333
    """
    shared = len(left & right)
    return shared / (len(left) + len(right) - shared)


class Protected:
    """The texts no negative of one query may be, or nearly be.

    Args:
        query: the row's query.
        positives: the row's positives.
        same_query_positives: positives of other rows that ask the same query (`fold`).
        threshold: overlap from which a passage is a near-duplicate; above 1, only plain-equal texts count.
    """

    def __init__(
        self,
        query: str,
        positives: Iterable[str],
        same_query_positives: Iterable[str] = (),
        *,
        threshold: float = NEAR_DUPLICATE,
    ) -> None:
        own, other = tuple(positives), tuple(same_query_positives)
        self._reasons = {plain(text): SAME_QUERY_POSITIVE for text in other}
        self._reasons |= {plain(text): POSITIVE for text in own}
        self._reasons.setdefault(plain(query), QUERY)
        self._threshold = threshold
        self._texts = tuple(dict.fromkeys((*own, *other)))

    def reason(self, passage: str) -> str | None:
        """Why `passage` may not be a negative; None when it may."""
        known = self._reasons.get(plain(passage))
        if known is not None:
            return known
        return NEAR_POSITIVE if self._threshold <= 1 and self._is_near(passage) else None

    def admit(self, passage: str) -> str | None:
        """As `reason`; and a passage that may be a negative now is one, so that its duplicates may not."""
        reason = self.reason(passage)
        if reason is None:
            self._reasons[plain(passage)] = DUPLICATE
        return reason

    def _is_near(self, passage: str) -> bool:
        own = shingles(passage)
        for text in self._texts:
            other = shingles(text)
            smaller, larger = sorted((len(own), len(other)))
            if smaller >= self._threshold * larger and overlap(own, other) >= self._threshold:
                return True
        return False
