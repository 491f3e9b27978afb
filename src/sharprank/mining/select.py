"""Whose turn it is: the order in which a query's candidates are offered as its negatives, from windows of ranks.

A candidate's turn comes from a hash of (seed, query, passage). That is a seeded sample without replacement, and it
depends on nothing else: not on the order of rows, not on the size of a batch, and hardly on a pair of passages that
swap their ranks. Numpy only; knows texts as numbers and judges none of them.

Shapes: K candidates of one query.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sharprank.errors import UserError

How = Literal["random", "top", "log_random"]
"""`random`: every rank of the window alike; `top`: the best first; `log_random`: rank r with weight 1/r, so that the
ranks 10 to 20 give as many as the ranks 100 to 200."""

DEFAULT_NUMBER = 15
"""Negatives of a row, as the reference takes them."""

_DRAWS = 64
_2_64 = float(2**64)


@dataclass(frozen=True)
class Window:
    """Some ranks, and how many negatives to take from them.

    Attributes:
        low, high: half-open slice of ranks, 0-based: (2, 200) holds the ranks 3 to 200.
        number: negatives to take; None: what the other windows leave of the row's number.
    """

    low: int
    high: int
    number: int | None = None

    def __str__(self) -> str:
        """In ranks as people count them: (2, 200) is "3-200"."""
        return f"{self.low + 1}-{self.high}"


def parse_windows(written: str) -> tuple[Window, ...]:
    """The windows of `--range_for_sampling`: `2-200`, or several with their numbers, `2-20:5,20-200:10`.

    Raises:
        UserError: not two whole numbers, the first smaller.
    """
    windows = []
    for part in written.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*-\s*(\d+)\s*(?::\s*(\d+)\s*)?", part)
        if match is None or int(match[1]) >= int(match[2]) or match[3] == "0":
            raise UserError(
                f"--range_for_sampling {written!r} is not a range of ranks"
                + (f" ({part!r})" if part != written else ""),
                fix="write two whole numbers, the smaller first: 2-200 leaves out the first 2 and ends with the 200th; "
                "several ranges with their numbers of negatives: 2-20:5,20-200:10",
            )
        windows.append(Window(int(match[1]), int(match[2]), int(match[3]) if match[3] else None))
    return tuple(windows)


def numbered(windows: Sequence[Window], number: int) -> tuple[Window, ...]:
    """The windows with a number each; those without one share what the others leave of `number`, the first more.

    >>> [window.number for window in numbered(parse_windows("2-20:5,20-200"), 15)]
    [5, 10]
    """
    free = [window for window in windows if window.number is None]
    left = max(0, number - sum(window.number or 0 for window in windows))
    shares = iter(shared(left, [1.0] * len(free)))
    return tuple(
        window if window.number is not None else Window(window.low, window.high, next(shares)) for window in windows
    )


def shared(number: int, shares: Sequence[float]) -> list[int]:
    """Whole numbers in the proportion of `shares` that add up to `number` (largest remainders, the first of equals).

    >>> shared(15, [2, 1, 1])
    [7, 4, 4]
    """
    exact = [number * share / sum(shares) for share in shares]
    whole = [int(value) for value in exact]
    by_remainder = sorted(range(len(shares)), key=lambda i: (whole[i] - exact[i], i))
    for i in by_remainder[: number - sum(whole)]:
        whole[i] += 1
    return whole


def digest(text: str) -> int:
    """64 bits that stand for a text, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def sampling_keys(seed: int, query: str, digests_K: np.ndarray) -> np.ndarray:
    """uint64 [K]: when each passage's turn comes in this query's sample, smallest first; distinct for distinct digests.

    The mixing function is splitmix64's finaliser (Steele, Lea, Flood 2014), a bijection.
    """
    keys = digests_K.astype(np.uint64) ^ np.uint64(digest(f"{seed}\n{query}"))
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        keys = (keys ^ (keys >> np.uint64(shift))) * np.uint64(factor)
    return keys ^ (keys >> np.uint64(31))


def turns(digests_K: np.ndarray, window: Window, *, how: How, seed: int, query: str) -> np.ndarray:
    """Places (0-based ranks) of the window's candidates in the order of their turns: int64, all of them once.

    Args:
        digests_K: the `digest` of each of the query's candidates, best first.
        how: uniform, best first, or weighted by 1/rank. A weighted order without replacement takes exponential keys
            divided by their weights (Efraimidis, Spirakis 2006).
    """
    low, high = min(window.low, len(digests_K)), min(window.high, len(digests_K))
    places = np.arange(low, high)
    if how == "top":
        return places
    keys = sampling_keys(seed, query, digests_K[low:high])
    if how == "random":
        return places[np.argsort(keys, kind="stable")]
    waits = -np.log1p(-(keys.astype(np.float64) + 0.5) / (_2_64 * (1 + 2**-52)))
    return places[np.argsort(waits * (places + 1), kind="stable")]


def draws(name: str, total: int, *, seed: int, query: str) -> Iterator[int]:
    """0 to total - 1 in an order drawn from (name, seed, query), without laying it out unless most of it is asked for.

    Args:
        name: what is drawn, so that two draws for one query differ.
    """
    rng = np.random.default_rng(digest(f"{name}\n{seed}\n{query}"))
    seen: set[int] = set()
    while len(seen) < total // 2:
        for number in rng.integers(total, size=_DRAWS).tolist():
            if number not in seen:
                seen.add(number)
                yield number
    rest = np.setdiff1d(np.arange(total), np.fromiter(seen, np.int64, len(seen)), assume_unique=True)
    yield from rng.permutation(rest).tolist()


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """Minimum, quartiles, outer twentieths and maximum, rounded to 4 decimals; empty when there are no values."""
    if not len(values):
        return {}
    points = {"min": 0.0, "p05": 0.05, "p25": 0.25, "median": 0.5, "p75": 0.75, "p95": 0.95, "max": 1.0}
    return {name: round(float(np.quantile(values, point)), 4) for name, point in points.items()}
