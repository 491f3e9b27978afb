"""Matrix products of inference on CPU by oneDNN: a tenth faster than torch's own for float32, with GELU inside them.

torch multiplies float32 matrices with MKL and takes up the weights anew in every product. Its kernels for compiled
models (`torch.ops.mkldnn`, without gradients) are oneDNN's: they read weights laid out once, and apply the activation
to a product while it is in the cache. Results are those of torch up to rounding.

Weights are laid out for the length of one call over many texts (`laid_out`) and never kept beyond it: what changes
a model between two calls, through the optimizer, an adapter or `.data`, cannot leave an old copy behind.

Knows nothing of what a model computes. Where anything is missing (another processor, gradients, autocast), torch's
own products are used.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import Any

import torch
from torch import nn

LAID_OUT_BYTES = 2**30
"""Weights of more than this are not kept laid out: a second copy would cost too much memory. Every product then lays
its weights out for itself, which costs a twentieth of it at a CPU's token budget."""


class OneDnnLinear(nn.Linear):
    """`nn.Linear`, by oneDNN wherever that can do it."""

    keeps = False
    """Whether the weights stay laid out after their first use."""

    _laid_out: torch.Tensor | None = None

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return self.product(input) if self.takes(input) else super().forward(input)

    def takes(self, input: torch.Tensor) -> bool:
        """Whether oneDNN can do this product: on CPU, outside autograd and autocast, in a precision it has here."""
        return (
            not torch.is_grad_enabled()
            and input.device.type == "cpu"
            and input.dtype == self.weight.dtype
            and input.numel() > 0
            and not torch.is_autocast_enabled("cpu")
            and works(input.dtype)
        )

    def product(self, input: torch.Tensor, *, activation: str = "none") -> torch.Tensor:
        """activation(input weights' + bias); `activation` is "none" or "gelu" (the exact one)."""
        return _linear(input, self._weights(), self.bias, activation)

    def release(self) -> None:
        """Forget the weights as they were laid out."""
        self.keeps, self._laid_out = False, None

    def _weights(self) -> torch.Tensor:
        if not self.keeps:
            return self.weight
        kept = self._laid_out
        if kept is None:
            kept = self._laid_out = torch.ops.mkldnn._reorder_linear_weight(self.weight.detach())
        return kept


def use_onednn(model: nn.Module) -> None:
    """Let every plain linear layer of a model, and GELU behind BERT's, go through oneDNN where it can.

    Names, weights and gradients stay as they are.
    """
    for module in model.modules():
        if type(module) is nn.Linear:
            module.__class__ = OneDnnLinear
    for module in model.modules():
        if isinstance(getattr(module, "dense", None), OneDnnLinear) and _is_gelu(module):
            module.forward = partial(_dense_and_gelu, module)


@contextmanager
def laid_out(model: nn.Module) -> Iterator[None]:
    """Meanwhile every linear layer keeps its weights as oneDNN wants them, unless they take LAID_OUT_BYTES."""
    layers = [module for module in model.modules() if isinstance(module, OneDnnLinear)]
    if sum(layer.weight.nbytes for layer in layers) <= LAID_OUT_BYTES:
        for layer in layers:
            layer.keeps = True
    try:
        yield
    finally:
        for layer in layers:
            layer.release()


@lru_cache(maxsize=8)
def works(dtype: torch.dtype) -> bool:
    """Whether this torch and this processor have the products, found by trying one."""
    if dtype not in (torch.float32, torch.bfloat16) or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    if torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"):
        return False  # elsewhere torch's own were not beaten
    rows, weights, bias = (torch.ones(shape, dtype=dtype) for shape in ((2, 16), (3, 16), (3,)))
    try:
        both = weights, torch.ops.mkldnn._reorder_linear_weight(weights)
        found = [_linear(rows, either, bias, "gelu") for either in both]
    except (AttributeError, RuntimeError):
        return False
    return all(torch.equal(values, torch.full((2, 3), 17.0, dtype=dtype)) for values in found)


def _linear(input: torch.Tensor, weights: torch.Tensor, bias: torch.Tensor | None, activation: str) -> torch.Tensor:
    return torch.ops.mkldnn._linear_pointwise(input, weights, bias, activation, [], "none")


def _is_gelu(module: Any) -> bool:
    """Whether a `dense` layer is followed by the exact GELU and nothing else, as BERT's intermediate one is."""
    activation = getattr(module, "intermediate_act_fn", None)
    return getattr(activation, "act", activation) is torch.nn.functional.gelu


def _dense_and_gelu(module: Any, hidden_states: torch.Tensor) -> torch.Tensor:
    """The forward pass of such a module."""
    if module.dense.takes(hidden_states):
        return module.dense.product(hidden_states, activation="gelu")
    return type(module).forward(module, hidden_states)
