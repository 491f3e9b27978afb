"""Groups that are too long for one forward pass: scored piece by piece, with exactly the gradients of the whole.

First all pieces are scored without gradients, then the loss gives the gradient of every score, then the pieces are
scored again, one at a time, each passing its gradients back (gradient caching: Gao et al., "Scaling Deep Contrastive
Learning Batch Size under Memory Limited Setup", RepL4NLP 2021). Dropout draws the same masks both times.
Knows no model and no loss.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class RandomState:
    """Where torch's random numbers stand, on the CPU and on one device."""

    cpu: torch.Tensor
    device: torch.device
    on_device: torch.Tensor | None

    @classmethod
    def now(cls, device: torch.device) -> RandomState:
        """The state at this moment."""
        on_device = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        return cls(torch.get_rng_state(), device, on_device)

    def restore(self) -> None:
        """Draw again what was drawn from here on."""
        torch.set_rng_state(self.cpu)
        if self.on_device is not None:
            torch.cuda.set_rng_state(self.on_device, self.device)


def learn_in_pieces(
    pieces: Sequence[Any],
    *,
    score: Callable[[Any], torch.Tensor],
    loss: Callable[[torch.Tensor], torch.Tensor],
    backward: Callable[[torch.Tensor], None],
    last: Callable[[bool], AbstractContextManager[Any]],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Forward and backward over pieces whose scores one loss takes together.

    Args:
        score: piece -> raw scores [pairs of the piece].
        loss: scores of all pieces [P] -> scalar.
        backward: passes a scalar's gradients back.
        last: the context of a backward pass, told whether it is the last one (gradients are reduced in that).

    Returns:
        The loss (detached) and the scores [P] (detached).
    """
    states: list[RandomState] = []
    with torch.no_grad():
        parts = list(_scored(pieces, score, states))
    scores = torch.cat(parts).requires_grad_()
    value = loss(scores)
    (gradient,) = torch.autograd.grad(value, scores)
    shares = gradient.split([len(part) for part in parts])
    for number, (piece, state, share) in enumerate(zip(pieces, states, shares, strict=True), 1):
        state.restore()
        with last(number == len(pieces)):
            backward((score(piece) * share).sum())
    return value.detach(), scores.detach()


def _scored(
    pieces: Sequence[Any], score: Callable[[Any], torch.Tensor], states: list[RandomState]
) -> Iterator[torch.Tensor]:
    device = torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
    for piece in pieces:
        states.append(RandomState.now(device))
        yield score(piece)
