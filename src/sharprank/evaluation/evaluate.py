"""The evaluation stage: check everything, read the data, score with each model, measure, compare, write.

The one function other stages and commands call is `evaluate`. It prints notes and warnings to stderr through
`progress.say`; printing the result is the command's business.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from sharprank.evaluation.collection import collection_folder, read_collection_task
from sharprank.evaluation.config import EvaluationConfig, model_names
from sharprank.evaluation.contrast import depth_effect
from sharprank.evaluation.fusion import first_stage_weights, fused
from sharprank.evaluation.outputs import check_inputs, check_outputs, check_run_ids, write_outputs
from sharprank.evaluation.rerank import Scorer, labelled_scores, score_candidates, with_tails
from sharprank.evaluation.result import EvaluationResult, ModelResult
from sharprank.evaluation.rows import read_row_task
from sharprank.evaluation.scorers import describe_hardware, prepare_scorer
from sharprank.evaluation.task import RankingTask
from sharprank.formats.calibration import read_calibration
from sharprank.metrics.calibration import Calibration, measures_at
from sharprank.metrics.chance import chance_levels
from sharprank.metrics.compare import compare, correct_for_several, warning
from sharprank.metrics.pairs import pair_measures, sigmoid, why_undefined
from sharprank.metrics.ranking import DEFAULT_MEASURES, PAIR_ACCURACY, PerQuery, average, measure_run
from sharprank.models.minilm import weights_folder
from sharprank.progress import say
from sharprank.records import Run

DEPTHS = (5, 10, 20, 50, 100, 200, 500)

Prepare = Callable[[str, EvaluationConfig], Callable[[], Scorer]]
"""(model, config) -> what loads it; raises UserError if it cannot be loaded."""


def evaluate(config: EvaluationConfig, *, prepare: Prepare = prepare_scorer) -> EvaluationResult:
    """Measure every model on the data, and write what the config asks for.

    Args:
        config: the flags.
        prepare: how a model's name becomes a scorer.

    Raises:
        UserError: anything the user can fix; all of it but a model's own scores before any model is loaded.
    """
    config.check()
    check_outputs(config)
    weights, calibrations = first_stage_weights(config), _known_calibrations(config)
    loaders = [prepare(model, config) for model in config.model_name_or_path]
    task = read_task(config)
    check_run_ids(config, task)
    check_inputs(config, task)
    for note in task.notes:
        say(f"note: {note}")
    measures = tuple(dict.fromkeys(config.measures or _default_measures(task)))
    first_stage = measure_run(task.qrels, task.first_stage, measures) if task.first_stage is not None else None
    chance = average(chance_levels(task.qrels, task.candidates, measures, tails=task.tails, seed=config.seed))
    names = model_names(config.model_name_or_path)
    models = [
        _fused(_measured(config, task, load(), measures, name=name, path=path, known=calibrations), task, weight)
        for load, name, path, weight in zip(loaders, names, config.model_name_or_path, weights, strict=True)
    ]
    result = EvaluationResult(
        title=task.title,
        measures=measures,
        chance=chance,
        models=_compared(models, first_stage, seed=config.seed),
        first_stage_name=task.first_stage_name,
        first_stage=first_stage,
        hardware=describe_hardware(config) if config.num_timed else "",
        counts=task.counts,
        notes=task.notes,
        data_hash=task.judgements_hash,
    )
    _warn(result)
    write_outputs(config, result, task)
    return result


def read_task(config: EvaluationConfig) -> RankingTask:
    """The data as a ranking task: a collection if its folder looks like one, rows otherwise."""
    folder = collection_folder(config)
    return read_row_task(config) if folder is None else read_collection_task(config, folder)


def _known_calibrations(config: EvaluationConfig) -> dict[str, Calibration | None]:
    """Of each model whose weights are here; those of the hub may come with loading, which shows what fits them."""
    folders = {path: weights_folder(path) for path in config.model_name_or_path}
    here = {path: folder for path, folder in folders.items() if folder and any(folder.glob("*.safetensors"))}
    return {path: read_calibration(folder, file=config.calibration_of(path)) for path, folder in here.items()}


def _measured(
    config: EvaluationConfig,
    task: RankingTask,
    scorer: Scorer,
    measures: Sequence[str],
    *,
    name: str,
    path: str,
    known: Mapping[str, Calibration | None],
) -> ModelResult:
    if path in known:
        calibration = known[path]
    else:
        calibration = read_calibration(weights_folder(path), file=config.calibration_of(path))
    model = evaluate_model(task, scorer, measures, name=name, path=path, threshold=config.threshold)
    return replace(
        model,
        calibration=calibration,
        at_fitted_threshold=_at_fitted_threshold(task, model.run, calibration),
        latencies=time_queries(task, scorer, config.num_timed),
    )


def _fused(model: ModelResult, task: RankingTask, weight: float | None) -> ModelResult:
    """The result with the first stage's scores added, where a weight was asked for."""
    if weight is None:
        return model
    together = fused(task, model, weight=weight)
    return replace(together, depths=_by_depth(task, together.run, next(iter(together.per_query))))


def evaluate_model(
    task: RankingTask, scorer: Scorer, measures: Sequence[str], *, name: str, path: str, threshold: float = 0.5
) -> ModelResult:
    """Score the candidates and measure the re-ranked run.

    Args:
        task: what is to be ranked.
        scorer: the model.
        measures: names.
        name, path: the model's, for tables.
        threshold: a pair is positive if its probability is greater.
    """
    start = time.perf_counter()
    scores = score_candidates(task, scorer, progress=f"scoring {name}")
    seconds = time.perf_counter() - start
    _warn_of_constant_scores(name, scores)
    pairs, why_no_auc = _pair_measures(task, scores, threshold)
    run = with_tails(scores, task)
    return ModelResult(
        name=name,
        path=path,
        per_query=measure_run(task.qrels, run, measures),
        run=run,
        scores=scores,
        num_pairs=task.num_pairs,
        seconds=seconds,
        pairs=pairs,
        why_no_auc=why_no_auc,
        mean_scores=_mean_scores(task, scores),
        depths=_by_depth(task, run, measures[0]),
    )


def time_queries(task: RankingTask, scorer: Scorer, num_queries: int) -> list[float]:
    """Seconds for each of so many queries, scored alone as a user waits for it; spread evenly over all of them.

    The scorer has to be warm: it has scored something before.
    """
    asked = [query_id for query_id, ids in task.candidates.items() if ids]
    num_timed = min(num_queries, len(asked))
    seconds = []
    for query_id in [asked[place * len(asked) // num_timed] for place in range(num_timed)]:
        pairs = [(task.queries[query_id], task.passages[passage_id]) for passage_id in task.candidates[query_id]]
        start = time.perf_counter()
        scorer.score(pairs)
        seconds.append(time.perf_counter() - start)
    return seconds


def _pair_measures(task: RankingTask, scores: Run, threshold: float) -> tuple[dict[str, float] | None, str | None]:
    if task.pair_labels is None:
        return None, None
    labels, values = labelled_scores(task.pair_labels, scores)
    return pair_measures(labels, sigmoid(values), threshold=threshold, scores=values), why_undefined(labels)


def _at_fitted_threshold(task: RankingTask, scores: Run, calibration: Calibration | None) -> dict[str, float] | None:
    """Precision, recall and F1 by the model's calibration, if there is one."""
    if calibration is None or task.pair_labels is None:
        return None
    labels, values = labelled_scores(task.pair_labels, scores)
    return measures_at(labels, calibration.probabilities(values), calibration.threshold)


def _by_depth(task: RankingTask, run: Run, measure: str) -> dict[int, float]:
    """The first measure if fewer passages had been re-ranked: how deep must one go?"""
    if task.first_stage is None:
        return {}
    deepest = max((len(ids) for ids in task.candidates.values()), default=0)
    return depth_effect(
        task.first_stage, run, task.qrels, measure, depths=[*(d for d in DEPTHS if d < deepest), deepest]
    )


def _mean_scores(task: RankingTask, scores: Run) -> dict[str, float] | None:
    """Mean raw score of the positive and of the negative pairs; nan where there is none."""
    if task.pair_labels is None:
        return None
    labels, values = labelled_scores(task.pair_labels, scores)
    kinds = {"mean_positive_score": values[labels > 0], "mean_negative_score": values[labels <= 0]}
    return {name: float(own.mean()) if own.size else float("nan") for name, own in kinds.items()}


def _default_measures(task: RankingTask) -> tuple[str, ...]:
    return DEFAULT_MEASURES if task.first_stage is not None else (*DEFAULT_MEASURES, PAIR_ACCURACY)


def _compared(models: list[ModelResult], first_stage: PerQuery | None, *, seed: int) -> list[ModelResult]:
    if first_stage is None:
        return models
    comparisons = correct_for_several([compare(first_stage, model.per_query, seed=seed) for model in models])
    return [replace(model, comparisons=own) for model, own in zip(models, comparisons, strict=True)]


def _warn_of_constant_scores(name: str, scores: Run) -> None:
    several = [own for own in scores.values() if len(own) > 1]
    constant = sum(len(set(own.values())) == 1 for own in several)
    if constant:
        say(
            f"WARNING: {name} gives all passages the same score for {constant:,} of {len(several):,} queries; "
            "ties count against it"
        )


def _warn(result: EvaluationResult) -> None:
    for model in result.models:
        sentence = warning(model.name, result.first_stage_name, model.comparisons)
        if sentence:
            say(sentence)
