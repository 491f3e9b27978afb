"""What all losses share: ragged groups laid end to end, and sums that a caller divides by the global count.

A loss returns the SUM over its units (groups or pairs) instead of a mean, so that micro-batches, accumulation
steps and ranks of any size add up to exactly the loss of the whole global batch.

Shapes: P pairs of a micro-batch, G groups; `group_lengths` holds G numbers that sum to P.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

LossFunction = Callable[[torch.Tensor, Sequence[int], torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class RankingLoss:
    """A named loss.

    Attributes:
        name: as on the command line.
        total: (scores [P], group_lengths, relevance [P]) -> scalar, the sum over the units.
        unit: what the sum runs over; the caller divides by the number of these in the global batch.
    """

    name: str
    total: LossFunction
    unit: Literal["group", "pair"]

    def count(self, group_lengths: Sequence[int]) -> int:
        """Units in these groups."""
        return len(group_lengths) if self.unit == "group" else sum(group_lengths)


def pad_groups(values: torch.Tensor, group_lengths: Sequence[int], *, fill: float) -> torch.Tensor:
    """[P] -> [G, longest group], short groups filled up with `fill`."""
    if len(set(group_lengths)) == 1:
        return values.view(len(group_lengths), -1)
    return torch.nn.utils.rnn.pad_sequence(
        list(values.split(list(group_lengths))), batch_first=True, padding_value=fill
    )
