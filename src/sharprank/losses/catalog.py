"""Every loss by its name on the command line, and what a run minimises: a loss, or a weighted sum of two.

Each term is divided by its own count (groups, pairs or comparisons of the global batch) before the terms are added.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from sharprank.losses.distillation import KL
from sharprank.losses.groups import RankingLoss, Targets
from sharprank.losses.listwise import LISTMLE, LISTNET, LISTWISE_CE, PLISTMLE
from sharprank.losses.pairwise import LAMBDA, MARGIN_MSE, RANKNET
from sharprank.losses.pointwise import BCE, MSE

LOSSES: dict[str, RankingLoss] = {
    loss.name: loss for loss in (LISTWISE_CE, BCE, MSE, MARGIN_MSE, RANKNET, LAMBDA, LISTNET, LISTMLE, PLISTMLE, KL)
}


@dataclass(frozen=True)
class Objective:
    """What is minimised: the sum of weight x (loss / its count in the global batch).

    Attributes:
        terms: (loss, weight).
    """

    terms: tuple[tuple[RankingLoss, float], ...]

    @classmethod
    def of(cls, loss: RankingLoss | Objective) -> Objective:
        """An objective of one loss; an objective stays what it is."""
        return loss if isinstance(loss, Objective) else cls(((loss, 1.0),))

    def __str__(self) -> str:
        return " + ".join(loss.name if weight == 1 else f"{weight:g} x {loss.name}" for loss, weight in self.terms)

    @property
    def needs(self) -> tuple[str, ...]:
        """The targets that its losses take."""
        return tuple(dict.fromkeys(name for loss, _ in self.terms for name in loss.needs))

    @property
    def is_distilled(self) -> bool:
        """Whether a teacher's scores count beside the labels."""
        return len(self.terms) > 1

    @property
    def compares(self) -> bool:
        """Whether any of its losses looks at passages against each other."""
        return any(loss.compares for loss, _ in self.terms)

    def counts(self, group_lengths: Sequence[int], targets: Mapping[str, Any]) -> list[int]:
        """Units in these groups, term by term."""
        return [loss.count(group_lengths, targets) for loss, _ in self.terms]

    def total(
        self, scores: torch.Tensor, group_lengths: Sequence[int], targets: Targets, shares: Sequence[float]
    ) -> torch.Tensor:
        """This part of the objective.

        Args:
            scores: [P] raw scores.
            targets: the `needs` by name, each [P].
            shares: what each term's sum is multiplied by: 1 / its count in the global batch.
        """
        values = [
            weight * share * loss.total(scores, group_lengths, targets)
            for (loss, weight), share in zip(self.terms, shares, strict=True)
        ]
        return torch.stack(values).sum()


def make_objective(
    name: str,
    *,
    pos_weight: float = 1.0,
    distillation_weight: float = 0.0,
    student_temperature: float = 1.0,
    teacher_temperature: float = 1.0,
) -> Objective:
    """The objective of a run.

    Args:
        name: the (hard) loss, one of LOSSES.
        pos_weight: for `bce`.
        distillation_weight: of `kl` beside the loss; 0 leaves it out.
        student_temperature, teacher_temperature: for `kl`, alone or beside another loss.
    """
    temperatures = {"student_temperature": student_temperature, "teacher_temperature": teacher_temperature}
    settings = {"bce": {"pos_weight": pos_weight}, "kl": temperatures}
    terms = [(_with_settings(LOSSES[name], settings.get(name, {})), 1.0)]
    if distillation_weight:
        terms.append((_with_settings(KL, temperatures), distillation_weight))
    return Objective(tuple(terms))


def _with_settings(loss: RankingLoss, settings: Mapping[str, float]) -> RankingLoss:
    return replace(loss, function=partial(loss.function, **settings)) if settings else loss
