"""A model's result fused with the first stage: the same candidates, both scores, one weight."""

from __future__ import annotations

from dataclasses import replace

from sharprank.evaluation.compare import compare
from sharprank.evaluation.rerank import with_tails
from sharprank.evaluation.result import ModelResult
from sharprank.evaluation.task import RankingTask
from sharprank.metrics.fusion import FusionFit, fit_fusion, fuse
from sharprank.metrics.ranking import measure_run
from sharprank.records import Run


def fit(task: RankingTask, model: ModelResult, *, measure: str) -> FusionFit:
    """The weight of the first stage that is best on this task's queries.

    Args:
        task: validation queries, with a first stage.
        model: its result on the same task.
    """
    return fit_fusion(task.qrels, task.first_stage or {}, _heads(task, model), measure=measure)


def fused(task: RankingTask, model: ModelResult, *, weight: float, seed: int = 0) -> ModelResult:
    """The model's result with the first stage's scores added, compared with the first stage.

    Args:
        task: must have a first stage.
        weight: of the first stage, 0 to 1.
        seed: of the paired tests.
    """
    run = with_tails(fuse(task.first_stage or {}, _heads(task, model), weight), task)
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


def _heads(task: RankingTask, model: ModelResult) -> Run:
    """The model's scores of the re-ranked candidates, without the tails behind them."""
    return {query_id: {p: model.run[query_id][p] for p in ids} for query_id, ids in task.candidates.items()}
