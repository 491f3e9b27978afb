"""A training's size: useful tokens (those of pairs cut to the pair length, without padding) to steps, and what it took.

The tokens of a step are what the rows give on average; the tokens trained on are counted at the model's door.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TOLERANCE = 0.03
"""How far the tokens counted may be from the budget, unless a single step is more than that."""


@dataclass
class Effort:
    """What a training took.

    Attributes:
        steps: optimiser steps.
        tokens: useful tokens that went forward in training mode.
        wall, cpu: seconds, data path included, mining and loading not; `cpu` of all threads.
    """

    steps: int
    tokens: int = 0
    wall: float = 0.0
    cpu: float = 0.0

    def __add__(self, other: Effort) -> Effort:
        """One training after another."""
        return Effort(
            self.steps + other.steps, self.tokens + other.tokens, self.wall + other.wall, self.cpu + other.cpu
        )


@dataclass(frozen=True)
class Pace:
    """Useful tokens by step and by epoch, as far as rows say beforehand.

    Attributes:
        step: tokens of a full step.
        epoch: tokens of a whole epoch, a short last step included unless it is dropped.
        steps: of an epoch.
    """

    step: float
    epoch: float
    steps: int

    @classmethod
    def of(cls, units: Sequence[float], *, a_step: int, drop_last: bool = False) -> Pace:
        """The pace over units (groups or pairs) with these expected tokens, so many of them a step."""
        mean, num_steps = sum(units) / len(units), len(units) // a_step
        if drop_last:
            return cls(a_step * mean, a_step * mean * num_steps, num_steps)
        return cls(a_step * mean, mean * len(units), -(-len(units) // a_step))

    def steps_for(self, tokens: float) -> int:
        """The number of whole steps that comes nearest, at least one.

        >>> Pace.of([10.0] * 5, a_step=2).steps_for(120)  # two epochs of 2 + 2 + 1 units, and a step
        7
        """
        epochs, rest = divmod(tokens, self.epoch)
        return max(1, int(epochs) * self.steps + min(self.steps, round(rest / self.step)))


def check_tokens(effort: Effort, budget: int) -> None:
    """Refuse a training whose tokens are not the budget's, as far as whole steps allow.

    Raises:
        ValueError: they are further away than TOLERANCE and than one step.
    """
    allowed = max(TOLERANCE * budget, effort.tokens / effort.steps)
    if abs(effort.tokens - budget) > allowed:
        raise ValueError(f"{effort.tokens} tokens were trained on in {effort.steps} steps, and the budget is {budget}")


def half_precision() -> Any:
    """The dtype that stands for every system's half precision here: bfloat16 where the device is fast at it."""
    from sharprank.models.devices import choose_device, choose_dtype

    return choose_dtype("auto", choose_device())


@contextlib.contextmanager
def measured(model: Any, *, steps: int) -> Iterator[Effort]:
    """Count what passes through a transformers model while it trains, and the time until the block ends."""
    effort = Effort(steps)

    forward = model.forward

    @functools.wraps(forward)
    def counted(*args: Any, **kwargs: Any) -> Any:
        if model.training:
            effort.tokens += int(kwargs["attention_mask"].sum())
        return forward(*args, **kwargs)

    model.forward = counted  # not a hook: sentence-transformers calls `forward` itself
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        yield effort
    finally:
        effort.wall, effort.cpu = time.perf_counter() - wall, time.process_time() - cpu
        model.forward = forward


@dataclass(frozen=True)
class Cut:
    """How a system cuts its pairs (tokens); None: no limit of its own for that part."""

    pair: int
    query: int | None = None
    passage: int | None = None

    def length(self, query: int, passage: int, *, special: int = 3) -> int:
        """Tokens of a pair whose parts have so many.

        >>> Cut(128).length(20, 300)
        128
        """
        query, passage = min(query, self.query or query), min(passage, self.passage or passage)
        return min(self.pair, query + passage + special)


class Lengths:
    """Tokens of texts without special tokens, by the tokenizer in `start`; each text is tokenised once."""

    def __init__(self, start: Path, texts: Iterable[str]) -> None:
        from transformers import AutoTokenizer

        tokenizer: Any = AutoTokenizer.from_pretrained(start)
        distinct = list(dict.fromkeys(texts))
        ids = tokenizer(distinct, add_special_tokens=False, verbose=False)["input_ids"] if distinct else []
        self._lengths = {text: len(row) for text, row in zip(distinct, ids, strict=True)}

    def mean(self, query: str, passages: Sequence[str], cut: Cut) -> float:
        """Mean tokens of a query's pairs with these passages."""
        return sum(cut.length(self._lengths[query], self._lengths[text]) for text in passages) / len(passages)
