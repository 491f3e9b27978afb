"""Token states in, one vector a sequence out: the poolings, for packed and for padded batches alike.

Shapes: T tokens of a pack, B sequences, L tokens of a padded row, H size of what is pooled.
"""

from __future__ import annotations

from typing import Literal

import torch

from sharprank.models.packing import Packing, segment_means

Pooling = Literal["cls", "mean", "last_token"]


def pool_states(
    states: torch.Tensor, pooling: Pooling, *, packing: Packing | None = None, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """One vector a sequence: [B, H].

    Args:
        states: [1, T, H] of a pack ([B, 1, H] for "cls", where the last layer keeps first tokens only), or [B, L, H].
        packing: where the sequences of a pack lie; None for padded rows.
        mask: [B, L], 1 for tokens, 0 for the padding behind them; needed for padded rows.
    """
    if packing is not None:
        return _of_pack(states, pooling, packing)
    assert mask is not None, "padded rows are pooled by their mask"
    if pooling == "cls":
        return states[:, 0]
    if pooling == "last_token":
        return states[torch.arange(len(states), device=states.device), mask.sum(1) - 1]
    weights = mask.unsqueeze(-1).to(states.dtype)
    return (states * weights).sum(1) / weights.sum(1)


def _of_pack(states: torch.Tensor, pooling: Pooling, packing: Packing) -> torch.Tensor:
    if pooling == "cls":
        return states[:, 0]
    if pooling == "last_token":
        return states[0, packing.cu_seqlens[1:].long() - 1]
    return segment_means(states[0], packing)
