"""From raw scores to probabilities that mean something, and the thresholds that follow from them.

A listwise loss does not fix the zero of the scores, so their sigmoid is not a probability; a temperature and a bias,
fitted on judged pairs that were not trained on, make it one. Knows no files and no models.

Shapes: P pairs, K knots.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sharprank.metrics.pairs import ArrayLike, pair_measures, sigmoid

NUM_BINS = 10
_MAX_STEPS = 100

Predict = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Calibration:
    """probability = sigmoid(score / temperature + bias).

    Attributes:
        threshold: a pair is called relevant if its probability is greater.
    """

    temperature: float
    bias: float
    threshold: float = 0.5

    def probabilities(self, scores: ArrayLike) -> np.ndarray:
        """[P] probabilities; their order is that of the scores."""
        return sigmoid(np.asarray(scores, dtype=np.float64) / self.temperature + self.bias)


@dataclass(frozen=True)
class Bin:
    """One point of a reliability curve: pairs whose probability lies in (low, high]."""

    low: float
    high: float
    num_pairs: int
    mean_probability: float
    share_positive: float


def fit_temperature_and_bias(labels: ArrayLike, scores: ArrayLike) -> Calibration:
    """The temperature and bias of least log loss, by Newton's method.

    Targets are smoothed as by Platt (1999), so that scores which separate the labels do not end in an infinite
    slope. A negative temperature means that higher scores are less relevant.

    Raises:
        ValueError: one kind of label only, or scores that are all alike.
    """
    positive, values = _checked(labels, scores)
    mean, spread = values.mean(), values.std()
    if spread == 0:
        raise ValueError(f"all {len(values)} scores are {mean}: nothing can be told from them")
    num_positive = positive.sum()
    targets = np.where(positive, (num_positive + 1) / (num_positive + 2), 1 / (len(positive) - num_positive + 2))
    slope, offset = _newton(targets, (values - mean) / spread)
    return Calibration(temperature=float(spread / slope), bias=float(offset - slope * mean / spread))


def _newton(targets: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """(slope, offset) of least log loss, steps halved where they would not help."""
    features = np.stack([values, np.ones_like(values)], axis=1)
    weights = np.array([1.0, 0.0])
    loss = _log_loss(targets, features @ weights)
    for _ in range(_MAX_STEPS):
        probabilities = sigmoid(features @ weights)
        gradient = features.T @ (probabilities - targets)
        curvature = (features * (probabilities * (1 - probabilities))[:, None]).T @ features
        step = np.linalg.solve(curvature + 1e-10 * np.eye(2), gradient)
        while (new_loss := _log_loss(targets, features @ (weights - step))) > loss and np.abs(step).max() > 1e-12:
            step = step / 2
        weights = weights - step
        if loss - new_loss < 1e-12 * max(1.0, loss):
            break
        loss = new_loss
    return float(weights[0]), float(weights[1])


def _log_loss(targets: np.ndarray, logits: np.ndarray) -> float:
    return float((np.logaddexp(0.0, logits) - targets * logits).sum())


def fit_isotonic(labels: ArrayLike, scores: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """The rising curve of least squared error (pool adjacent violators), as knots to interpolate between.

    Returns:
        scores [K] and the share of positives at each [K].

    >>> [knots.tolist() for knots in fit_isotonic([0, 1, 0, 1], [1.0, 2.0, 3.0, 4.0])]
    [[1.0, 2.0, 3.0, 4.0], [0.0, 0.5, 0.5, 1.0]]
    """
    positive, values = _checked(labels, scores)
    distinct, places = np.unique(values, return_inverse=True)
    counts = np.bincount(places).astype(np.float64)
    sums = np.bincount(places, weights=positive.astype(np.float64))
    blocks: list[list[float]] = []  # [positives, pairs, first, last]
    for index, (total, count) in enumerate(zip(sums, counts, strict=True)):
        blocks.append([total, count, index, index])
        while len(blocks) > 1 and blocks[-2][0] * blocks[-1][1] >= blocks[-1][0] * blocks[-2][1]:
            total, count, _, last = blocks.pop()
            blocks[-1] = [blocks[-1][0] + total, blocks[-1][1] + count, blocks[-1][2], last]
    knots = [(distinct[int(end)], block[0] / block[1]) for block in blocks for end in dict.fromkeys(block[2:])]
    return np.array([x for x, _ in knots]), np.array([y for _, y in knots])


def reliability(labels: ArrayLike, probabilities: ArrayLike, *, num_bins: int = NUM_BINS) -> list[Bin]:
    """The bins that hold pairs, of equal width between 0 and 1."""
    positive, values = np.asarray(labels) > 0, np.asarray(probabilities, dtype=np.float64)
    places = np.clip(np.ceil(values * num_bins).astype(int) - 1, 0, num_bins - 1)
    return [
        Bin(
            low=place / num_bins,
            high=(place + 1) / num_bins,
            num_pairs=int((places == place).sum()),
            mean_probability=float(values[places == place].mean()),
            share_positive=float(positive[places == place].mean()),
        )
        for place in np.unique(places).tolist()
    ]


def expected_calibration_error(labels: ArrayLike, probabilities: ArrayLike, *, num_bins: int = NUM_BINS) -> float:
    """Mean distance between probability and share of positives, over the bins, weighted by their pairs (ECE).

    >>> round(expected_calibration_error([1, 0, 1, 1], [0.75, 0.75, 0.75, 0.75]), 12)
    0.0
    """
    bins = reliability(labels, probabilities, num_bins=num_bins)
    total = sum(one.num_pairs for one in bins)
    return sum(one.num_pairs * abs(one.mean_probability - one.share_positive) for one in bins) / total


def held_out_probabilities(
    labels: ArrayLike,
    scores: ArrayLike,
    groups: Sequence[str],
    fit: Callable[[np.ndarray, np.ndarray], Predict],
    *,
    num_folds: int = 5,
    seed: int = 0,
) -> np.ndarray | None:
    """[P] probabilities from fits that never saw the pair's own group (its query); None with too few groups.

    Args:
        groups: [P] the query of each pair.
        fit: (labels, scores) -> a function from scores to probabilities.
    """
    positive, values = _checked(labels, scores)
    names = sorted(set(groups))
    order = np.random.default_rng(seed).permutation(len(names))
    fold_of = {names[index]: place % num_folds for place, index in enumerate(order.tolist())}
    folds = np.array([fold_of[group] for group in groups])
    found = np.empty(len(values))
    for fold in range(num_folds):
        inside, outside = folds == fold, folds != fold
        if not inside.any() or positive[outside].all() or not positive[outside].any() or not np.ptp(values[outside]):
            return None
        found[inside] = fit(positive[outside], values[outside])(values[inside])
    return found


# --- thresholds ----------------------------------------------------------------------------------------------------


def threshold_of_best_f1(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """The threshold of the highest F1; of several, the highest."""
    cuts, precision, recall = _curve(labels, probabilities)
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
    return float(cuts[int(f1.argmax())])


def threshold_for_precision(labels: ArrayLike, probabilities: ArrayLike, wanted: float) -> float | None:
    """The lowest threshold (most recall) with at least this precision; None where no threshold has it.

    >>> threshold_for_precision([1, 0, 1, 0], [0.9, 0.7, 0.6, 0.1], 0.6)
    0.35
    """
    cuts, precision, _ = _curve(labels, probabilities)
    reached = np.flatnonzero(precision >= wanted - 1e-12)
    return float(cuts[reached[-1]]) if reached.size else None


def threshold_for_recall(labels: ArrayLike, probabilities: ArrayLike, wanted: float) -> float | None:
    """The highest threshold (most precision) with at least this recall; None where even the lowest lacks it."""
    cuts, _, recall = _curve(labels, probabilities)
    reached = np.flatnonzero(recall >= wanted - 1e-12)
    return float(cuts[reached[0]]) if reached.size else None


def _curve(labels: ArrayLike, probabilities: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(thresholds, precision, recall), thresholds falling, each half-way between two neighbouring probabilities."""
    positive, values = _checked(labels, probabilities)
    order = np.argsort(-values, kind="stable")
    values, hits = values[order], np.cumsum(positive[order])
    last = np.append(np.flatnonzero(np.diff(values)), len(values) - 1)  # where a run of equal values ends
    below = np.append(values[last[:-1] + 1], 0.0)  # probabilities are above 0
    cuts = (values[last] + below) / 2
    return cuts, hits[last] / (last + 1), hits[last] / positive.sum()


def measures_at(labels: ArrayLike, probabilities: ArrayLike, threshold: float) -> dict[str, float]:
    """Precision, recall and F1 at a threshold, with the threshold itself."""
    found = pair_measures(labels, probabilities, threshold=threshold)
    return {"threshold": threshold, **{name: found[name] for name in ("precision", "recall", "f1")}}


def _checked(labels: ArrayLike, values: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    positive, numbers = np.asarray(labels) > 0, np.asarray(values, dtype=np.float64)
    if positive.shape != numbers.shape or positive.ndim != 1:
        raise ValueError(f"labels {positive.shape} and values {numbers.shape} must be two lists of one length")
    if not np.isfinite(numbers).all():
        raise ValueError("a value is not a finite number")
    if positive.all() or not positive.any():
        kind = "positive" if positive.any() else "negative"
        raise ValueError(f"all {len(positive)} pairs are {kind}: both kinds are needed")
    return positive, numbers
