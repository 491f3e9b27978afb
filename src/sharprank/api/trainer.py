"""`RerankTrainer` as open-retrievals has it: transformers' Trainer for `AutoModelForRanking` and labelled pairs.

`sharprank train` trains on whole groups and is what to use for new work; this class is for code that exists.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import Sampler
from transformers import Trainer, TrainerCallback

from sharprank.api.data import RerankCollator, RerankDataset
from sharprank.api.ranking import AutoModelForRanking
from sharprank.errors import UserError
from sharprank.models.loading import refuse_other_weights, refuse_partial


class RerankTrainer(Trainer):
    """Trains an `AutoModelForRanking` on pairs; the loss is the model's, or `loss_fn`.

    `optimizer` and `scheduler` may be assigned after construction and are used.

    Args:
        model: an `AutoModelForRanking`.
        args: transformers' TrainingArguments; batch sizes count pairs.
        loss_fn: in place of the model's loss.
        kwargs: as for transformers' Trainer.
    """

    def __init__(self, model: Any, args: Any = None, *, loss_fn: Any = None, **kwargs: Any) -> None:
        if not isinstance(model, AutoModelForRanking):
            raise UserError(
                f"RerankTrainer trains an AutoModelForRanking, and this is a {type(model).__name__}",
                fix="wrap it: AutoModelForRanking(model, tokenizer)",
            )
        if loss_fn is not None:
            model.loss_fn = loss_fn
        if args is not None:
            args.remove_unused_columns = False  # the collator needs the texts
        collator = kwargs.setdefault("data_collator", RerankCollator(model.tokenizer, model.max_length))
        if isinstance(collator, RerankCollator):
            collator.use_prompt(model.prompt, guarded=model.compares_tokens)
        self.whole_groups: _WholeGroups | None = None
        super().__init__(model=model, args=args, **kwargs)
        _check_groups(model.train_group_size, self.args.per_device_train_batch_size, self.train_dataset)
        self.add_callback(_NewDraws(self))

    @property
    def scheduler(self) -> Any:
        """The learning rate scheduler, by the name it is assigned under."""
        return self.lr_scheduler

    @scheduler.setter
    def scheduler(self, scheduler: Any) -> None:
        self.lr_scheduler = scheduler

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        size = self.accelerator.unwrap_model(self.model).train_group_size
        dataset: Any = self.train_dataset if train_dataset is None else train_dataset
        if size == 1:
            return super()._get_train_sampler(train_dataset)
        self.whole_groups = _WholeGroups(len(dataset), size=size, seed=self.args.seed)
        return self.whole_groups

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Load a checkpoint's weights; an adapter's into the adapter, which transformers does not see in the model."""
        if not self._load_adapter(resume_from_checkpoint):
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _load_best_model(self) -> None:
        if not self._load_adapter(str(self.state.best_model_checkpoint)):
            super()._load_best_model()

    def _load_adapter(self, folder: str) -> bool:
        """Load an adapter's weights; False where none is trained."""
        model = self.accelerator.unwrap_model(self.model).model
        if not hasattr(model, "peft_config"):
            return False
        refuse_other_weights(model, folder)
        model.load_adapter(folder, model.active_adapter, is_trainable=True)
        return True

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        refuse_partial(self.model, load_result)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        if self.args.should_save:
            folder = output_dir or self.args.output_dir
            self.accelerator.unwrap_model(self.model).save_pretrained(folder)
            torch.save(self.args, f"{folder}/training_args.bin")


def _check_groups(size: int, batch_size: int, dataset: Any) -> None:
    if size == 1 or dataset is None:
        return
    if batch_size % size:
        raise UserError(
            f"per_device_train_batch_size {batch_size} is not made of groups of {size} pairs (train_group_size)",
            fix=f"use a multiple of {size}",
        )
    uneven = not isinstance(dataset, RerankDataset) or any(len(r.negatives) < size - 1 for r in dataset.rows)
    if uneven or dataset.num_negatives != size - 1:
        raise UserError(
            f"train_group_size {size} needs a RerankDataset of that group size, with {size - 1} negatives in every row",
            fix="use sharprank train, which takes groups of any size",
        )


class _WholeGroups(Sampler[int]):
    """Indices of all pairs, groups of neighbours together, the groups in an order drawn from (seed, epoch) alone."""

    def __init__(self, length: int, *, size: int, seed: int) -> None:
        self.length, self.size = length, size
        self.seed, self.epoch = seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Take the order of this epoch from now on."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed)
        orders = (torch.randperm(self.length // self.size, generator=generator) for _ in range(self.epoch + 1))
        *_, order = orders
        for group in order.tolist():
            yield from range(group * self.size, (group + 1) * self.size)


class _NewDraws(TrainerCallback):
    """Draws positives and negatives anew at each epoch's start, where the dataset can, and the order of whole groups.

    That epoch is told to the order here, because several processes that resume put it where no loader finds it.
    """

    def __init__(self, trainer: RerankTrainer) -> None:
        self.trainer = trainer

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        for drawn in (self.trainer.train_dataset, self.trainer.whole_groups):
            set_epoch = getattr(drawn, "set_epoch", None)
            if set_epoch is not None:
                set_epoch(int(state.epoch or 0))
