"""What a training run chooses where no flag says it: by the head it starts from, the width, the queries, the device.

One table and the rules that read it, for `sharprank train` and whatever calls it. A flag that was given is never
touched. What was chosen is recorded in the output folder, and a run that is continued takes it from there. Knows
numbers and settings only: no files, no models.

Evidence: docs/recipes.md.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

TRAINED_HEAD_LEARNING_RATE = 2e-5
"""Of a reranker that is fine-tuned further."""

RANKING_HEAD_LEARNING_RATE = 1e-4
"""Of a new head that ranks before any training, up to the same width: larger steps lose what it starts with."""

START_SHARE = ((20_000, 0.0), (0, 0.5))
"""Of the start in the weights that are saved, for such a head: few queries teach less than they make it forget."""

NEW_HEAD_LEARNING_RATE, OF_WIDTH = 2e-4, 384
"""Of a model whose head is new, and the width (hidden size) up to which it is taken. Wider ones get less, by the square
of the ratio: 5e-5 at 768 and 2.8e-5 at 1024, within what is published for such models (Devlin et al., NAACL 2019:
2e-5 to 5e-5), where the ratio itself would be above it and large models diverge."""

GROUPS_A_STEP = ((20_000, 32), (5_000, 16), (0, 8))
EPOCHS = ((20_000, 1.0), (2_000, 2.0), (0, 3.0))
"""(from so many queries to train on, value): few queries need small steps and several passes."""

NEW_HEAD_DROPOUT: float | None = 0.0
NEW_HEAD_DROPOUT_UP_TO_PASSES = 2.0
"""Dropout under a new head where no query is seen more often than this; elsewhere, and with None, the model's own."""

SIMILARITIES_WEIGHT, SIMILARITIES_TEMPERATURE = 1.0, 0.05
"""The miner's cosines as a teacher's scores, beside the labels: embedding models are usually trained with such a
temperature."""

HELD_OUT_SHARE, HELD_OUT_FROM, HELD_OUT_AT_MOST = 0.1, 500, 500
"""Queries kept from training to compare with the first stage at the end, and from how many that can be compared on."""


@dataclass(frozen=True)
class Choice:
    """A value that was chosen, and why, in a few words."""

    value: Any
    why: str


Choices = dict[str, Choice]
"""By the name of the flag."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the choices look at.

    Attributes:
        head_is_new: the model has never been trained to rank.
        ranks_already: it ranks all the same, by the similarities of tokens and texts (`late`).
        width: its hidden size.
        num_queries: to train on.
        max_steps: as the flag; above 0 it counts in place of epochs.
        adapter_rate: the learning rate of adapters, where one is trained in the place of the weights.
        has_whole_weights: every process has the whole model, and all of it is trained.
        shares: processes x accumulation, which the groups of a step are divided by.
        has_similarities: the miner's are there for all passages, no other teacher is, and the loss leaves room for one.
        has_fast_bf16: the device is faster in bfloat16, and nobody else (an engine, a launcher) has a say.
    """

    head_is_new: bool
    width: int
    num_queries: int
    ranks_already: bool = False
    adapter_rate: float | None = None
    has_whole_weights: bool = True
    max_steps: int = -1
    shares: int = 1
    has_similarities: bool = False
    has_fast_bf16: bool = False

    @property
    def head(self) -> str:
        if not self.head_is_new:
            return "trained head"
        return f"new head{' that ranks already' if self.ranks_already else ''}, width {self.width}"

    @property
    def queries(self) -> str:
        return f"{self.num_queries:,} queries"


def by_number(table: Sequence[tuple[int, float]], number: int) -> float:
    """The value of the first line whose bound is not above the number.

    >>> by_number(((20, 1), (0, 2)), 19), by_number(((20, 1), (0, 2)), 20)
    (2, 1)
    """
    return next(value for bound, value in table if number >= bound)


def learning_rate(*, head_is_new: bool, width: int, ranks_already: bool = False) -> float:
    """A peak learning rate, to two digits: wide models and trained heads want small steps.

    >>> [learning_rate(head_is_new=True, width=width) for width in (128, 384, 768, 1024)]
    [0.0002, 0.0002, 5e-05, 2.8e-05]
    """
    if not head_is_new:
        return TRAINED_HEAD_LEARNING_RATE
    widest = RANKING_HEAD_LEARNING_RATE if ranks_already else NEW_HEAD_LEARNING_RATE
    return float(f"{widest * min(1.0, OF_WIDTH / width) ** 2:.1e}")


def held_out_share(num_queries: int) -> float:
    """The share that is kept for the comparison at the end, of so many distinct queries that can be compared.

    >>> held_out_share(499), held_out_share(500), held_out_share(50_000)
    (0.0, 0.1, 0.01)
    """
    if num_queries < HELD_OUT_FROM:
        return 0.0
    return min(HELD_OUT_SHARE, HELD_OUT_AT_MOST / num_queries)


def choose(left_open: Collection[str], given: Mapping[str, Any], facts: Facts) -> Choices:
    """Values for the flags that were left open.

    Args:
        left_open: names of flags without a value.
        given: the values of the others that choices depend on, by name.
        facts: see there.
    """
    found: Choices = {}

    def take(name: str, value: Any, why: str) -> None:
        if name in left_open:
            found[name] = Choice(value, why)

    def settled(name: str) -> Any:
        return found[name].value if name in found else given.get(name)

    rate = learning_rate(head_is_new=facts.head_is_new, width=facts.width, ranks_already=facts.ranks_already)
    why = facts.head if facts.adapter_rate is None else "adapter"
    take("learning_rate", facts.adapter_rate or rate, why)
    groups = by_number(GROUPS_A_STEP, facts.num_queries)
    take("per_device_train_batch_size", max(1, -(-int(groups) // facts.shares)), facts.queries)
    if facts.max_steps <= 0:
        take("num_train_epochs", by_number(EPOCHS, facts.num_queries), facts.queries)
    passes = settled("num_train_epochs")
    if facts.max_steps > 0:
        passes = facts.max_steps * settled("per_device_train_batch_size") * facts.shares / facts.num_queries
    if facts.head_is_new and NEW_HEAD_DROPOUT is not None and passes <= NEW_HEAD_DROPOUT_UP_TO_PASSES:
        take("dropout", NEW_HEAD_DROPOUT, "new head, few passes")
    if facts.has_similarities and facts.head_is_new and not facts.ranks_already:
        take("distillation_weight", SIMILARITIES_WEIGHT, "new head, rows with the miner's similarities")
    if facts.has_similarities and settled("distillation_weight"):
        take("teacher_temperature", SIMILARITIES_TEMPERATURE, "cosines")
    if facts.ranks_already and facts.has_whole_weights:
        take("start_share", by_number(START_SHARE, facts.num_queries), "new head that ranks already")
    if facts.has_fast_bf16:
        take("bf16", True, "fast here")
    return found


def spoken(choices: Choices) -> str:
    """The choices as flags, with the reasons.

    >>> spoken({"learning_rate": Choice(2e-4, "new head"), "bf16": Choice(True, "fast here")})
    '--learning_rate 0.0002 (new head), --bf16 True (fast here)'
    """
    by_why: dict[str, list[str]] = {}
    for name, choice in choices.items():
        value = f"{choice.value:g}" if isinstance(choice.value, float) else choice.value
        by_why.setdefault(choice.why, []).append(f"--{name} {value}")
    return ", ".join(f"{' '.join(flags)} ({why})" for why, flags in by_why.items())


def as_record(choices: Choices) -> dict[str, dict[str, Any]]:
    """For the file that describes the run."""
    return {name: asdict(choice) for name, choice in choices.items()}


def from_record(record: Mapping[str, Mapping[str, Any]]) -> Choices:
    """What `as_record` wrote."""
    return {name: Choice(found["value"], found["why"]) for name, found in record.items()}
