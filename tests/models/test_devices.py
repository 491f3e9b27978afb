"""Choices that depend on the machine: asked of the machine, said when they cannot be had, never assumed."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from sharprank.errors import UserError
from sharprank.models import devices
from sharprank.models.attention import _has_varlen
from sharprank.models.devices import bf16_is_fast, choose_device, choose_dtype, token_budget, training_budget

CPU = torch.device("cpu")
CLAIMS = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")


@pytest.fixture
def machine(monkeypatch):
    """A CPU that claims bfloat16 or not, and multiplies in it at some speed."""

    def pretend(*, claims: bool, bf16_seconds: float) -> None:
        devices._cpu_bf16_is_fast.cache_clear()
        for name in CLAIMS:
            monkeypatch.setattr(torch.cpu, name, lambda: claims, raising=False)
        seconds = {torch.float32: 1.0, torch.bfloat16: bf16_seconds}
        monkeypatch.setattr(devices, "_matmul_seconds", lambda dtype: seconds[dtype])

    yield pretend
    devices._cpu_bf16_is_fast.cache_clear()


@pytest.mark.parametrize(
    ("claims", "bf16_seconds", "fast"), [(True, 0.5, True), (True, 5.0, False), (True, 0.9, False), (False, 0.5, False)]
)
def test_bf16_is_used_only_where_the_cpu_claims_it_and_the_probe_confirms_it(machine, claims, bf16_seconds, fast):
    machine(claims=claims, bf16_seconds=bf16_seconds)
    assert bf16_is_fast(CPU) is fast
    assert choose_dtype("auto", CPU) == (torch.bfloat16 if fast else torch.float32)


def test_a_cpu_without_bf16_is_never_probed(machine, monkeypatch):
    machine(claims=False, bf16_seconds=0.5)
    monkeypatch.setattr(devices, "_matmul_seconds", lambda dtype: pytest.fail("multiplied"))
    assert not bf16_is_fast(CPU)


def test_the_probe_measures_both_precisions():
    assert devices._matmul_seconds(torch.float32) > 0 and devices._matmul_seconds(torch.bfloat16) > 0


def test_inference_is_float32_on_a_cpu_unless_asked_otherwise():
    assert choose_dtype(None, CPU) == torch.float32
    assert choose_dtype("bfloat16", CPU) == choose_dtype(torch.bfloat16, CPU) == torch.bfloat16


@pytest.mark.parametrize(("capability", "dtype"), [((7, 5), torch.float32), ((8, 0), torch.bfloat16)])
def test_a_card_that_only_emulates_bf16_gets_float32_and_no_varlen_attention(capability, dtype, monkeypatch):
    def is_bf16_supported(including_emulation: bool = True) -> bool:
        return including_emulation or capability >= (8, 0)

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_bf16_supported)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: capability)
    assert choose_dtype(None, torch.device("cuda")) == dtype
    assert not _has_varlen(torch.zeros(1))
    assert _has_varlen(torch.zeros(1, dtype=torch.float16)) == (capability >= (8, 0))


def test_an_unknown_precision_or_device_is_named():
    with pytest.raises(UserError, match="int4"):
        choose_dtype("int4", CPU)
    with pytest.raises(UserError, match="toaster"):
        choose_device("toaster")


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without CUDA")
def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(UserError, match="0 CUDA devices"):
        choose_device("cuda:0")


class Wide(torch.nn.Module):
    """A model that takes no memory: 12 layers of width 768, 2**28 weights."""

    def __init__(self, *, frozen: bool) -> None:
        super().__init__()
        self.config = SimpleNamespace(num_hidden_layers=12, hidden_size=768)
        weights = torch.empty(2**28, device="meta", dtype=torch.bfloat16 if frozen else torch.float32)
        self.weights = torch.nn.Parameter(weights, requires_grad=not frozen)


@pytest.mark.parametrize(
    ("free_gib", "given", "tokens"),
    [
        (12, {"frozen": False}, 8 * 1024),  # 4 GiB for weights, gradients and Adam
        (12, {"frozen": False, "half": False}, 8 * 512),
        (12, {"frozen": False, "num_shards": 2}, 10 * 1024),
        (8.5, {"frozen": True}, 8 * 1024),  # half a GiB for weights in bfloat16 that stay as they are
        (4, {"frozen": False}, 512),
    ],
)
def test_a_training_leaves_room_for_weights_gradients_and_adam(free_gib, given, tokens, monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (int(free_gib * 2**30), 80 * 2**30))
    shards, half = given.get("num_shards", 1), given.get("half", True)
    model = Wide(frozen=given["frozen"])
    found = training_budget(torch.device("cuda"), model, in_half_precision=half, num_shards=shards)
    assert found == tokens
    assert training_budget(CPU, model, in_half_precision=half) == devices.CPU_TOKEN_BUDGET
    assert token_budget(torch.device("cuda")) == max(4096, int(free_gib * 2048))


def test_a_cpu_micro_batch_stays_within_its_caches_whatever_the_model():
    assert token_budget(CPU, num_layers=2, hidden_size=32) == token_budget(CPU) == devices.CPU_TOKEN_BUDGET <= 4096
