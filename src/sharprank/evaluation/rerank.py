"""Candidates in, re-ranked run out: score every (query, candidate) pair, put the rest of the list behind.

Knows scorers only by their `score` method.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from sharprank.errors import UserError
from sharprank.evaluation.task import RankingTask
from sharprank.metrics.orders import with_tail
from sharprank.records import Qrels, Run


class Scorer(Protocol):
    """Anything that gives (query, passage) pairs raw scores, as `sharprank.models.scoring.PairScorer` does."""

    def score(self, pairs: Sequence[tuple[str, str]], *, progress: str | None = None) -> np.ndarray:
        """Raw scores [P], in input order."""
        ...


def score_candidates(task: RankingTask, scorer: Scorer, *, progress: str | None = None) -> Run:
    """The raw score of every candidate of every query.

    Args:
        task: what is to be ranked.
        scorer: the model.
        progress: a word for its progress bar.

    Raises:
        UserError: a score that is not a finite number, naming the query and the passage.
    """
    keys = [(query_id, passage_id) for query_id, ids in task.candidates.items() for passage_id in ids]
    pairs = [(task.queries[query_id], task.passages[passage_id]) for query_id, passage_id in keys]
    scores = np.asarray(scorer.score(pairs, progress=progress) if pairs else [], dtype=np.float64)
    if scores.shape != (len(pairs),):
        raise ValueError(f"the scorer gave scores of shape {scores.shape} for {len(pairs)} pairs")
    _refuse_nan(scores, keys, pairs)
    run: Run = {query_id: {} for query_id in task.candidates}
    for (query_id, passage_id), score in zip(keys, scores.tolist(), strict=True):
        run[query_id][passage_id] = score
    return run


def with_tails(run: Run, task: RankingTask) -> Run:
    """The run with each query's passages beyond the depth behind its re-ranked ones, ties among them kept."""
    first_stage = task.first_stage or {}
    return {
        query_id: with_tail(scores, task.tails.get(query_id, ()), first_stage.get(query_id, {}))
        for query_id, scores in run.items()
    }


def labelled_scores(labels: Qrels, scores: Run) -> tuple[np.ndarray, np.ndarray]:
    """Labels and raw scores of all scored pairs of the labelled queries, in one order; unlabelled pairs are 0."""
    keys = [(query_id, passage_id) for query_id in labels for passage_id in scores.get(query_id, {})]
    found = [max(0, labels[query_id].get(passage_id, 0)) for query_id, passage_id in keys]
    return np.array(found), np.array([scores[query_id][passage_id] for query_id, passage_id in keys])


def _refuse_nan(scores: np.ndarray, keys: Sequence[tuple[str, str]], pairs: Sequence[tuple[str, str]]) -> None:
    bad = np.flatnonzero(~np.isfinite(scores))
    if not bad.size:
        return
    query_id, passage_id = keys[bad[0]]
    query, passage = pairs[bad[0]]
    raise UserError(
        f"the model scores {bad.size} of {len(pairs)} pairs as {scores[bad[0]]}, first: query {query_id!r} "
        f"({query[:40]!r}), passage {passage_id!r} ({passage[:40]!r})",
        fix="try --dtype float32; if that does not help, the checkpoint itself is broken: train again",
    )
