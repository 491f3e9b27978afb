"""Losses of each pair on its own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from sharprank.losses.groups import RankingLoss


def bce(scores: torch.Tensor, group_lengths: Sequence[int], relevance: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy on the sigmoid of each score, summed over pairs.

    Args:
        scores: [P] raw scores.
        relevance: [P] in 0..1.

    >>> bce(torch.tensor([0.0, 0.0]), [2], torch.tensor([1.0, 0.0])).item()  # 2 ln 2
    1.3862943649291992
    """
    return F.binary_cross_entropy_with_logits(scores.float(), relevance.float(), reduction="sum")


BCE = RankingLoss("bce", bce, "pair")
