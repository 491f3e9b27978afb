"""What a training is going to do in numbers, said before its first step: queries, passages, batches, steps."""

from __future__ import annotations

from sharprank.progress import say
from sharprank.records import Group
from sharprank.training.config import DataOptions, RerankTrainingArguments
from sharprank.training.data import TrainingData


def say_arithmetic(read: TrainingData, data: DataOptions, args: RerankTrainingArguments, *, max_length: int) -> None:
    """Say it.

    Args:
        max_length: tokens of a pair.
    """
    batch = args.per_device_train_batch_size * args.world_size * args.gradient_accumulation_steps
    say(_spoken(read))
    if read.max_positives is not None:
        missing = [_num_lowest(group) < data.train_group_size - read.max_positives for group in read.train]
        if any(missing):
            fewer = f"{sum(missing)} rows have fewer than {data.train_group_size - read.max_positives} negatives"
            say(f"note: {fewer}; their groups are smaller")
    steps = args.max_steps if args.max_steps > 0 else int(args.num_train_epochs * -(-len(read.train) // batch))
    say(
        f"loss {args.objective()}; groups of {data.train_group_size}, pairs of at most {max_length} tokens; "
        f"{args.per_device_train_batch_size} groups x {args.world_size} processes x "
        f"{args.gradient_accumulation_steps} accumulation = {batch} groups a step; about {steps} steps"
    )


def _spoken(read: TrainingData) -> str:
    evaluated = f"; {len(read.evaluation)} queries to evaluate on" if read.evaluation else ""
    sizes = sorted(len(group.passages) for group in read.train)
    if read.max_positives is None or any(group.relevance is None for group in read.train):
        spread = f"{sizes[0]} to {sizes[-1]} passages each (median {sizes[len(sizes) // 2]})"
        return f"{len(read.train)} queries, {spread}{evaluated}"
    negatives = sorted(_num_lowest(group) for group in read.train)
    return (
        f"{len(read.train)} queries, {sum(sizes) - sum(negatives)} positives, "
        f"{negatives[0]} to {negatives[-1]} negatives each (median {negatives[len(negatives) // 2]}){evaluated}"
    )


def _num_lowest(group: Group) -> int:
    """Passages of the lowest relevance: a row's negatives; none where nothing is higher."""
    relevance = group.relevance or (1.0,)
    return relevance.count(min(relevance)) if min(relevance) < max(relevance) else 0
