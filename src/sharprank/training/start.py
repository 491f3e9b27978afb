"""The start's share in a trained model: weights between those a training began with and those it ended with.

A model that ranked before training unlearns some of that while it learns from few queries; the mean of both ends keeps
much of either. Source: WiSE-FT (Wortsman et al., CVPR 2022).
"""

from __future__ import annotations

from typing import Any

import torch

from sharprank.errors import UserError
from sharprank.progress import say


class Start:
    """What a model's trained weights were before training, kept in main memory.

    Args:
        model: as training will begin with it.
        share: of the start in the result, from 0 (keeps nothing and does nothing) to below 1.
    """

    def __init__(self, model: Any, share: float) -> None:
        self.share = share
        kept = model.named_parameters() if share else ()
        self._weights = {name: p.detach().to("cpu", copy=True) for name, p in kept if p.requires_grad}

    @torch.no_grad()
    def mix_into(self, model: Any) -> None:
        """Take the model's weights back by the share of the way to the start, in place."""
        if not self.share:
            return
        parameters = dict(model.named_parameters())
        if not self._weights.keys() <= parameters.keys():
            raise ValueError("the model's weights changed their names in training: an engine shards it")
        for name, before in self._weights.items():
            parameters[name].lerp_(before.to(parameters[name].device, parameters[name].dtype), self.share)
        say(f"weights: {1 - self.share:g} as trained + {self.share:g} as they started (--start_share)")


def check_share(share: float | None, *, is_whole: bool) -> None:
    """Refuse a share that is none, or that cannot be given.

    Args:
        is_whole: every process has the whole model, and all of it is trained.

    Raises:
        UserError: naming the flag.
    """
    if share is not None and not 0 <= share < 1:
        raise UserError(f"--start_share {share} is no share", fix="use a number from 0 to below 1")
    if share and not is_whole:
        raise UserError(
            f"--start_share {share} needs whole weights, not adapters or shards of FSDP and DeepSpeed",
            fix="leave it out",
        )
