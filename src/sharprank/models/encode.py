"""Texts in, one hidden-state summary per text out: the packed forward pass behind bi-encoders.

Pooling happens here because a pack must be pooled at its own boundaries; which pooling a model needs, and what
is done to the vectors afterwards, is the caller's (`bi_encoder`).

Shapes: T tokens of a pack, B sequences, H hidden size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from sharprank.models.batches import TokenBatch, model_inputs, plan_batches
from sharprank.models.packing import ATTENTION_NAME, uses_token_types
from sharprank.models.pooling import Pooling, pool_states


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
    return pool_states(hidden, pooling, packing=inputs.get("packing"), mask=inputs.get("attention_mask"))
