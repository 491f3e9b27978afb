"""Marks that belong to the letter before them: the vowels of Hindi or Tamil, say, which `re` takes for no word.

Knows characters only.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache

_LAST = 0x1FFFF
"""Beyond it there are variation selectors alone."""

_LEFT_OUT = re.compile(
    "[\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06ed"  # vowel points and the stretch of Arabic
    "\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7"  # vowel points of Hebrew
    "\u200d]"  # the invisible joiner
)
"""What everyday writing leaves out."""


def _spans(codes: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Runs of neighbouring numbers, first and last of each.

    >>> list(_spans([1, 2, 3, 7]))
    [(1, 3), (7, 7)]
    """
    first = last = None
    for code in codes:
        if last is not None and first is not None and code != last + 1:
            yield first, last
            first = None
        first, last = code if first is None else first, code
    if first is not None and last is not None:
        yield first, last


@cache
def marks() -> str:
    """All of them, as the inside of a character class; put together where words are first looked for."""
    codes = (code for code in range(_LAST + 1) if unicodedata.category(chr(code)) in ("Mn", "Mc"))
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in _spans(codes))


def token_pattern(alone: str, others: str) -> re.Pattern[str]:
    """What a token is: `alone`, or letters and digits with their marks.

    Args:
        alone: an expression.
        others: the inside of a character class, of what belongs to no such run of letters.
    """
    return re.compile(rf"{alone}|[^\W{others}]+(?:[{marks()}]+[^\W{others}]*)*")


def without_points(lowered: str) -> str:
    """A lower-cased or case-folded text as it is usually written.

    >>> without_points("İstanbul".lower()), without_points("كَتَبَ")
    ('istanbul', 'كتب')
    """
    return lowered if lowered.isascii() else _LEFT_OUT.sub("", lowered.replace("i\u0307", "i"))
