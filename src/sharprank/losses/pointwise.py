"""Losses of each pair on its own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from sharprank.losses.groups import RankingLoss


def bce(
    scores: torch.Tensor, group_lengths: Sequence[int], relevance: torch.Tensor, *, pos_weight: float = 1.0
) -> torch.Tensor:
    """Binary cross-entropy on the sigmoid of each score, summed over pairs.

    The pointwise ranking of Nogueira and Cho ("Passage Re-ranking with BERT", arXiv 1901.04085).

    Args:
        scores: [P] raw scores.
        relevance: [P] in 0..1.
        pos_weight: how much the relevant part of each target counts beside the other part.

    >>> bce(torch.tensor([0.0, 0.0]), [2], torch.tensor([1.0, 0.0])).item()  # 2 ln 2
    1.3862943649291992
    """
    weight = torch.tensor(pos_weight, device=scores.device)
    return F.binary_cross_entropy_with_logits(scores.float(), relevance.float(), reduction="sum", pos_weight=weight)


def mse(scores: torch.Tensor, group_lengths: Sequence[int], relevance: torch.Tensor) -> torch.Tensor:
    """Squared distance of the sigmoid of each score from its relevance, summed over pairs.

    Regression on graded labels (Cossock and Zhang, "Subset Ranking Using Regression", COLT 2006), on probabilities.

    Args:
        scores: [P] raw scores.
        relevance: [P] in 0..1.

    >>> mse(torch.tensor([0.0, 0.0]), [2], torch.tensor([1.0, 0.75])).item()  # 0.5^2 + 0.25^2
    0.3125
    """
    return ((scores.float().sigmoid() - relevance.float()) ** 2).sum()


BCE = RankingLoss("bce", bce, "pair", "Nogueira and Cho, arXiv 1901.04085")
MSE = RankingLoss("mse", mse, "pair", "Cossock and Zhang, COLT 2006")
