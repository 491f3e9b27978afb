"""Measures during training, on groups that never change: each query with all its passages.

Queries whose passages differ in relevance are ranked. Where labels are graded, or most queries cannot be ranked (a
passage each, say), all pairs together are measured as well: Spearman's correlation of score and relevance, and AUC.
All ranks score their share of the groups; the measures are computed over all of them on every rank.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from accelerate.utils import gather_object

from sharprank.metrics.pairs import pair_measures, spearman
from sharprank.metrics.ranking import group_measures
from sharprank.models.pair_text import PairTokenizer
from sharprank.models.scoring import plan_of, score_batch
from sharprank.records import Group
from sharprank.training.engines import Engine

MEASURES = ("nDCG@10", "MRR@10", "MAP", "Hit@1")
POOLED = ("Spearman", "AUC")

_FINE = 1000
"""Steps between relevance 0 and 1 where it is graded: judgements are whole numbers to ir-measures."""


def measures_of(groups: Sequence[Group]) -> tuple[str, ...]:
    """What can be measured on these groups, the most telling measure first."""
    ranked = sum(len(set(group.relevance or ())) > 1 for group in groups)
    graded = len({value for group in groups for value in group.relevance or ()}) > 2
    if 2 * ranked < len(groups):
        return (*POOLED, *(MEASURES if ranked else ()))
    return (*MEASURES, *(POOLED if graded else ()))


def gains_of(groups: Sequence[Group]) -> list[np.ndarray]:
    """Relevance as whole numbers above the lowest one of these groups, int64 each."""
    values = {value for group in groups for value in group.relevance or ()}
    low, steps = min(values), 1 if values <= {0.0, 1.0} else _FINE
    return [np.rint((np.asarray(group.relevance) - low) * steps).astype(np.int64) for group in groups]


class RankingEvaluation:
    """Fixed groups, tokenised once.

    Args:
        groups: every one has relevance.
        budget: tokens of one forward pass.
        rank, world_size: which share of the groups this process scores.

    Attributes:
        measures: names of what is measured, the one that decides on the best checkpoint first.
        scores: of every group's passages, in the order of the groups, as the last `run` found them.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        pair_tokenizer: PairTokenizer,
        *,
        budget: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.budget = budget
        self.measures = measures_of(groups)
        self.groups, self.gains = groups, gains_of(groups)
        self.scores: list[np.ndarray] = []
        self.numbers = range(rank, len(groups), world_size)
        mine = groups[rank::world_size]
        self.sequences = pair_tokenizer.encode([(group.query, passage) for group in mine for passage in group.passages])
        # What a rank without groups scores where all ranks have to take part.
        self.spare = pair_tokenizer.encode([(groups[0].query, groups[0].passages[0])])

    def run(self, model: Any, *, engine: Engine, autocast: Callable[[], Any]) -> dict[str, float]:
        """Score the groups and average the measures over all ranks' rows; the model's mode is restored."""
        was_training = model.training
        model.eval()
        with engine.no_gradients(), autocast():
            scores = self._score(model, engine)
        model.train(was_training)
        seams = np.cumsum([len(self.gains[number]) for number in self.numbers])[:-1]
        mine = list(zip(self.numbers, np.split(scores, seams), strict=True)) if len(self.numbers) else []
        by_number: dict[int, np.ndarray] = dict(gather_object(mine))
        self.scores = [by_number[number] for number in range(len(self.groups))]
        return self._measure()

    def _measure(self) -> dict[str, float]:
        """Values of `measures` over all ranks' groups."""
        groups = list(zip(self.scores, self.gains, strict=True))
        found: dict[str, float] = {}
        if MEASURES[0] in self.measures:
            found |= group_measures([group for group in groups if len(set(group[1])) > 1], MEASURES)
        if POOLED[0] in self.measures:
            scores, gains = (np.concatenate(parts) for parts in zip(*groups, strict=True))
            found["Spearman"] = spearman(gains, scores)
            found["AUC"] = pair_measures(gains, scores)["auc"]
        return {name: found[name] for name in self.measures}

    def _score(self, model: Any, engine: Engine) -> np.ndarray:
        sequences = self.sequences or self.spare
        scores = np.empty(len(sequences), dtype=np.float32)
        config = engine.accelerator.unwrap_model(model).config
        plan = plan_of(config, sequences, budget=self.budget)
        missing = engine.most(len(plan)) - len(plan)
        for indices in [*plan, *[plan[0]] * missing]:
            scores[indices] = score_batch(model, [sequences[i] for i in indices], config=config, device=engine.device)
        return scores[: len(self.sequences)]
