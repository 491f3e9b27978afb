"""Ranking measures during training, on groups that never change: each row's positives against its negatives.

All ranks score their share of the rows; the measures are computed over all of them on every rank.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from accelerate.utils import gather_object

from sharprank.metrics.ranking import group_measures
from sharprank.models.pair_text import PairTokenizer
from sharprank.models.scoring import plan_of, score_batch
from sharprank.records import TrainRow
from sharprank.training.engines import Engine

MEASURES = ("nDCG@10", "MRR@10", "MAP", "Hit@1")


class RankingEvaluation:
    """Fixed groups, tokenised once.

    Args:
        rows: every row needs a positive and a negative.
        budget: tokens of one forward pass.
        rank, world_size: which share of the rows this process scores.
    """

    def __init__(
        self,
        rows: Sequence[TrainRow],
        pair_tokenizer: PairTokenizer,
        *,
        budget: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.budget = budget
        mine = rows[rank::world_size]
        self.group_lengths = [len(row.positives) + len(row.negatives) for row in mine]
        self.relevance = [np.repeat([1, 0], [len(row.positives), len(row.negatives)]) for row in mine]
        self.sequences = pair_tokenizer.encode(
            [(row.query, passage) for row in mine for passage in (*row.positives, *row.negatives)]
        )
        # What a rank without rows scores where all ranks have to take part.
        self.spare = pair_tokenizer.encode([(rows[0].query, rows[0].positives[0])])

    def run(self, model: Any, *, engine: Engine, autocast: Callable[[], Any]) -> dict[str, float]:
        """Score the groups and average the measures over all ranks' rows; the model's mode is restored."""
        was_training = model.training
        model.eval()
        with engine.no_gradients(), autocast():
            scores = self._score(model, engine)
        model.train(was_training)
        groups = list(zip(np.split(scores, np.cumsum(self.group_lengths)[:-1]), self.relevance, strict=True))
        return group_measures(gather_object(groups) if self.group_lengths else gather_object([]), MEASURES)

    def _score(self, model: Any, engine: Engine) -> np.ndarray:
        sequences = self.sequences or self.spare
        scores = np.empty(len(sequences), dtype=np.float32)
        config = engine.accelerator.unwrap_model(model).config
        plan = plan_of(config, sequences, budget=self.budget)
        missing = engine.most(len(plan)) - len(plan)
        for indices in [*plan, *[plan[0]] * missing]:
            scores[indices] = score_batch(model, [sequences[i] for i in indices], config=config, device=engine.device)
        return scores[: len(self.sequences)]
