"""A collapsed model is reported while it trains; a healthy or a fresh one is not."""

from __future__ import annotations

import numpy as np
import torch

from sharprank.models.batches import TokenBatch
from sharprank.training.collapse import PATIENCE_STEPS, WINDOW, CollapseWatch
from sharprank.training.groups import GroupBatch


def batch(lengths=(4, 3)) -> GroupBatch:
    pairs = sum(lengths)
    tokens = TokenBatch(np.zeros(pairs, np.int64), np.zeros(pairs, np.int64), (1,) * pairs)
    return GroupBatch(tokens, tuple(lengths), {"relevance": np.zeros(pairs, np.float32)})


def watch_with(scores: torch.Tensor) -> CollapseWatch:
    watch = CollapseWatch()
    for _ in range(WINDOW):
        watch.see(scores, batch())
    return watch


def test_equal_scores_after_the_first_steps_are_reported_with_the_loss_of_guessing():
    verdict = watch_with(torch.full((7,), 2.8613)).verdict(PATIENCE_STEPS + 1)
    assert verdict is not None
    assert "scores all passages of a query alike" in verdict
    assert "1.242" in verdict  # (ln 4 + ln 3) / 2


def test_a_fresh_head_is_given_time():
    assert watch_with(torch.full((7,), 0.1)).verdict(PATIENCE_STEPS - 1) is None


def test_a_model_that_tells_passages_apart_is_not_reported():
    assert watch_with(torch.tensor([2.0, 0.1, -1.0, 0.3, 1.0, 0.0, -0.5])).verdict(1000) is None


def test_one_healthy_batch_in_the_window_is_enough_to_stay_silent():
    watch = watch_with(torch.full((7,), 1.0))
    watch.see(torch.arange(7.0), batch())
    assert watch.verdict(1000) is None


def test_it_is_said_once_a_window(capsys):
    watch = watch_with(torch.full((7,), 1.0))
    watch.report(watch.verdict(1000) or "")
    assert "warning: step 1000" in capsys.readouterr().err
    assert watch.verdict(1001) is None
