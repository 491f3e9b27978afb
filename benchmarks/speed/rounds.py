"""Interleaved rounds, the ceiling of the machine, and what a run of them says.

A, B, C, A, B, C, ...: whatever else the machine does then falls on all sides alike. Wall and processor time are both
kept; a round in which a side waited for the processor (processor time below 0.9 of threads x wall) is counted.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F

from sharprank.models.onednn import OneDnnLinear

Work = Callable[[], object]


@dataclass
class Timing:
    """Seconds of one side, a number a round."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    @property
    def median_wall(self) -> float:
        return statistics.median(self.wall)

    @property
    def median_cpu(self) -> float:
        return statistics.median(self.cpu)


def interleave(
    sides: Mapping[str, Work], *, rounds: int, warm: bool = False, say: Callable[[str], None] = print
) -> dict[str, Timing]:
    """Run every side once to warm up (unless it is `warm`: has run before), then `rounds` times in turn."""
    timings = {name: Timing() for name in sides}
    for name, work in () if warm else sides.items():
        say(f"  warm-up: {name}")
        work()
    for number in range(rounds):
        for name, work in sides.items():
            wall, cpu = time.perf_counter(), time.process_time()
            work()
            timings[name].wall.append(time.perf_counter() - wall)
            timings[name].cpu.append(time.process_time() - cpu)
        say(f"  round {number + 1}/{rounds}: " + ", ".join(f"{n} {t.wall[-1]:.2f} s" for n, t in timings.items()))
    return timings


def ratio(slow: Timing, fast: Timing) -> dict[str, float]:
    """How many times faster `fast` is: median, lowest and highest of the rounds' ratios, and by processor time."""
    walls = [a / b for a, b in zip(slow.wall, fast.wall, strict=True)]
    cpus = [a / b for a, b in zip(slow.cpu, fast.cpu, strict=True)]
    return {
        "wall": statistics.median(walls),
        "lowest": min(walls),
        "highest": max(walls),
        "cpu": statistics.median(cpus),
    }


def quiet_share(timings: Sequence[Timing]) -> float:
    """Share of measurements in which the side got the processor it asked for."""
    threads = torch.get_num_threads()
    pairs = [(w, c) for t in timings for w, c in zip(t.wall, t.cpu, strict=True)]
    return sum(cpu >= 0.9 * wall * min(1, threads) for wall, cpu in pairs) / len(pairs)


CEILING_SHAPES = ((384, 384, 4), (384, 1536, 1), (1536, 384, 1))
"""(inputs, outputs, how many a layer): the matrix products of one MiniLM layer."""


def gemm_ceiling(
    dtype: torch.dtype,
    *,
    by_onednn: bool = False,
    clock: Callable[[], float] = time.perf_counter,
    tokens: int = 2048,
    repeats: int = 20,
) -> float:
    """GFLOP/s of MiniLM's own matrix products on this machine: the median over `repeats` runs of one layer's worth.

    Median and not best, because what it is compared with are medians as well.

    Args:
        by_onednn: with the products that inference uses on CPU, the weights laid out before the clock starts.
        clock: what counts the seconds.
    """
    layers = []
    for inputs, outputs, count in CEILING_SHAPES:
        layer = OneDnnLinear(inputs, outputs, bias=False, dtype=dtype)
        layer.keeps = True
        layers.append((torch.randn(tokens, inputs, dtype=dtype), layer if by_onednn else _of(layer), count))
    flops = sum(2 * tokens * inputs * outputs * count for inputs, outputs, count in CEILING_SHAPES)
    seconds = []
    with torch.inference_mode():
        for _ in range(repeats + 3):
            start = clock()
            for x, multiply, count in layers:
                for _ in range(count):
                    multiply(x)
            seconds.append(clock() - start)
    return flops / statistics.median(seconds[3:]) / 1e9


def _of(layer: torch.nn.Linear) -> Callable[[torch.Tensor], torch.Tensor]:
    """The layer's product by torch."""
    return lambda x: F.linear(x, layer.weight)


def model_flops(lengths: Sequence[int], *, layers: int = 6, hidden: int = 384, inner: int = 1536) -> float:
    """FLOPs of one forward pass over useful tokens, as the model defines it: no padding, no shortcut subtracted."""
    matrices = layers * 2 * (4 * hidden * hidden + 2 * hidden * inner) * sum(lengths)
    attention = layers * 4 * hidden * sum(length * length for length in lengths)
    return float(matrices + attention)
