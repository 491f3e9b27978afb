"""Which of a query's candidates become its negatives: a seeded sample of the rank window.

A candidate's turn comes from a hash of (seed, query, passage), smallest first. That is a uniform sample without
replacement, and it depends on nothing else: not on the order of rows, not on the size of a batch, and hardly on
a pair of passages that swap their ranks. Numpy only; knows texts as ids and asks `admit` what it may take.

Shapes: K candidates of one query.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

ABOVE_WINDOW = "ranked above the window"
_DRAWS = 64

Admit = Callable[[int], "str | None"]
"""Passage id -> why it may not be a negative; None when it may, and then it is one."""


@dataclass(frozen=True)
class Sampling:
    """What is sampled from every query's candidates.

    Attributes:
        window: half-open slice of ranks, 0-based: (2, 200) holds the ranks 3 to 200.
        number: negatives of a row.
        seed: another seed, another sample.
    """

    window: tuple[int, int]
    number: int
    seed: int = 0


@dataclass(frozen=True)
class Selection:
    """The negatives of one row, best rank first, random ones last.

    Attributes:
        ids: passage ids in the pool.
        ranks: 1-based rank of each; None for those that were drawn from the whole pool.
        refused: how many candidates were met and refused, by reason.
    """

    ids: tuple[int, ...] = ()
    ranks: tuple[int | None, ...] = ()
    refused: Counter[str] = field(default_factory=Counter)

    @property
    def num_random(self) -> int:
        """Negatives drawn from the whole pool."""
        return sum(rank is None for rank in self.ranks)


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


def sample_window(
    ranked_K: np.ndarray, digests_K: np.ndarray, sampling: Sampling, *, query: str, admit: Admit
) -> Selection:
    """Sample admissible candidates from the window: the number asked for, or as many as there are.

    Args:
        ranked_K: passage ids, best first.
        digests_K: the `digest` of each.
        sampling: the window, how many, and the seed.
        query: the query's text, which the sample depends on.
        admit: told of every candidate whose turn it is.
    """
    low, high = sampling.window[0], min(sampling.window[1], len(ranked_K))
    turns = low + np.argsort(sampling_keys(sampling.seed, query, digests_K[low:high]))
    taken: list[int] = []
    refused: Counter[str] = Counter()
    for place in turns.tolist():
        if len(taken) == sampling.number:
            break
        reason = admit(int(ranked_K[place]))
        if reason is None:
            taken.append(place)
        else:
            refused[reason] += 1
    taken.sort()
    return Selection(tuple(int(ranked_K[place]) for place in taken), tuple(place + 1 for place in taken), refused)


def fill_from_pool(
    selection: Selection, ranked_K: np.ndarray, sampling: Sampling, *, pool_size: int, query: str, admit: Admit
) -> Selection:
    """Bring a selection to its number with uniform draws from the whole pool, without repeats.

    The ranks above the window, which it was chosen to leave out, stay out.
    """
    low, high = sampling.window
    ids, ranks, refused = list(selection.ids), list(selection.ranks), Counter(selection.refused)
    above, tried = set(ranked_K[:low].tolist()), set(ranked_K[low:high].tolist())
    rng = np.random.default_rng(digest(f"fill\n{sampling.seed}\n{query}"))
    for passage in _draws(rng, pool_size):
        if len(ids) >= sampling.number:
            break
        if passage in tried:
            continue
        reason = ABOVE_WINDOW if passage in above else admit(passage)
        if reason is None:
            ids.append(passage)
            ranks.append(None)
        else:
            refused[reason] += 1
    return Selection(tuple(ids), tuple(ranks), refused)


def _draws(rng: np.random.Generator, total: int) -> Iterator[int]:
    """0 to total - 1 in random order, without laying out the whole order unless most of it is asked for."""
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
