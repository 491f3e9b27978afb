"""What a training run is told: the data and model flags, and transformers' own training flags with our defaults.

Every flag of `transformers.TrainingArguments` works; two that transformers 5 dropped (`overwrite_output_dir`,
`warmup_ratio`) are kept here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import TrainingArguments
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK, get_available_reporting_integrations
from transformers.trainer_utils import IntervalStrategy, SaveStrategy, SchedulerType

from sharprank.errors import UserError, check_seed
from sharprank.progress import say
from sharprank.training.choices import TRAINED_HEAD_LEARNING_RATE
from sharprank.training.data_config import DataOptions
from sharprank.training.engines import check_deepspeed
from sharprank.training.launcher import DEEPSPEED, FSDP, launched_with
from sharprank.training.loss_config import LossOptions
from sharprank.training.model_config import ModelOptions
from sharprank.training.start import check_share

__all__ = ["DataOptions", "LossOptions", "ModelOptions", "RerankTrainingArguments"]

SAVES_PER_RUN = 10

_UNTIL_SETTLED = {
    "per_device_train_batch_size": 8,
    "learning_rate": TRAINED_HEAD_LEARNING_RATE,
    "num_train_epochs": 3.0,
    "bf16": False,
}
"""What flags without a value hold until data and model are known: transformers does arithmetic with them at once."""

_OPEN = (*_UNTIL_SETTLED, "distillation_weight", "teacher_temperature", "start_share")


def _left_open(help_text: str) -> Any:
    """A flag that `settle` gives a value when data and model are known, unless the user gave one."""
    return field(default=None, metadata={"help": help_text})


@dataclass(kw_only=True)
class RerankTrainingArguments(LossOptions, TrainingArguments):
    """transformers' TrainingArguments with a reranker's defaults; batch sizes count groups, not pairs."""

    output_dir: str | None = field(default="rerank_output", metadata={"help": "where checkpoints and the model go"})
    per_device_train_batch_size: int = _left_open("groups a device and step; by default by the number of queries")
    learning_rate: float = _left_open("peak learning rate; by default by the head and the width of the model")
    num_train_epochs: float = _left_open("passes over the rows; by default by the number of queries")
    bf16: bool = _left_open("bfloat16 forward passes (weights stay float32); by default where the device is fast at it")
    start_share: float | None = _left_open(
        "how much the weights that training began with count in what is saved, beside the trained ones (WiSE-FT); by "
        "default 0.5 for a new head that ranks already, below 20,000 queries, else 0. Checkpoints stay as trained"
    )
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
    micro_batch_tokens: int | None = field(
        default=None, metadata={"help": "tokens of one forward pass; default by device. Changes memory, not results"}
    )
    early_stopping_patience: int | None = field(
        default=None, metadata={"help": "stop after this many evaluations without a better measure (needs --eval_data)"}
    )

    def __post_init__(self) -> None:
        self.left_open = frozenset(name for name in _OPEN if getattr(self, name) is None)
        for name, value in _UNTIL_SETTLED.items():
            if name in self.left_open:
                setattr(self, name, value)
        if self.warmup_ratio is not None:
            if not 0 <= self.warmup_ratio < 1:
                raise UserError(f"--warmup_ratio {self.warmup_ratio} is no share", fix="use a number from 0 to below 1")
            if self.warmup_ratio > 0 and not self.warmup_steps:
                self.warmup_steps = self.warmup_ratio
        check_seed(self.seed)
        self.objective()
        check_share(self.start_share, is_whole=self.has_whole_weights)
        self.report_to = _usable_trackers(self.report_to)
        check_deepspeed(self.deepspeed)
        self.ddp_backend = _usable_backend(self.ddp_backend)
        if self.ddp_static_graph:  # torch's reducer fails on it: steps differ in their number of backward passes
            say("note: --ddp_static_graph does not go with micro-batches, whose number varies; it is ignored")
            self.ddp_static_graph = False
        if not torch.cuda.is_available() and not torch.backends.mps.is_available():
            self.use_cpu = True  # transformers asks for it by name before it trains in bfloat16
        if self.use_cpu and self.fp16:
            raise UserError("--fp16 does not train on a CPU", fix="use --bf16 (where the CPU has it), or neither")
        self._measure_is_given = self.metric_for_best_model is not None
        if self.lr_scheduler_type == SchedulerType.REDUCE_ON_PLATEAU and not self.ranks_while_training:
            self.eval_strategy, self.eval_steps = IntervalStrategy(self.save_strategy), self.save_steps
        super().__post_init__()

    def settle(self, values: Mapping[str, Any]) -> None:
        """Set what was left open, and again what transformers made of it: the precision, DeepSpeed's file."""
        for name, value in values.items():
            setattr(self, name, value)
        if self.bf16:
            self.mixed_precision = "bf16"
        if self.deepspeed and values:
            self._read_deepspeed_file()

    @property
    def has_whole_weights(self) -> bool:
        """Whether every process has the whole model, as far as flags and the launcher say."""
        return not (self.fsdp or self.deepspeed or launched_with(FSDP) or launched_with(DEEPSPEED))

    def _read_deepspeed_file(self) -> None:
        from accelerate.utils import DeepSpeedPlugin
        from transformers.integrations.deepspeed import HfTrainerDeepSpeedConfig

        self.hf_deepspeed_config = HfTrainerDeepSpeedConfig(self.deepspeed)
        self.hf_deepspeed_config.trainer_config_process(self)
        self.deepspeed_plugin = DeepSpeedPlugin(hf_ds_config=self.hf_deepspeed_config)

    @property
    def ranks_while_training(self) -> bool:
        """Whether an evaluation strategy was asked for."""
        return IntervalStrategy(self.eval_strategy) != IntervalStrategy.NO

    def rank_while_training(self, measure: str = "nDCG@10") -> None:
        """Settings that follow from having evaluation data: evaluate when saving, keep the best checkpoint."""
        saves = SaveStrategy(self.save_strategy).value
        if not self.ranks_while_training and saves in ("steps", "epoch"):
            self.eval_strategy = IntervalStrategy(saves)
            self.eval_steps = self.save_steps
        if IntervalStrategy(self.eval_strategy).value == saves and self.eval_steps == self.save_steps:
            self.load_best_model_at_end = True
        if not self._measure_is_given:
            self.metric_for_best_model, self.greater_is_better = measure, True
        if self.lr_scheduler_type == SchedulerType.REDUCE_ON_PLATEAU:
            given = self.lr_scheduler_kwargs if isinstance(self.lr_scheduler_kwargs, dict) else {}
            self.lr_scheduler_kwargs = {"mode": "max" if self.greater_is_better else "min", **given}


def _usable_trackers(report_to: str | list[str] | None) -> str | list[str] | None:
    """The trackers asked for that are installed; one that is not must not stop a training."""
    if report_to is None or report_to in ("all", "none"):
        return report_to
    wanted = [report_to] if isinstance(report_to, str) else report_to
    there = {*get_available_reporting_integrations(), "all", "none"}
    for name in wanted:
        if name not in there and name not in INTEGRATION_TO_CALLBACK:
            raise UserError(f"--report_to {name} is unknown", fix=f"use one of: {', '.join(INTEGRATION_TO_CALLBACK)}")
        if name not in there:
            say(f"note: {name} is not installed here and gets no report")
    return [name for name in wanted if name in there] or "none"


def _usable_backend(backend: str | None) -> str | None:
    """The backend asked for where it can work: none without torchrun (transformers would fail), gloo without CUDA."""
    if backend is None or "RANK" not in os.environ:
        return None
    if backend == "nccl" and not torch.cuda.is_available():
        say("note: --ddp_backend nccl needs CUDA, which is not here; gloo is used")
        return "gloo"
    return backend
