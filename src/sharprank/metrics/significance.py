"""Is a difference real? Paired tests over queries; seeded, so that the same numbers give the same answer.

Knows nothing of measures: it takes one value a query for each of two systems.

Shapes: N queries, S samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

ArrayLike = Sequence[float] | np.ndarray

_ALL_SIGNS_UP_TO = 14
"""Differences up to which all 2^N sign patterns are tried instead of a sample of them."""

_CELLS_AT_ONCE = 2_000_000
_ROUNDING = 1e-12


def randomisation_test(a: ArrayLike, b: ArrayLike, *, samples: int = 10_000, seed: int = 0) -> float:
    """Two-sided p of the mean difference if the two systems were interchangeable on each query.

    The signs of the differences are flipped at random (Smucker, Allan and Carterette, CIKM 2007); with few
    differences all sign patterns are tried and p is exact. No difference anywhere: p is 1.

    Args:
        a: [N], one value a query.
        b: [N], the other system's value for the same queries.
        samples: sign patterns tried where there are too many to try all.
        seed: of the patterns drawn.

    >>> randomisation_test([1.0, 1.0, 1.0], [0.0, 0.0, 0.0])
    0.25
    """
    differences = _differences(a, b)
    differences = differences[np.abs(differences) > _ROUNDING]
    if not differences.size:
        return 1.0
    observed = abs(differences.sum()) - _ROUNDING * max(1.0, np.abs(differences).sum())
    exact = differences.size <= _ALL_SIGNS_UP_TO
    patterns = _all_signs(differences.size) if exact else _random_signs(differences.size, samples, seed)
    tried = as_extreme = 0
    for signs in patterns:
        tried += len(signs)
        as_extreme += int((np.abs(signs @ differences) >= observed).sum())
    return as_extreme / tried if exact else (as_extreme + 1) / (tried + 1)


def bootstrap_interval(
    differences: ArrayLike, *, level: float = 0.95, samples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Percentile interval of the mean difference over queries drawn with replacement.

    Args:
        differences: [N], one a query.
        level: share of the sampled means inside the interval.
        samples: means drawn.
        seed: of the drawing.
    """
    values = np.asarray(differences, dtype=np.float64)
    if not values.size:
        return float("nan"), float("nan")
    generator = np.random.default_rng(seed)
    means = [
        values[generator.integers(values.size, size=(rows, values.size))].mean(axis=1)
        for rows in _rows(samples, values.size)
    ]
    low, high = np.quantile(np.concatenate(means), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction of several p values, in the order given.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for step, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (len(p_values) - step) * p_values[index]))
        corrected[index] = highest
    return corrected


def _differences(a: ArrayLike, b: ArrayLike) -> np.ndarray:
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"paired values must be two lists of one length, not {first.shape} and {second.shape}")
    return first - second


def _all_signs(size: int) -> Iterator[np.ndarray]:
    bits = (np.arange(2**size)[:, None] >> np.arange(size)) & 1
    yield 1.0 - 2.0 * bits


def _random_signs(size: int, samples: int, seed: int) -> Iterator[np.ndarray]:
    generator = np.random.default_rng(seed)
    for rows in _rows(samples, size):
        yield 1.0 - 2.0 * generator.integers(2, size=(rows, size), dtype=np.int8)


def _rows(samples: int, size: int) -> Iterator[int]:
    """Cut S samples of N numbers into blocks that fit in memory."""
    block = max(1, _CELLS_AT_ONCE // size)
    for start in range(0, samples, block):
        yield min(block, samples - start)
