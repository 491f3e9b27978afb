"""What a training run is told to minimise; a flag that the chosen loss does not look at is refused."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from sharprank.errors import UserError
from sharprank.losses.catalog import BCE, KL, LOSSES, Objective, make_objective


def _flag(help_text: str, default: Any = None) -> Any:
    return field(default=default, metadata={"help": help_text})


@dataclass(kw_only=True)
class LossOptions:
    """What is minimised."""

    loss: str = _flag(f"one of: {', '.join(LOSSES)}", "listwise_ce")
    pos_weight: float = _flag("bce: how much positives count beside negatives", 1.0)
    distillation_weight: float | None = _flag(
        "add kl against teacher scores with this weight to the loss (--loss kl is kl alone)"
    )
    knowledge_distillation: bool = _flag("FlagEmbedding's flag for --distillation_weight 1", False)
    student_temperature: float = _flag("kl: what the student's scores are divided by", 1.0)
    teacher_temperature: float | None = _flag(
        "kl: what the teacher's scores are divided by; default 1, for the miner's similarities 0.05"
    )

    def objective(self) -> Objective:
        """The objective these flags describe.

        Raises:
            UserError: an unknown loss, a value that makes no sense, a flag that the loss does not look at.
        """
        if self.loss not in LOSSES:
            raise UserError(f"--loss {self.loss!r} is unknown", fix=f"use one of: {', '.join(LOSSES)}")
        weight = self.distillation_weight
        if weight is None:
            weight = 1.0 if self.knowledge_distillation and self.loss != KL.name else 0.0
        self._check_values(weight)
        self._refuse_unused(weight)
        return make_objective(
            self.loss,
            pos_weight=self.pos_weight,
            distillation_weight=weight,
            student_temperature=self.student_temperature,
            teacher_temperature=self.teacher_temperature or 1.0,
        )

    def _check_values(self, weight: float) -> None:
        for name in ("pos_weight", "student_temperature", "teacher_temperature"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise UserError(f"--{name} {value} is not above 0", fix=f"use --{name} 1, or another number above 0")
        if not (math.isfinite(weight) and weight >= 0):
            raise UserError(f"--distillation_weight {weight} is below 0", fix="use 0 or more")

    def _refuse_unused(self, weight: float) -> None:
        if self.loss == KL.name and weight:
            raise UserError(
                "--loss kl is distillation alone", fix="name the loss beside it: --loss listwise_ce, or drop the weight"
            )
        if self.pos_weight != 1 and self.loss != BCE.name:
            raise UserError(f"--pos_weight has no meaning for loss {self.loss}", fix="use --loss bce, or drop it")
        softened = self.student_temperature != 1 or self.teacher_temperature not in (None, 1)
        if softened and self.loss != KL.name and not weight:
            raise UserError(
                f"temperatures have no meaning for loss {self.loss}", fix="use --loss kl, or --distillation_weight"
            )
