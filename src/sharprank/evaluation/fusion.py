"""A model's result fused with the first stage: the same candidates, both scores, one weight."""

from __future__ import annotations

from dataclasses import replace

from sharprank.errors import UserError
from sharprank.evaluation.collection import collection_folder
from sharprank.evaluation.config import EvaluationConfig
from sharprank.evaluation.rerank import with_tails
from sharprank.evaluation.result import ModelResult
from sharprank.evaluation.task import RankingTask
from sharprank.formats.fusion import weight_beside
from sharprank.metrics.compare import compare
from sharprank.metrics.fusion import fuse
from sharprank.metrics.ranking import measure_run
from sharprank.metrics.verdict import Verdict, judge
from sharprank.models.minilm import weights_folder


def first_stage_weights(config: EvaluationConfig) -> list[float | None]:
    """What the first stage counts beside each model: as asked, or as stored beside it; None: nothing was asked.

    Raises:
        UserError: there is no first stage, or nothing is stored.
    """
    asked = config.first_stage_weight
    if asked is None:
        return [None] * len(config.model_name_or_path)
    if collection_folder(config) is None:
        raise UserError(
            f"--first_stage_weight {asked}, but {config.data} are rows, which no first stage ranks",
            fix="name a collection folder, with --run or --first_stage",
        )
    return [weight_beside(model, weights_folder(model), asked=asked) for model in config.model_name_or_path]


def verdict_on(task: RankingTask, model: ModelResult, *, seed: int = 0) -> Verdict:
    """Which of first stage, reranker and both together is best on this task's queries, and by which weight.

    Args:
        task: validation queries, with a first stage.
        model: its result on the same task.
        seed: of the paired tests.
    """
    return judge(task.qrels, task.first_stage or {}, model.scores, measures=tuple(model.per_query), seed=seed)


def fused(task: RankingTask, model: ModelResult, *, weight: float, seed: int = 0) -> ModelResult:
    """The model's result with the first stage's scores added, compared with the first stage.

    Args:
        task: must have a first stage.
        weight: of the first stage, 0 to 1.
        seed: of the paired tests.
    """
    run = with_tails(fuse(task.first_stage or {}, model.scores, weight), task)
    measures = list(model.per_query)
    per_query = measure_run(task.qrels, run, measures)
    first = measure_run(task.qrels, task.first_stage or {}, measures)
    return replace(
        model,
        name=f"{model.name} + {weight:g} first stage",
        run=run,
        per_query=per_query,
        comparisons=compare(first, per_query, seed=seed),
    )
