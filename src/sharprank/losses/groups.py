"""What all losses share: ragged groups laid end to end, and sums that a caller divides by the global count.

A loss returns the SUM over its units (groups, pairs or comparisons) instead of a mean, so that micro-batches,
accumulation steps and ranks of any size add up to exactly the loss of the whole global batch.

Shapes: P pairs of a micro-batch, G groups, K passages of the longest group; `group_lengths` holds G numbers that sum
to P.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

RELEVANCE, TEACHER_SCORES = "relevance", "teacher_scores"

LossFunction = Callable[..., torch.Tensor]
Targets = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class RankingLoss:
    """A named loss.

    Attributes:
        name: as on the command line.
        function: (scores [P], group_lengths, one [P] for each of `needs`) -> scalar, the sum over the units.
        unit: what the sum runs over; the caller divides by the number of these in the global batch. A comparison is a
            pair of passages of one query of which one is more relevant.
        needs: the targets that the function takes, in its order.
        paper: where it comes from.
    """

    name: str
    function: LossFunction
    unit: Literal["group", "pair", "comparison"]
    paper: str
    needs: tuple[str, ...] = (RELEVANCE,)

    @property
    def compares(self) -> bool:
        """Whether it looks at passages of a query against each other; else every pair counts by itself."""
        return self.unit != "pair"

    def total(self, scores: torch.Tensor, group_lengths: Sequence[int], targets: Targets) -> torch.Tensor:
        """The sum over the units of these groups."""
        return self.function(scores, group_lengths, *(targets[name] for name in self.needs))

    def count(self, group_lengths: Sequence[int], targets: Mapping[str, Any]) -> int:
        """Units in these groups."""
        if self.unit == "comparison":
            return num_comparisons(np.asarray(targets[RELEVANCE]), group_lengths)
        return len(group_lengths) if self.unit == "group" else sum(group_lengths)


def num_comparisons(relevance: np.ndarray, group_lengths: Sequence[int]) -> int:
    """Pairs of passages of one group whose relevance [P] differs.

    >>> num_comparisons(np.array([1.0, 0.0, 0.0, 1.0, 0.5, 0.0]), [3, 3])
    5
    """
    count = 0
    for group in np.split(relevance, np.cumsum(group_lengths)[:-1]):
        _, same = np.unique(group, return_counts=True)
        count += (len(group) ** 2 - int((same**2).sum())) // 2
    return count


def pad_groups(values: torch.Tensor, group_lengths: Sequence[int], *, fill: float) -> torch.Tensor:
    """[P] -> [G, K], short groups filled up with `fill`."""
    if len(set(group_lengths)) == 1:
        return values.view(len(group_lengths), -1)
    return torch.nn.utils.rnn.pad_sequence(
        list(values.split(list(group_lengths))), batch_first=True, padding_value=fill
    )


def real_places(group_lengths: Sequence[int], device: torch.device) -> torch.Tensor:
    """[G, K], true where a padded group holds a passage."""
    lengths_G1 = torch.tensor(list(group_lengths), device=device)[:, None]
    return torch.arange(max(group_lengths), device=device)[None, :] < lengths_G1
