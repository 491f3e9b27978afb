"""Near-duplicates among many texts: MinHash signatures, banded so that only likely pairs are ever compared.

A signature keeps, for each of PERMUTATIONS hash functions, the smallest hash of the text's shingles; two signatures
agree in a place with the probability that the shingles overlap (Broder 1997). Texts that agree in all the places of a
band are compared exactly. How many places a band has follows from the threshold: a pair at the threshold is missed in
about one case of a thousand or less, and no pair below it is ever found, since the overlap itself decides.

Holds some tens of numbers of 8 bytes a text (25 at a threshold of .8) and no texts: those of likely pairs are asked for
again, by number.

Shapes: N texts, S shingles of one, P permutations, B bands.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from sharprank.retrieval.filters import near, shingles

PERMUTATIONS = 128
LARGEST_GROUP = 64
"""Texts that share a band are compared with each other up to this many, then only with the first of them."""

_MISSED = 1e-3
_RNG = np.random.default_rng(20_240_807)
_FACTORS_P = _RNG.integers(1, 2**63, PERMUTATIONS, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
_OFFSETS_P = _RNG.integers(0, 2**63, PERMUTATIONS, dtype=np.uint64)


def signature(shingles_S: np.ndarray) -> np.ndarray:
    """The smallest hash under each permutation: uint32 [P]."""
    hashes_PS = (shingles_S[None, :] * _FACTORS_P[:, None] + _OFFSETS_P[:, None]) >> np.uint64(32)
    return hashes_PS.min(axis=1).astype(np.uint32)


def estimate(left_P: np.ndarray, right_P: np.ndarray) -> float:
    """The overlap of two texts as their signatures tell it; its standard deviation is at most .045."""
    return float((left_P == right_P).mean())


def places_of_a_band(threshold: float) -> int:
    """The most places a band may have so that a pair at the threshold is missed in 1 of 1000 cases at most.

    >>> places_of_a_band(0.8), places_of_a_band(0.5)
    (5, 2)
    """
    fits = (n for n in range(1, PERMUTATIONS + 1) if (1 - threshold**n) ** (PERMUTATIONS // n) <= _MISSED)
    return max(fits, default=1)


def near_pairs(texts: Iterable[str], text_of: Callable[[int], str], *, threshold: float) -> Iterator[tuple[int, int]]:
    """All pairs (i, j), i < j, of texts whose shingles overlap by the threshold at least, in their order, each once.

    Args:
        texts: all of them, read once.
        text_of: gives one of them again.
        threshold: above 0, at most 1.
    """
    bands_NB = _bands(texts, places_of_a_band(threshold))
    likely = sorted({pair for band_N in bands_NB.T for pair in _sharing(band_N)})
    for i, j in likely:
        if near(shingles(text_of(i)), shingles(text_of(j)), threshold):
            yield i, j


def _bands(texts: Iterable[str], places: int) -> np.ndarray:
    """A hash of each band of each text: uint64 [N, B]."""
    num_bands = PERMUTATIONS // places
    bands = array("Q")
    for text in texts:
        places_BR = signature(shingles(text))[: num_bands * places].reshape(num_bands, places).astype(np.uint64)
        bands.frombytes((places_BR * _FACTORS_P[:places]).sum(axis=1, dtype=np.uint64).tobytes())
    return np.frombuffer(bands, np.uint64).reshape(-1, num_bands) if bands else np.empty((0, num_bands), np.uint64)


def _sharing(band_N: np.ndarray) -> Iterator[tuple[int, int]]:
    """Pairs of texts with the same hash; of a large group, every text with the first only."""
    order = np.argsort(band_N, kind="stable")
    ends = np.flatnonzero(np.diff(band_N[order], append=~band_N[order[-1:]]) != 0) + 1
    for group in np.split(order, ends[:-1]) if len(order) else ():
        members = group.tolist()
        firsts = members if len(members) <= LARGEST_GROUP else members[:1]
        yield from ((i, j) for i in firsts for j in members if i < j)
