"""Which device, which precision, how many tokens at a time: the choices that depend on the machine.

Every choice can be overruled by the caller; a choice made here is explained by the function that makes it.
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Any

import torch

from sharprank.errors import UserError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

CPU_TOKEN_BUDGET = 2048
"""Tokens of a micro-batch on CPU: enough to fill the matrix units, few enough for activations to stay in cache."""

CUDA_TOKENS_PER_GIB = 2048
"""Tokens that are scored at a time per GiB of free GPU memory, for 12 layers of width 768; scaled by layers x width."""

CUDA_TRAINED_TOKENS_PER_GIB = 1024
"""The same in training, in half precision: 114 bytes a token, layer and unit of the width. The backward pass keeps 41
to 45 of them on CPU, and on CUDA more, whose layer norms are float32; without half precision it is twice as much."""

TRAINED_BYTES, SMALLEST_TRAINED_BATCH = 16, 512
"""Bytes of a trained weight with its gradient and Adam's two moments, all float32; tokens that are always tried."""


def choose_device(device: str | torch.device | None = None) -> torch.device:
    """The device asked for, or the best there is: CUDA, Apple's MPS, CPU.

    Raises:
        UserError: the device does not exist on this machine.
    """
    if device is None or device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise UserError(f"device {device!r} is not a device", fix="use cpu, cuda, cuda:N or mps") from None
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"device {device!r}: this machine offers {torch.cuda.device_count()} CUDA devices", fix="use --device cpu"
        )
    return chosen


def device_of_rank(device: str | None, local_rank: int) -> str | None:
    """The device asked for; where that is any GPU, the one of this rank among those on its machine."""
    if device in (None, "auto", "cuda") and torch.cuda.is_available():
        return f"cuda:{local_rank % torch.cuda.device_count()}"
    return device


def choose_dtype(dtype: str | torch.dtype | None, device: torch.device) -> torch.dtype:
    """The precision of inference: as asked; by default bfloat16 on CUDA, float32 elsewhere ("auto": also fast CPUs).

    Cards before Ampere only emulate bfloat16 and get float32, which every model can be scored in.

    Raises:
        UserError: an unknown name.
    """
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype is None:
        return torch.bfloat16 if device.type == "cuda" and bf16_is_fast(device) else torch.float32
    if dtype == "auto":
        return torch.bfloat16 if bf16_is_fast(device) else torch.float32
    if dtype not in DTYPES:
        raise UserError(f"dtype {dtype!r} is unknown", fix=f"use auto, {', '.join(DTYPES)}")
    return DTYPES[dtype]


def bf16_is_fast(device: torch.device) -> bool:
    """Whether bfloat16 matrix products beat float32 here, probed once (about 50 ms) on CPUs that claim to have them."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and _cpu_bf16_is_fast()


@lru_cache(maxsize=1)
def _cpu_bf16_is_fast() -> bool:
    claims = [getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")]
    if not any(claim() for claim in claims if claim is not None):
        return False
    return _matmul_seconds(torch.bfloat16) < 0.8 * _matmul_seconds(torch.float32)


def _matmul_seconds(dtype: torch.dtype) -> float:
    left, right = torch.ones(1024, 384, dtype=dtype), torch.ones(384, 1536, dtype=dtype)
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        torch.matmul(left, right)
        best = min(best, time.perf_counter() - start)
    return best


def token_budget(device: torch.device, *, num_layers: int = 12, hidden_size: int = 768) -> int:
    """Tokens that are scored at a time: cache-sized on CPU, sized by free memory on CUDA."""
    if device.type != "cuda":
        return CPU_TOKEN_BUDGET
    free_bytes, _ = torch.cuda.mem_get_info(device)
    tokens = _tokens(free_bytes, CUDA_TOKENS_PER_GIB, num_layers=num_layers, hidden_size=hidden_size)
    return max(4096, min(tokens, 262_144))


def training_budget(device: torch.device, model: Any, *, in_half_precision: bool, num_shards: int = 1) -> int:
    """Tokens of one micro-batch of training: as for scoring, but weights, gradients and Adam need room first.

    Args:
        model: about to be trained, and not on the device yet.
        in_half_precision: its passes; the weights are float32.
        num_shards: devices that its weights are shared out to.
    """
    if device.type != "cuda":
        return CPU_TOKEN_BUDGET
    free_bytes, _ = torch.cuda.mem_get_info(device)
    kept = sum(p.numel() * (TRAINED_BYTES if p.requires_grad else p.element_size()) for p in model.parameters())
    tokens = _tokens(
        free_bytes - kept // num_shards,
        CUDA_TRAINED_TOKENS_PER_GIB // (1 if in_half_precision else 2),
        num_layers=getattr(model.config, "num_hidden_layers", 12),
        hidden_size=getattr(model.config, "hidden_size", 768),
    )
    return max(SMALLEST_TRAINED_BATCH, min(tokens, 262_144))


def _tokens(free_bytes: int, tokens_per_gib: int, *, num_layers: int, hidden_size: int) -> int:
    scale = (12 * 768) / max(1, num_layers * hidden_size)
    return int(free_bytes / 2**30 * tokens_per_gib * scale)
