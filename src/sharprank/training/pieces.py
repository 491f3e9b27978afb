"""Groups that are too long for one forward pass: scored piece by piece, with exactly the gradients of the whole.

First all pieces are scored without gradients, then the loss gives the gradient of every score, then the pieces are
scored again, one at a time, each passing its gradients back (gradient caching: Gao et al., "Scaling Deep Contrastive
Learning Batch Size under Memory Limited Setup", RepL4NLP 2021). Dropout draws the same masks both times.
Knows no model and no loss.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch


class Step(Protocol):
    """One backward pass, in the engine's context; told whether it is the last of these (gradients are reduced then)."""

    def __call__(self, compute: Callable[[], torch.Tensor], *, last: bool) -> Any: ...


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
    step: Step,
    num_steps: int = 0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Forward and backward over pieces whose scores one loss takes together.

    Args:
        score: piece -> raw scores [pairs of the piece].
        loss: scores of all pieces [P] -> scalar.
        step: passes gradients back.
        num_steps: of the rank with the most pieces, where ranks have to keep in step; the last piece is repeated then,
            and counts once.

    Returns:
        The loss (detached) and the scores [P] (detached).
    """
    repeated = [pieces[-1]] * (num_steps - len(pieces))
    states: list[RandomState] = []
    with torch.no_grad():
        parts = [_scored(piece, score, states) for piece in (*pieces, *repeated)]
    scores = torch.cat(parts[: len(pieces)]).requires_grad_()
    value = loss(scores)
    (gradient,) = torch.autograd.grad(value, scores)
    shares = [
        *gradient.split([len(part) for part in parts[: len(pieces)]]),
        *[torch.zeros_like(parts[-1])] * len(repeated),
    ]
    for number, (piece, state, share) in enumerate(zip((*pieces, *repeated), states, shares, strict=True), 1):
        state.restore()
        step(partial(_surrogate, piece, score, share), last=number == len(states))
    return value.detach(), scores.detach()


def _scored(piece: Any, score: Callable[[Any], torch.Tensor], states: list[RandomState]) -> torch.Tensor:
    device = torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
    states.append(RandomState.now(device))
    return score(piece)


def _surrogate(piece: Any, score: Callable[[Any], torch.Tensor], share: torch.Tensor) -> torch.Tensor:
    """A scalar whose gradients are those of the loss, as far as they go through this piece."""
    return (score(piece) * share).sum()
