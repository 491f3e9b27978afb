"""Losses against the scores of a teacher."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from sharprank.losses.groups import TEACHER_SCORES, RankingLoss, pad_groups, real_places


def kl(
    scores: torch.Tensor,
    group_lengths: Sequence[int],
    teacher_scores: torch.Tensor,
    *,
    student_temperature: float = 1.0,
    teacher_temperature: float = 1.0,
) -> torch.Tensor:
    """Kullback-Leibler divergence of the student's softmax from the teacher's, summed over groups.

    Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", arXiv 1503.02531, over the passages of a
    group. It is 0 where both agree. Nothing is multiplied by the temperatures; the weight of the term is the caller's.

    Args:
        scores: [P] raw scores of the student.
        teacher_scores: [P] raw scores of the teacher.
        student_temperature, teacher_temperature: what the scores are divided by; above 1 softens.

    >>> kl(torch.tensor([2.0, 0.0]), [2], torch.tensor([12.0, 10.0])).item()
    0.0
    """
    log_p = _log_softmax(scores, group_lengths, student_temperature)
    log_q = _log_softmax(teacher_scores, group_lengths, teacher_temperature)
    real = real_places(group_lengths, scores.device)
    return (log_q.exp() * (log_q - log_p).masked_fill(~real, 0.0)).masked_fill(~real, 0.0).sum()


def _log_softmax(scores: torch.Tensor, group_lengths: Sequence[int], temperature: float) -> torch.Tensor:
    return pad_groups(scores.float() / temperature, group_lengths, fill=float("-inf")).log_softmax(1)


KL = RankingLoss("kl", kl, "group", "Hinton, Vinyals and Dean, arXiv 1503.02531", (TEACHER_SCORES,))
