"""From flags left open to a run's settings: what `choices` decides, or what the continued run decided when it began."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from accelerate.utils import broadcast_object_list

from sharprank.losses.catalog import Objective
from sharprank.losses.groups import RELEVANCE, TEACHER_SCORES
from sharprank.models.checkpoint import Checkpoint
from sharprank.models.devices import bf16_is_fast
from sharprank.models.lora import ADAPTER_LEARNING_RATE
from sharprank.progress import say
from sharprank.training.choices import Choices, Facts, choose, spoken
from sharprank.training.config import ModelOptions, RerankTrainingArguments
from sharprank.training.data import TrainingData
from sharprank.training.launcher import launcher_decides_precision
from sharprank.training.resume import Begun, begun_run

GROUPS = "per_device_train_batch_size"


def settle(
    options: ModelOptions, args: RerankTrainingArguments, read: TrainingData, checkpoint: Checkpoint
) -> tuple[ModelOptions, TrainingData, Choices]:
    """Fill in what was left open, in `args` in place, and say it.

    A run that is continued keeps what it chose when it began, also where the table or the machine has changed since.

    Returns:
        The model's flags, the data (with a teacher where one was chosen), and what was chosen.
    """
    left_open = set(args.left_open) | ({"dropout"} if options.dropout is None else set())
    if args.knowledge_distillation:
        left_open -= {"distillation_weight"}
    choices = _agreed(lambda: _choices(left_open, options, args, read, checkpoint), args)
    if not checkpoint.trained and not checkpoint.ranks_already and 0 < read.num_similar < len(read.train):
        lacking = f"{len(read.train) - read.num_similar:,} of {len(read.train):,} queries"
        say(f"note: {lacking} have passages without the miner's similarity, so similarities teach nothing here")
    if choices:
        say(f"chosen (a flag overrules): {spoken(choices)}")
    was_distilled = args.objective().is_distilled
    values = {name: choice.value for name, choice in choices.items()}
    if "dropout" in values:
        options = replace(options, dropout=values.pop("dropout"))
    args.settle(values)
    if args.objective().is_distilled and not was_distilled and read.has_similarities:
        read = read.taught_by_similarities()
    return options, read, choices


def _agreed(decide: Callable[[], Choices], args: RerankTrainingArguments) -> Choices:
    """What the first rank decides: how fast a device is, two ranks may measure differently."""
    found: list[Any] = [decide() if args.process_index == 0 else None]
    return broadcast_object_list(found)[0]


def _choices(
    left_open: set[str],
    options: ModelOptions,
    args: RerankTrainingArguments,
    read: TrainingData,
    checkpoint: Checkpoint,
) -> Choices:
    objective = args.objective()
    given = {
        "num_train_epochs": args.num_train_epochs,
        GROUPS: args.per_device_train_batch_size,
        "distillation_weight": 1.0 if objective.is_distilled else None,
    }
    facts = Facts(
        head_is_new=not checkpoint.trained,
        ranks_already=checkpoint.ranks_already,
        adapter_rate=ADAPTER_LEARNING_RATE if options.use_lora else None,
        has_whole_weights=args.has_whole_weights and not options.use_lora,
        width=_width(checkpoint.config),
        num_queries=len(read.train),
        max_steps=args.max_steps,
        shares=args.world_size * args.gradient_accumulation_steps,
        has_similarities=read.has_similarities and _has_room_for_a_teacher(objective),
        has_fast_bf16="bf16" in left_open and _bf16_pays(args),
    )
    chosen = choose(left_open, given, facts)
    if args.overwrite_output_dir:
        return chosen
    return _continued(chosen, begun_run(Path(str(args.output_dir))), left_open, world_size=args.world_size)


def _continued(chosen: Choices, begun: Begun, left_open: set[str], *, world_size: int) -> Choices:
    """The choices of a run that goes on: those it began with, for the number of processes that there are now.

    What it left alone then (bfloat16 on a slow machine, say) stays so.
    """
    before = {name: choice for name, choice in begun.chosen.items() if name in left_open}
    groups = before.get(GROUPS)
    if groups is not None:
        in_all = begun.settings.get("global_batch_size", groups.value * world_size)
        before[GROUPS] = replace(groups, value=-(-in_all // world_size))
    return {name: choice for name, choice in chosen.items() if not begun.left_alone(name)} | before


def _has_room_for_a_teacher(objective: Objective) -> bool:
    """Whether similarities can teach beside the labels: not where pairs are taken one by one, or scores alone teach."""
    if objective.is_distilled:
        return True
    return objective.compares and RELEVANCE in objective.needs and TEACHER_SCORES not in objective.needs


def _bf16_pays(args: RerankTrainingArguments) -> bool:
    if args.fp16 or args.deepspeed or launcher_decides_precision():
        return False
    return bf16_is_fast(args.device)


def _width(config: Any) -> int:
    return int(getattr(config.get_text_config(), "hidden_size", 768))
