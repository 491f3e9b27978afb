"""From scores to orders: the best first, ties decided the same way everywhere, a re-ranked head before its tail."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np


def best_first(scores: Mapping[str, float]) -> list[str]:
    """Passage ids by falling score, equal scores by id.

    >>> best_first({"b": 1.0, "a": 1.0, "c": 2.0})
    ['c', 'a', 'b']
    """
    return sorted(scores, key=lambda passage_id: (-scores[passage_id], passage_id))


def same_order(scores: Mapping[str, float], others: Mapping[str, float]) -> bool:
    """Whether both rank these passages alike, ties included.

    Args:
        scores, others: of the same passages.

    >>> same_order({"a": 1.0, "b": 0.5}, {"b": -3.0, "a": 9.0}), same_order({"a": 1.0, "b": 0.5}, {"a": 1.0, "b": 1.0})
    (True, False)
    """
    ours = np.array(list(scores.values()))
    theirs = np.array([others[passage_id] for passage_id in scores])
    return np.array_equal(_places(ours), _places(theirs))


def _places(values: np.ndarray) -> np.ndarray:
    """[N] place of each value among the different ones, the lowest first."""
    return np.unique(values, return_inverse=True)[1]


def with_tail(head: Mapping[str, float], tail: Sequence[str], first_scores: Mapping[str, float]) -> dict[str, float]:
    """A query's re-ranked scores, and behind them the passages beyond the re-ranked depth in their old order.

    The tail gets whole numbers below the lowest re-ranked score, one step for each different first-stage score.

    >>> with_tail({"a": 0.5, "b": -1.5}, ["c", "d", "e"], {"c": 7.0, "d": 6.0, "e": 6.0})
    {'a': 0.5, 'b': -1.5, 'c': -3.0, 'd': -4.0, 'e': -4.0}
    """
    scores = dict(head)
    level, before = float(math.floor(min(head.values(), default=0.0))), None
    for passage_id in tail:
        if first_scores[passage_id] != before:
            level, before = level - 1.0, first_scores[passage_id]
        scores[passage_id] = level
    return scores
