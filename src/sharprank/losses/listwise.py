"""Losses over a whole group at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from sharprank.losses.groups import RankingLoss, pad_groups, real_places

_NOT_THERE = -1e9
"""The score of a place that holds no passage, where minus infinity would make gradients nan."""


def listwise_ce(scores: torch.Tensor, group_lengths: Sequence[int], relevance: torch.Tensor) -> torch.Tensor:
    """Softmax cross-entropy of each group's relevance against its scores, summed over groups.

    With one positive it is localized contrastive estimation (Gao, Dai and Callan, "Rethink Training of BERT
    Rerankers in Multi-Stage Retrieval Pipeline", ECIR 2021): -log softmax(scores)[positive]. With several, or with
    graded relevance, the target is the relevance divided by its sum (Bruch et al., "An Analysis of the Softmax Cost
    Function for Learning to Rank", ICTIR 2019).

    Args:
        scores: [P] raw scores.
        relevance: [P], 0 or more; every group needs one above 0.

    >>> listwise_ce(torch.tensor([0.0, 0.0]), [2], torch.tensor([1.0, 0.0])).item()  # ln 2
    0.6931471824645996
    """
    target_GK = pad_groups(relevance.float(), group_lengths, fill=0.0)
    return _cross_entropy(scores, group_lengths, target_GK / target_GK.sum(1, keepdim=True))


def listnet(scores: torch.Tensor, group_lengths: Sequence[int], relevance: torch.Tensor) -> torch.Tensor:
    """Cross-entropy between the top-one distributions of relevance and scores, summed over groups.

    Cao et al., "Learning to Rank: From Pairwise Approach to Listwise Approach", ICML 2007. The target is
    softmax(relevance), which with relevance in 0..1 is nearly flat: of 1 positive and 7 negatives it gives the positive
    0.28. `listwise_ce` is the sharp one.

    Args:
        scores: [P] raw scores.
        relevance: [P].
    """
    relevance_GK = pad_groups(relevance.float(), group_lengths, fill=float("-inf"))
    return _cross_entropy(scores, group_lengths, relevance_GK.softmax(1))


def _cross_entropy(scores: torch.Tensor, group_lengths: Sequence[int], target_GK: torch.Tensor) -> torch.Tensor:
    scores_GK = pad_groups(scores.float(), group_lengths, fill=float("-inf"))
    log_p = scores_GK.log_softmax(1).masked_fill(~real_places(group_lengths, scores.device), 0.0)
    return -(log_p * target_GK).sum()


def listmle(scores: torch.Tensor, group_lengths: Sequence[int], relevance: torch.Tensor) -> torch.Tensor:
    """-log of the probability of the right order when passages are drawn one by one, summed over groups.

    Xia et al., "Listwise Approach to Learning to Rank: Theory and Algorithm", ICML 2008. Equally relevant passages
    count in the order in which they stand in the group; since groups are drawn in a new order each epoch, no order of
    theirs is learned.

    Args:
        scores: [P] raw scores.
        relevance: [P].

    >>> round(listmle(torch.zeros(3), [3], torch.tensor([1.0, 0.5, 0.0])).item(), 4)  # ln 3 + ln 2
    1.7918
    """
    return -_log_probabilities(scores, group_lengths, relevance).sum()


def plistmle(scores: torch.Tensor, group_lengths: Sequence[int], relevance: torch.Tensor) -> torch.Tensor:
    """ListMLE with the early draws weighing more: 2^(n - rank) - 1, divided by their sum; summed over groups.

    Lan et al., "Position-Aware ListMLE: A Sequential Learning Process for Ranking", UAI 2014.

    Args:
        scores: [P] raw scores.
        relevance: [P]; see `listmle` for equal ones.

    >>> round(plistmle(torch.zeros(3), [3], torch.tensor([1.0, 0.5, 0.0])).item(), 4)  # 3/4 ln 3 + 1/4 ln 2
    0.9973
    """
    log_p = _log_probabilities(scores, group_lengths, relevance)
    lengths_G1 = torch.tensor(list(group_lengths), device=scores.device)[:, None]
    rank_K = torch.arange(1, log_p.shape[1] + 1, device=scores.device)[None, :]
    # 2^(n - rank) - 1, all divided by 2^n, which overflows for long groups.
    weights = (torch.exp2(-rank_K.float()) - torch.exp2(-lengths_G1.float())).clamp(min=0.0)
    return -(log_p * weights / weights.sum(1, keepdim=True)).sum()


def _log_probabilities(scores: torch.Tensor, group_lengths: Sequence[int], relevance: torch.Tensor) -> torch.Tensor:
    """[G, K], best first: log of the probability that this passage is drawn from those that are left."""
    relevance_GK = pad_groups(relevance.float(), group_lengths, fill=float("-inf"))
    order = relevance_GK.argsort(dim=1, descending=True, stable=True)
    sorted_GK = pad_groups(scores.float(), group_lengths, fill=_NOT_THERE).gather(1, order)
    left_GK = sorted_GK.flip(1).logcumsumexp(1).flip(1)
    return (sorted_GK - left_GK).masked_fill(~real_places(group_lengths, scores.device), 0.0)


LISTWISE_CE = RankingLoss("listwise_ce", listwise_ce, "group", "Gao, Dai and Callan, ECIR 2021")
LISTNET = RankingLoss("listnet", listnet, "group", "Cao et al., ICML 2007")
LISTMLE = RankingLoss("listmle", listmle, "group", "Xia et al., ICML 2008")
PLISTMLE = RankingLoss("plistmle", plistmle, "group", "Lan et al., UAI 2014")
