"""Texts in, one hidden-state summary per text out: the packed forward pass behind bi-encoders.

Pooling happens here because a pack must be pooled at its own boundaries; which pooling a model needs, and what
is done to the vectors afterwards, is the caller's (`bi_encoder`).

Shapes: T tokens of a pack, B sequences, H hidden size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import torch

from sharprank.models.batches import TokenBatch, model_inputs, plan_batches
from sharprank.models.packing import ATTENTION_NAME, Packing, segment_means, uses_token_types

Pooling = Literal["cls", "mean", "last_token"]


def pooled_states(
    model: Any, sequences: Sequence[np.ndarray], *, pooling: Pooling, budget: int
) -> Iterator[tuple[list[int], torch.Tensor]]:
    """Yield (indices, [B, H]) for batches of token sequences, special tokens included.

    Args:
        model: a transformers encoder without head; packed if `enable_packing` was called on it (with
            `first_tokens_only` exactly when pooling is "cls").
        budget: tokens of one batch.
    """
    lengths = np.asarray([len(ids) for ids in sequences])
    packed = model.config._attn_implementation == ATTENTION_NAME
    for indices in plan_batches(lengths, budget=budget, packed=packed):
        batch = TokenBatch.of([(sequences[i], np.zeros(len(sequences[i]), dtype=np.int64)) for i in indices])
        yield indices, _pooled(model, batch, pooling)


@torch.inference_mode()
def _pooled(model: Any, batch: TokenBatch, pooling: Pooling) -> torch.Tensor:
    device = next(model.parameters()).device
    inputs = model_inputs(batch, model.config, device=device, token_types=uses_token_types(model.config))
    hidden = model(**inputs).last_hidden_state
    if "packing" in inputs:
        return _pool_pack(hidden, inputs["packing"], pooling)
    mask = inputs["attention_mask"]
    if pooling == "cls":
        return hidden[:, 0]
    if pooling == "last_token":
        return hidden[torch.arange(len(hidden), device=device), mask.sum(1) - 1]
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1)


def _pool_pack(hidden: torch.Tensor, packing: Packing, pooling: Pooling) -> torch.Tensor:
    if pooling == "cls":  # the last layer already kept first tokens only: [B, 1, H]
        return hidden[:, 0]
    if pooling == "last_token":
        return hidden[0, packing.cu_seqlens[1:].long() - 1]
    return segment_means(hidden[0], packing)
