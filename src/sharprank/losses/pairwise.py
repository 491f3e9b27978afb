"""Losses over the comparisons of a group: pairs of its passages of which one is more relevant.

Shapes: P pairs, G groups, K passages of the longest group; [G, K, K] is (more relevant, less relevant).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F

from sharprank.losses.groups import RELEVANCE, TEACHER_SCORES, RankingLoss, pad_groups, real_places

MU = 10.0
"""Share of NDCG-Loss2 beside LambdaRank's weights, from the paper's section 5.3."""


def ranknet(scores: torch.Tensor, group_lengths: Sequence[int], relevance: torch.Tensor) -> torch.Tensor:
    """-log sigmoid(s_i - s_j) of every comparison, i the more relevant; summed over comparisons.

    Burges et al., "Learning to Rank using Gradient Descent", ICML 2005.

    Args:
        scores: [P] raw scores.
        relevance: [P].

    >>> ranknet(torch.tensor([0.0, 0.0, 0.0]), [3], torch.tensor([1.0, 0.0, 0.0])).item()  # 2 ln 2
    1.3862943649291992
    """
    ahead = _differences(scores, group_lengths)
    return F.softplus(-ahead).masked_fill(~_comparisons(relevance, group_lengths), 0.0).sum()


def margin_mse(
    scores: torch.Tensor, group_lengths: Sequence[int], relevance: torch.Tensor, teacher_scores: torch.Tensor
) -> torch.Tensor:
    """Squared distance between the student's and the teacher's margin of every comparison, summed over comparisons.

    Hofstätter et al., "Improving Efficient Neural Ranking Models with Cross-Architecture Knowledge Distillation",
    arXiv 2010.02666.

    Args:
        scores: [P] raw scores.
        relevance: [P]; says which passages are compared.
        teacher_scores: [P] raw scores of the teacher.

    >>> margin_mse(torch.tensor([3.0, 1.0]), [2], torch.tensor([1.0, 0.0]), torch.tensor([9.0, 4.0])).item()
    9.0
    """
    off = _differences(scores, group_lengths) - _differences(teacher_scores, group_lengths)
    return (off**2).masked_fill(~_comparisons(relevance, group_lengths), 0.0).sum()


def lambda_loss(scores: torch.Tensor, group_lengths: Sequence[int], relevance: torch.Tensor) -> torch.Tensor:
    """Every comparison of RankNet, weighted by what swapping its two passages does to NDCG; summed over groups.

    NDCG-Loss2++ of Wang et al., "The LambdaLoss Framework for Ranking Metric Optimization", CIKM 2018: an upper bound
    on 1 - NDCG of the group, plus LambdaRank's weights. Gains are 2^relevance - 1, logarithms to base 2 as there.

    Args:
        scores: [P] raw scores; their order decides the weights, which are constants for the gradient.
        relevance: [P] in 0..1.

    >>> two = lambda_loss(torch.tensor([0.0, 0.0]), [2], torch.tensor([1.0, 0.0])).item()
    >>> round(two, 4)  # (1 + 10) x (1 - 1 / log2(3)) x log2(2)
    4.0598
    """
    weights = _ndcg_weights(scores.detach().float(), group_lengths, relevance.float())
    surprise = F.softplus(-_differences(scores, group_lengths)) / math.log(2)
    return (weights * surprise).masked_fill(~_comparisons(relevance, group_lengths), 0.0).sum()


def _ndcg_weights(scores: torch.Tensor, group_lengths: Sequence[int], relevance: torch.Tensor) -> torch.Tensor:
    """[G, K, K]: |gain_i - gain_j| x (change of the discounts if i and j swap + MU x their bound)."""
    scores_GK = pad_groups(scores, group_lengths, fill=float("-inf"))
    order = scores_GK.argsort(dim=1, descending=True, stable=True)
    rank_GK = order.argsort(dim=1, stable=True) + 1  # from 1
    gain_GK = pad_groups(torch.exp2(relevance) - 1, group_lengths, fill=0.0)
    place_K = torch.arange(1, gain_GK.shape[1] + 1, device=scores.device)
    best = (gain_GK.sort(dim=1, descending=True).values * _discount(place_K)).sum(1)
    gain_GK = gain_GK / best.clamp(min=1e-10)[:, None]
    apart = (rank_GK[:, :, None] - rank_GK[:, None, :]).abs()
    bound = (_discount(apart) - _discount(apart + 1)).masked_fill(apart == 0, 0.0)
    discount_GK = _discount(rank_GK)
    swap = (discount_GK[:, :, None] - discount_GK[:, None, :]).abs()
    return (gain_GK[:, :, None] - gain_GK[:, None, :]).abs() * (swap + MU * bound)


def _discount(rank: torch.Tensor) -> torch.Tensor:
    """DCG's 1 / log2(1 + rank); of rank 0, which is masked by the caller, infinite."""
    return 1 / torch.log2(1.0 + rank)


def _differences(values: torch.Tensor, group_lengths: Sequence[int]) -> torch.Tensor:
    """[P] -> [G, K, K], each value minus each other one of its group."""
    values_GK = pad_groups(values.float(), group_lengths, fill=0.0)
    return values_GK[:, :, None] - values_GK[:, None, :]


def _comparisons(relevance: torch.Tensor, group_lengths: Sequence[int]) -> torch.Tensor:
    """[G, K, K], true where the first is more relevant than the second."""
    real = real_places(group_lengths, relevance.device)
    return (_differences(relevance, group_lengths) > 0) & real[:, :, None] & real[:, None, :]


RANKNET = RankingLoss("ranknet", ranknet, "comparison", "Burges et al., ICML 2005")
MARGIN_MSE = RankingLoss(
    "margin_mse", margin_mse, "comparison", "Hofstätter et al., arXiv 2010.02666", (RELEVANCE, TEACHER_SCORES)
)
LAMBDA = RankingLoss("lambda", lambda_loss, "group", "Wang et al., CIKM 2018")
