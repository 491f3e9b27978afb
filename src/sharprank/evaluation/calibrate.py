"""The calibration stage: score judged validation pairs, fit, say how good it is on held-out queries, store it.

What is stored lies in the model's folder, where `Reranker` and `sharprank rerank` find it, or in a file of its own,
which they take by name: the way for models of the hub.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sharprank.errors import UserError
from sharprank.evaluation.calibrate_config import CalibrateConfig
from sharprank.evaluation.collection import collection_folder, read_collection_task
from sharprank.evaluation.evaluate import Prepare
from sharprank.evaluation.rerank import labelled_scores, score_candidates
from sharprank.evaluation.rows import read_row_task
from sharprank.evaluation.scorers import prepare_scorer
from sharprank.evaluation.task import RankingTask
from sharprank.formats.calibration import CALIBRATION_FILE, calibration_content
from sharprank.formats.writers import check_writable, refuse_other_inputs, refuse_other_settings, write_json
from sharprank.metrics.calibration import (
    Bin,
    Calibration,
    Predict,
    expected_calibration_error,
    fit_isotonic,
    fit_temperature_and_bias,
    held_out_probabilities,
    measures_at,
    reliability,
    threshold_for_precision,
    threshold_for_recall,
    threshold_of_best_f1,
)
from sharprank.metrics.pairs import sigmoid
from sharprank.models.minilm import weights_folder
from sharprank.progress import say
from sharprank.provenance import describe_inputs, manifest
from sharprank.records import Run

FEW_POSITIVES = 20
WANTED = (0.8, 0.9, 0.95)
_NOT_IN_THE_RESULT = ("output_file", "overwrite", "output_format", "dry_run", "embedding_cache")


@dataclass(frozen=True, kw_only=True)
class CalibrationResult:
    """What was fitted, and how good it is.

    Attributes:
        title: the data.
        errors: {"sigmoid" | "temperature and bias" | "isotonic": ECE on queries the fit did not see}; None: too few.
        curves: reliability of the plain sigmoid, and of the calibrated probabilities (held out where possible).
        at: figures at 0.5 of the plain sigmoid, 0.5 calibrated, and the fitted threshold.
        thresholds: {"precision 0.9": figures, or None where it cannot be reached}.
        path: where it was stored; None if it was not.
    """

    title: str
    calibration: Calibration
    num_pairs: int
    num_positive: int
    num_queries: int
    errors: Mapping[str, float | None]
    curves: Mapping[str, Sequence[Bin]]
    at: Mapping[str, Mapping[str, float]]
    thresholds: Mapping[str, Mapping[str, float] | None]
    path: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            **asdict(self.calibration),
            "data": self.title,
            "num_pairs": self.num_pairs,
            "num_positive": self.num_positive,
            "num_queries": self.num_queries,
            "expected_calibration_error": dict(self.errors),
            "reliability": {name: [asdict(one) for one in bins] for name, bins in self.curves.items()},
            "at": {name: dict(figures) for name, figures in self.at.items()},
            "thresholds": {name: figures and dict(figures) for name, figures in self.thresholds.items()},
        }


def calibrate(config: CalibrateConfig, *, prepare: Prepare = prepare_scorer) -> CalibrationResult:
    """Fit and store a calibration.

    Raises:
        UserError: a model that is no folder and no file named, data without both kinds of pairs, scores that cannot be
            calibrated.
    """
    config.check()
    settings = {key: value for key, value in vars(config).items() if key not in _NOT_IN_THE_RESULT}
    place = _checked_place(config, settings)
    load = prepare(config.model_name_or_path, config.evaluation())
    task = _read(config)
    inputs = describe_inputs(task.input_paths)
    if config.output_file is not None and place is not None:
        refuse_other_inputs(place, inputs, manifest_path=place, overwrite=config.overwrite)
    scores = score_candidates(task, load(), progress="scoring")
    result = fit(task, scores, precision=config.precision, recall=config.recall, seed=config.seed)
    if place is None:
        return result
    about = manifest(command=["sharprank", "calibrate"], settings=settings, inputs=inputs)
    weights = weights_folder(config.model_name_or_path) or Path(config.model_name_or_path)
    write_json(place, {**calibration_content(result.calibration, weights), **result.as_json(), **about})
    return replace(result, path=str(place))


def _checked_place(config: CalibrateConfig, settings: Mapping[str, Any]) -> Path | None:
    """Where the calibration goes; the model's own is replaced, a file that was named only by the same settings."""
    place = config.place(CALIBRATION_FILE)
    if place is not None and config.output_file is None:
        try:
            check_writable(place, flag="the calibration")
        except UserError as error:
            raise UserError(error.problem, fix="name another place with --output_file") from error
    elif place is not None:
        check_writable(place)
        refuse_other_settings(place, settings, manifest_path=place, overwrite=config.overwrite)
    return place


def _read(config: CalibrateConfig) -> RankingTask:
    evaluation = config.evaluation()
    folder = collection_folder(evaluation)
    if folder is None:
        return read_row_task(evaluation, default_split="validation")
    if config.split is None:
        raise UserError(
            f"{config.data} is a collection: which judgements may be used to calibrate?",
            fix="name them with --split, and keep the test split for evaluation",
        )
    return read_collection_task(evaluation, folder)


def fit(
    task: RankingTask, scores: Run, *, precision: float | None = None, recall: float | None = None, seed: int = 0
) -> CalibrationResult:
    """Fit on all scored candidates of the judged queries; one without a judgement counts as not relevant.

    Raises:
        UserError: one kind of pair only, constant scores, scores that point the wrong way, an unreachable threshold.
    """
    judged = task.pair_labels if task.pair_labels is not None else task.qrels
    if task.pair_labels is None:
        say("note: candidates without a judgement count as not relevant; where judging was sparse, that is too hard")
    labels, values = labelled_scores(judged, scores)
    queries = [query_id for query_id in judged for _ in scores.get(query_id, {})]
    calibration = _fitted(labels, values)
    probabilities = calibration.probabilities(values)
    calibration = replace(calibration, threshold=_threshold(labels, probabilities, precision, recall))
    held_out = {
        name: held_out_probabilities(labels, values, queries, method, seed=seed) for name, method in _METHODS.items()
    }
    plain, calibrated = sigmoid(values), held_out["temperature and bias"]
    return CalibrationResult(
        title=task.title,
        calibration=calibration,
        num_pairs=len(labels),
        num_positive=int((labels > 0).sum()),
        num_queries=len(set(queries)),
        errors={"sigmoid": expected_calibration_error(labels, plain), **_errors(labels, held_out)},
        curves={
            "sigmoid": reliability(labels, plain),
            "calibrated": reliability(labels, probabilities if calibrated is None else calibrated),
        },
        at={
            "sigmoid at 0.5": measures_at(labels, plain, 0.5),
            "calibrated at 0.5": measures_at(labels, probabilities, 0.5),
            "fitted threshold": measures_at(labels, probabilities, calibration.threshold),
        },
        thresholds=_thresholds(labels, probabilities),
    )


def _fitted(labels: np.ndarray, values: np.ndarray) -> Calibration:
    try:
        calibration = fit_temperature_and_bias(labels, values)
    except ValueError as error:
        raise UserError(
            f"nothing to calibrate with: {error}", fix="use validation data with relevant and non-relevant passages"
        ) from error
    if calibration.temperature <= 0:
        raise UserError(
            "higher scores are not more relevant on these data; no temperature makes probabilities of them",
            fix="check that the labels are not swapped, and what `sharprank evaluate` says of the model",
        )
    num_positive = int((labels > 0).sum())
    if num_positive < FEW_POSITIVES:
        say(f"note: only {num_positive} relevant pairs; the calibration is rough")
    return calibration


def _temperature_and_bias(labels: np.ndarray, values: np.ndarray) -> Predict:
    return fit_temperature_and_bias(labels, values).probabilities


def _isotonic(labels: np.ndarray, values: np.ndarray) -> Predict:
    knots, shares = fit_isotonic(labels, values)
    return lambda scores: np.interp(scores, knots, shares)


_METHODS = {"temperature and bias": _temperature_and_bias, "isotonic": _isotonic}


def _errors(labels: np.ndarray, held_out: Mapping[str, np.ndarray | None]) -> dict[str, float | None]:
    return {
        name: None if probabilities is None else expected_calibration_error(labels, probabilities)
        for name, probabilities in held_out.items()
    }


def _threshold(labels: np.ndarray, probabilities: np.ndarray, precision: float | None, recall: float | None) -> float:
    if precision is None and recall is None:
        return threshold_of_best_f1(labels, probabilities)
    if recall is not None:
        found = threshold_for_recall(labels, probabilities, recall)
    else:
        found = threshold_for_precision(labels, probabilities, precision or 0.0)
    if found is None:
        raise UserError(f"no threshold reaches precision {precision} on these data", fix="ask for less")
    return found


def _thresholds(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, dict[str, float] | None]:
    found: dict[str, dict[str, float] | None] = {}
    for wanted in WANTED:
        for name, search in (("precision", threshold_for_precision), ("recall", threshold_for_recall)):
            threshold = search(labels, probabilities, wanted)
            found[f"{name} {wanted}"] = None if threshold is None else measures_at(labels, probabilities, threshold)
    return found
