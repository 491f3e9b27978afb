"""Losses over a whole group at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from sharprank.losses.groups import RankingLoss, pad_groups


def listwise_ce(scores: torch.Tensor, group_lengths: Sequence[int], relevance: torch.Tensor) -> torch.Tensor:
    """Softmax cross-entropy of each group's positives against the group, summed over groups.

    With one positive it is localized contrastive estimation (Gao, Dai and Callan, "Rethink Training of BERT
    Rerankers in Multi-Stage Retrieval Pipeline", ECIR 2021): -log softmax(scores)[positive]. With several, the
    target is uniform over them (ListNet's top-one distribution with equal gains; Cao et al., ICML 2007).

    Args:
        scores: [P] raw scores.
        relevance: [P], positive where > 0; every group needs one.

    >>> listwise_ce(torch.tensor([0.0, 0.0]), [2], torch.tensor([1.0, 0.0])).item()  # ln 2
    0.6931471824645996
    """
    scores_GK = pad_groups(scores.float(), group_lengths, fill=float("-inf"))
    positive_GK = pad_groups((relevance > 0).float(), group_lengths, fill=0.0)
    log_p = torch.log_softmax(scores_GK, dim=1).masked_fill(positive_GK == 0, 0.0)
    return -(log_p * positive_GK / positive_GK.sum(1, keepdim=True)).sum()


LISTWISE_CE = RankingLoss("listwise_ce", listwise_ce, "group")
