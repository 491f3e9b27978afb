"""Dropout masks at the speed of memory: random bytes from a small fast generator, seeded from torch's.

torch's own dropout on CPU draws one number an element and takes up to an eighth of a training step. A byte an
element is enough: the share dropped is rounded to a multiple of 1/256 (0.1 becomes 26/256 = 0.1016), and what is
kept is scaled by the exact inverse, so that expectations are untouched. Seeding from torch's generator keeps runs
repeatable, resumable and right under gradient checkpointing, which restores that generator.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

_LEVELS = 256


class ByteMask:
    """A source of dropout masks for one forward pass.

    Args:
        dropout: share to drop, 0 to 1; rounded to a multiple of 1/256.
    """

    def __init__(self, dropout: float) -> None:
        self.dropped = min(_LEVELS - 1, round(dropout * _LEVELS))
        self.scale = _LEVELS / (_LEVELS - self.dropped)
        seed = int(torch.randint(2**62, (1,)).item()) if self.dropped else 0
        self._generator = np.random.Generator(np.random.SFC64(seed))

    def __bool__(self) -> bool:
        return self.dropped > 0

    def like(self, x: torch.Tensor) -> torch.Tensor:
        """A mask shaped and typed like `x`: `scale` where kept, 0 where dropped."""
        words = self._generator.integers(0, 2**64, size=(x.numel() + 7) // 8, dtype=np.uint64)
        random_bytes = torch.from_numpy(words.view(np.uint8)[: x.numel()]).view(x.shape)
        return (random_bytes >= self.dropped).to(x.dtype).mul_(self.scale)


class ByteDropout(nn.Dropout):
    """`nn.Dropout` with byte masks on CPU; elsewhere (and where nothing is dropped) it is torch's own."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if not self.training or input.device.type != "cpu":
            return super().forward(input)
        mask = ByteMask(self.p)
        return input * mask.like(input) if mask else input


def use_byte_dropout(model: nn.Module) -> None:
    """Let every plain dropout of a model draw bytes; weights and names stay as they are."""
    for module in model.modules():
        if type(module) is nn.Dropout:
            module.__class__ = ByteDropout


def set_dropout(model: Any, share: float) -> None:
    """Use one dropout share throughout a model; its configuration, and so its checkpoints, keep their own."""
    modules: Iterator[tuple[str, Any]] = model.named_modules()
    for name, module in modules:
        if isinstance(module, nn.Dropout) and "lora_dropout" not in name:  # an adapter has a dropout of its own
            module.p = share
        if isinstance(getattr(module, "attention_dropout", None), float):  # ModernBERT's attention reads a number
            setattr(module, "attention_dropout", share)  # noqa: B010 - nn.Module types it as a module
