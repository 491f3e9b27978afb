"""What a training run is told: the data and model flags, and transformers' own training flags with our defaults.

Every flag of `transformers.TrainingArguments` works; two that transformers 5 dropped (`overwrite_output_dir`,
`warmup_ratio`) are kept here.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import torch
from transformers import TrainingArguments
from transformers.trainer_utils import IntervalStrategy, SaveStrategy

from sharprank.errors import UserError
from sharprank.losses.catalog import LOSSES
from sharprank.progress import say
from sharprank.training.engines import check_deepspeed
from sharprank.training.model_config import ModelOptions

__all__ = ["DataOptions", "ModelOptions", "RerankTrainingArguments"]

SAVES_PER_RUN = 10


@dataclass(kw_only=True)
class DataOptions:
    """Which groups to train on."""

    train_data: str = field(
        metadata={"help": "rows {query, pos, neg}: a file, a folder, or a Hugging Face dataset (hub id or folder)"}
    )
    sub_data_name: str | None = field(default=None, metadata={"help": "subset (configuration) of the dataset"})
    eval_data: str | None = field(
        default=None, metadata={"help": "rows to rank during training: all their positives against all their negatives"}
    )
    eval_sub_data_name: str | None = field(default=None, metadata={"help": "subset of the evaluation dataset"})
    eval_split: str | None = field(default=None, metadata={"help": "split of the evaluation data (default: test)"})
    train_group_size: int = field(
        default=8, metadata={"help": "passages a query and step: 1 positive, the rest negatives"}
    )
    max_len: int | None = field(
        default=None, metadata={"help": "tokens of a pair; default 512, or the model's limit if lower"}
    )
    query_max_len: int | None = field(default=None, metadata={"help": "tokens a query keeps; default 3/4 of max_len"})
    query_key: str = field(default="query", metadata={"help": "name of the query field"})
    positive_key: str = field(default="pos", metadata={"help": "name of the positives field"})
    negative_key: str = field(default="neg", metadata={"help": "name of the negatives field"})
    on_bad_row: str = field(
        default="error", metadata={"help": "error: stop at the first bad row; skip: skip and count"}
    )

    def check(self) -> None:
        """Refuse what cannot work, before anything is read."""
        if self.train_group_size < 2:
            raise UserError(
                f"--train_group_size {self.train_group_size} leaves no room for a negative",
                fix="use --train_group_size 2 or more (8 is the default)",
            )
        if self.on_bad_row not in ("error", "skip"):
            raise UserError(f"--on_bad_row {self.on_bad_row!r} is unknown", fix="use error or skip")


@dataclass(kw_only=True)
class RerankTrainingArguments(TrainingArguments):
    """transformers' TrainingArguments with a reranker's defaults; batch sizes count groups, not pairs."""

    output_dir: str | None = field(default="rerank_output", metadata={"help": "where checkpoints and the model go"})
    per_device_train_batch_size: int = field(default=32, metadata={"help": "groups a device and step"})
    learning_rate: float = field(default=2e-5, metadata={"help": "peak learning rate"})
    num_train_epochs: float = field(default=3.0, metadata={"help": "passes over the rows"})
    logging_steps: float = field(default=10, metadata={"help": "steps between two logged losses"})
    save_steps: float = field(
        default=1 / SAVES_PER_RUN,
        metadata={"help": "steps between checkpoints, or a share of the run (0.1: ten a run)"},
    )
    save_total_limit: int | None = field(default=3, metadata={"help": "checkpoints kept, the best one among them"})
    ddp_find_unused_parameters: bool | None = field(
        default=False, metadata={"help": "rarely needed: every parameter of a cross-encoder is used"}
    )
    overwrite_output_dir: bool = field(
        default=False, metadata={"help": "discard what an earlier run left in output_dir"}
    )
    warmup_ratio: float | None = field(
        default=0.1, metadata={"help": "share of the steps spent warming up (--warmup_steps wins; 0 for none)"}
    )
    loss: str = field(default="listwise_ce", metadata={"help": f"one of: {', '.join(LOSSES)}"})
    micro_batch_tokens: int | None = field(
        default=None, metadata={"help": "tokens of one forward pass; default by device. Changes memory, not results"}
    )
    early_stopping_patience: int | None = field(
        default=None, metadata={"help": "stop after this many evaluations without a better measure (needs --eval_data)"}
    )

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise UserError(f"--loss {self.loss!r} is unknown", fix=f"use one of: {', '.join(LOSSES)}")
        if self.warmup_ratio is not None:
            if not 0 <= self.warmup_ratio < 1:
                raise UserError(f"--warmup_ratio {self.warmup_ratio} is no share", fix="use a number from 0 to below 1")
            if self.warmup_ratio > 0 and not self.warmup_steps:
                self.warmup_steps = self.warmup_ratio
        check_deepspeed(self.deepspeed)
        self.ddp_backend = _usable_backend(self.ddp_backend)
        if not torch.cuda.is_available() and not torch.backends.mps.is_available():
            self.use_cpu = True  # transformers asks for it by name before it trains in bfloat16
        if self.use_cpu and self.fp16:
            raise UserError("--fp16 does not train on a CPU", fix="use --bf16 (where the CPU has it), or neither")
        super().__post_init__()

    @property
    def ranks_while_training(self) -> bool:
        """Whether an evaluation strategy was asked for."""
        return IntervalStrategy(self.eval_strategy) != IntervalStrategy.NO

    def rank_while_training(self) -> None:
        """Settings that follow from having evaluation data: evaluate when saving, keep the best checkpoint."""
        saves = SaveStrategy(self.save_strategy).value
        if not self.ranks_while_training and saves in ("steps", "epoch"):
            self.eval_strategy = IntervalStrategy(saves)
            self.eval_steps = self.save_steps
        if IntervalStrategy(self.eval_strategy).value == saves and self.eval_steps == self.save_steps:
            self.load_best_model_at_end = True
        if self.metric_for_best_model is None:
            self.metric_for_best_model = "nDCG@10"
        if self.greater_is_better is None:
            self.greater_is_better = not self.metric_for_best_model.endswith("loss")


def _usable_backend(backend: str | None) -> str | None:
    """The backend asked for where it can work: none without torchrun (transformers would fail), gloo without CUDA."""
    if backend is None or "RANK" not in os.environ:
        return None
    if backend == "nccl" and not torch.cuda.is_available():
        say("note: --ddp_backend nccl needs CUDA, which is not here; gloo is used")
        return "gloo"
    return backend
