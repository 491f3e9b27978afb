"""Measures over pairs judged one by one: precision, recall, F1, AUC, rank correlation, share of right orders.

Takes labels and numbers; refuses to know models, texts and thresholds' origin. A pair is called positive if and
only if its probability is greater than the threshold, so 0.5 itself is negative.

Shapes: P pairs; A relevant and B non-relevant passages of one query.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

ArrayLike = Sequence[float] | np.ndarray


def sigmoid(scores: ArrayLike) -> np.ndarray:
    """Probabilities of raw scores, float64, without overflow.

    >>> sigmoid([0.0, 1000.0, -1000.0]).tolist()
    [0.5, 1.0, 0.0]
    """
    values = np.asarray(scores, dtype=np.float64)
    small = np.exp(-np.abs(values))
    return np.where(values >= 0, 1.0, small) / (1.0 + small)


def pair_measures(
    labels: ArrayLike, probabilities: ArrayLike, *, threshold: float = 0.5, scores: ArrayLike | None = None
) -> dict[str, float]:
    """Precision, recall, F1 and AUC over all pairs at once, with scikit-learn's values for the empty cases.

    Nothing called positive: precision 0. No positive there: recall 0. One class only: AUC is nan
    (`why_undefined` says which).

    Args:
        labels: [P], positive where greater than 0.
        probabilities: [P].
        threshold: a pair is called positive if its probability is greater.
        scores: [P] raw scores, which order the pairs for AUC: of large ones every probability is 1. Default: the
            probabilities.

    >>> pair_measures([1, 1, 0, 0], [0.9, 0.5, 0.6, 0.1])
    {'precision': 0.5, 'recall': 0.5, 'f1': 0.5, 'auc': 0.75}
    """
    positive, values = _checked(labels, probabilities)
    called = values > threshold
    hits = int((called & positive).sum())
    num_called, num_positive = int(called.sum()), int(positive.sum())
    return {
        "precision": hits / num_called if num_called else 0.0,
        "recall": hits / num_positive if num_positive else 0.0,
        "f1": 2 * hits / (num_called + num_positive) if num_called + num_positive else 0.0,
        "auc": _auc(positive, values if scores is None else _checked(labels, scores)[1]),
    }


def spearman(labels: ArrayLike, scores: ArrayLike) -> float:
    """Spearman's rank correlation of two lists of numbers [P], equal ones sharing their mean rank; nan for a constant.

    >>> spearman([0, 1, 2], [0.1, 0.9, 0.5])
    0.5
    """
    left, right = _mean_ranks(np.asarray(labels)), _mean_ranks(np.asarray(scores, dtype=np.float64))
    left, right = left - left.mean(), right - right.mean()
    spread = math.sqrt(float((left**2).sum() * (right**2).sum()))
    return float((left * right).sum()) / spread if spread else float("nan")


def _mean_ranks(values: np.ndarray) -> np.ndarray:
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts - 1) / 2)[which]


def why_undefined(labels: ArrayLike) -> str | None:
    """Why there is no AUC for these labels, or None if there is one."""
    positive = np.asarray(labels) > 0
    if positive.any() and not positive.all():
        return None
    return f"all {len(positive)} pairs are {'positive' if positive.any() else 'negative'}: AUC needs both kinds"


def pair_accuracy(pos_scores: ArrayLike, neg_scores: ArrayLike) -> float:
    """Share of (relevant, non-relevant) pairs in which the relevant one scores higher; a tie counts one half.

    Args:
        pos_scores: [A].
        neg_scores: [B].

    >>> pair_accuracy([2.0, 0.0], [0.0, -1.0])
    0.875
    """
    positives, negatives = np.asarray(pos_scores, dtype=np.float64), np.asarray(neg_scores, dtype=np.float64)
    if not positives.size or not negatives.size:
        return float("nan")
    negatives = np.sort(negatives)
    below = np.searchsorted(negatives, positives, side="left")
    not_above = np.searchsorted(negatives, positives, side="right")
    return float((below + not_above).sum() / (2 * positives.size * negatives.size))


def _auc(positive: np.ndarray, values: np.ndarray) -> float:
    return pair_accuracy(values[positive], values[~positive])


def _checked(labels: ArrayLike, probabilities: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    positive, values = np.asarray(labels) > 0, np.asarray(probabilities, dtype=np.float64)
    if positive.shape != values.shape or positive.ndim != 1:
        raise ValueError(f"labels {positive.shape} and probabilities {values.shape} must be two lists of one length")
    if np.isnan(values).any():
        raise ValueError(f"probability {int(np.isnan(values).argmax())} is not a number")
    return positive, values
