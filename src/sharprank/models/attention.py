"""Attention inside the boundaries of a pack, one function for every device.

`packed_attention` is what transformers calls. On CPU it runs each sequence on its own: torch's fused kernel
where no gradient is needed, and in training one autograd node for the whole pack with plain matrix products
(torch's fused CPU backward is slow, above all in bfloat16, and its dropout falls back to a slow path anyway).
On CUDA it runs `torch.nn.attention.varlen` in half precision from Ampere on, and each sequence on its own otherwise.

Decoders are causal (their attention modules say so) and may share keys and values between heads; both are kept.

Shapes: N heads, T tokens of the pack, B sequences, D size of a head; queries may be fewer than keys (the last
layer asks only for each sequence's first token: then Tq = B).
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from sharprank.models.dropout import ByteMask

_MATH_MAX_LENGTH = 1024
"""Longest sequence (tokens) whose attention probabilities are kept for the backward pass; beyond, memory wins."""

_PLAIN_BF16 = range(64, 257)
"""Lengths (tokens) at which two products and a softmax beat torch's fused kernel in bfloat16 on CPU, by a third: it
works through many tiny products there. Beyond, the scores leave the cache; below, calls cost more than work."""


def packed_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    packing: Any = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention with the signature transformers expects: q, k, v [1, N, T, D] -> [1, T, N, D].

    Without `packing` it is ordinary masked SDPA, so padded batches stay right.

    Raises:
        ValueError: a pack came with an attention mask, or with more than one row.
    """
    reach = _reach(sliding_window, causal=bool(getattr(module, "is_causal", False)))
    key, value = _one_a_head(key, query), _one_a_head(value, query)
    if packing is None:
        if attention_mask is None:
            attention_mask = _band(query.shape[2], key.shape[2], reach, query.device)
        return _padded(query, key, value, attention_mask, scaling=scaling, dropout=dropout), None
    if attention_mask is not None or key.shape[0] != 1:
        raise ValueError("a pack is one row without an attention mask: padding cannot be told apart inside it")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if query.is_cuda and dropout == 0.0 and query.shape[2] == key.shape[2]:
        varlen = _varlen(reach) if _has_varlen(query) else None
        if varlen is not None:
            return varlen(query, key, value, packing, scale), None
    longest = max(packing.lengths)
    # A pass without gradients that is repeated with them (checkpointing, pieces of a group) must draw the same masks.
    trains = dropout > 0 or (torch.is_grad_enabled() and query.requires_grad)
    if trains and not query.is_cuda and longest <= _MATH_MAX_LENGTH:
        setting = _Setting(packing.lengths, scale, reach, dropout)
        out: Any = _PackedMath.apply(query[0], key[0], value[0], setting)
        return out.unsqueeze(0), None
    return _each_sequence(query, key, value, packing.lengths, scale=scale, reach=reach, dropout=dropout), None


Reach = tuple[int | None, int | None]
"""How many tokens back and how many ahead a token attends to; None: all of them."""


def _reach(sliding_window: int | None, *, causal: bool) -> Reach:
    window = None if sliding_window is None else sliding_window - 1
    return window, 0 if causal else window


def _one_a_head(shared: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
    """Keys or values for every head of the queries, where groups of heads share them."""
    times = query.shape[1] // shared.shape[1]
    return shared if times == 1 else shared.repeat_interleave(times, dim=1)


def packed_mask(*args: Any, attention_mask: torch.Tensor | None = None, **kwargs: Any) -> torch.Tensor | None:
    """The mask transformers builds for our attention: none for packs, SDPA's for padded batches."""
    if attention_mask is None:
        return None
    from transformers.masking_utils import sdpa_mask

    return sdpa_mask(*args, attention_mask=attention_mask, **kwargs)


def _padded(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    *,
    scaling: float | None,
    dropout: float,
) -> torch.Tensor:
    out = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout, scale=scaling)
    return out.transpose(1, 2).contiguous()


def _bounds(lengths: tuple[int, ...], num_queries: int) -> Iterator[tuple[slice, slice]]:
    """Query rows and key rows of each sequence; one query row each where only first tokens ask."""
    first_only = num_queries == len(lengths) != sum(lengths)
    start = 0
    for index, length in enumerate(lengths):
        keys = slice(start, start + length)
        yield (slice(index, index + 1) if first_only else keys), keys
        start += length


def _band(num_queries: int, num_keys: int, reach: Reach, device: torch.device) -> torch.Tensor | None:
    """Boolean [num_queries, num_keys], True within `reach`; None when nothing is cut off."""
    back, ahead = (None if limit is None or num_keys - 1 <= limit else limit for limit in reach)
    if back is None and ahead is None:
        return None
    distance = torch.arange(num_queries, device=device)[:, None] - torch.arange(num_keys, device=device)[None, :]
    band = torch.ones_like(distance, dtype=torch.bool) if back is None else distance <= back
    return band if ahead is None else band & (distance >= -ahead)


def _each_sequence(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    lengths: tuple[int, ...],
    *,
    scale: float,
    reach: Reach,
    dropout: float,
) -> torch.Tensor:
    outs = []
    for rows, cols in _bounds(lengths, query.shape[2]):
        q, k, v = query[:, :, rows], key[:, :, cols], value[:, :, cols]
        mask = _band(q.shape[2], k.shape[2], reach, q.device)
        if dropout == 0 and q.dtype == torch.bfloat16 and q.device.type == "cpu" and q.shape[2] in _PLAIN_BF16:
            outs.append(_plain(q, k, v, mask, scale=scale))
        else:
            outs.append(F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout, scale=scale))
    return torch.cat(outs, dim=2).transpose(1, 2)


def _plain(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, *, scale: float
) -> torch.Tensor:
    """Attention by two products and a softmax in float32: [1, N, T, D]."""
    scores = torch.matmul(query, key.transpose(2, 3)).float().mul_(scale)
    if mask is not None:
        scores.masked_fill_(~mask, float("-inf"))
    return torch.matmul(torch.softmax(scores, dim=-1).to(value.dtype), value)


@dataclass(frozen=True)
class _Setting:
    """What one attention call needs beside its tensors."""

    lengths: tuple[int, ...]
    scale: float
    reach: Reach
    dropout: float


class _PackedMath(torch.autograd.Function):
    """softmax(q k' * scale) v for every sequence of a pack in one autograd node; q, k, v [N, T, D] -> [Tq, N, D]."""

    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        setting: _Setting,
    ) -> torch.Tensor:
        lengths, scale, reach = setting.lengths, setting.scale, setting.reach
        out = query.new_empty(query.shape[1], query.shape[0], query.shape[2])
        byte_mask = ByteMask(setting.dropout)
        probabilities, masks = [], []
        for rows, cols in _bounds(lengths, query.shape[1]):
            scores = torch.matmul(query[:, rows], key[:, cols].transpose(1, 2)).mul_(scale)
            band = _band(scores.shape[1], scores.shape[2], reach, scores.device)
            if band is not None:
                scores.masked_fill_(~band, float("-inf"))
            probability = torch.softmax(scores, dim=-1)
            probabilities.append(probability)
            if byte_mask:
                mask = byte_mask.like(probability)
                masks.append(mask)
                probability = probability * mask
            out[rows] = torch.matmul(probability, value[:, cols]).transpose(0, 1)
        ctx.save_for_backward(query, key, value, *probabilities, *masks)
        ctx.lengths, ctx.scale, ctx.num_masks = lengths, scale, len(masks)
        return out

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> Any:
        (grad_out,) = grad_outputs
        query, key, value, *saved = ctx.saved_tensors
        probabilities, masks = saved[: len(ctx.lengths)], saved[len(ctx.lengths) :]
        grads = [
            torch.empty(x.shape[1], x.shape[0], x.shape[2], dtype=x.dtype, device=x.device) for x in (query, key, value)
        ]
        for index, (rows, cols) in enumerate(_bounds(ctx.lengths, query.shape[1])):
            probability, grad = probabilities[index], grad_out[rows].transpose(0, 1)
            dropped = probability * masks[index] if masks else probability
            grads[2][cols] = torch.matmul(dropped.transpose(1, 2), grad).transpose(0, 1)
            grad_p = torch.matmul(grad, value[:, cols].transpose(1, 2))
            if masks:
                grad_p.mul_(masks[index])
            grad_s = torch.ops.aten._softmax_backward_data(grad_p, probability, -1, probability.dtype)
            grad_s.mul_(ctx.scale)
            grads[0][rows] = torch.matmul(grad_s, key[:, cols]).transpose(0, 1)
            grads[1][cols] = torch.matmul(grad_s.transpose(1, 2), query[:, rows]).transpose(0, 1)
        return (*(grad.transpose(0, 1) for grad in grads), None)


def _has_varlen(query: torch.Tensor) -> bool:
    """Whether precision and card are such as torch's varlen attention (FlashAttention 2) is made for."""
    return query.dtype in (torch.float16, torch.bfloat16) and torch.cuda.get_device_capability(query.device) >= (8, 0)


def _varlen(reach: Reach) -> Any:
    """`torch.nn.attention.varlen.varlen_attn` behind our signature; None where this torch lacks it or its window."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    known = inspect.signature(varlen_attn).parameters
    unlimited = reach == (None, None)
    if "scale" not in known or not (unlimited or "window_size" in known):
        return None
    size = tuple(-1 if limit is None else limit for limit in reach)
    extra: dict[str, Any] = {} if unlimited else {"window_size": size}

    def attend(query: Any, key: Any, value: Any, packing: Any, scale: float) -> torch.Tensor:
        q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))
        longest = max(packing.lengths)
        ends = packing.cu_seqlens
        out: Any = varlen_attn(q, k, v, ends, ends, longest, longest, scale=scale, **extra)
        return out.unsqueeze(0)

    return attend
