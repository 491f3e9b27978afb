"""What our training step has to know of the engine it runs in (DDP, FSDP, DeepSpeed); everything else is the engine's.

Where weights are sharded, every forward and backward pass is a meeting of all ranks: a rank with fewer micro-batches
than another takes part with repeated ones that count nothing, and nobody scores on its own.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import DistributedType, gather_object

from sharprank.errors import UserError
from sharprank.progress import say
from sharprank.training.groups import GroupBatch
from sharprank.training.launcher import FSDP, launched_with


def check_deepspeed(config: Any) -> None:
    """Refuse `--deepspeed FILE` where it cannot work, before anything is read.

    Raises:
        UserError: DeepSpeed is not installed, or there is no such file.
    """
    if config is None or isinstance(config, dict):
        return
    if importlib.util.find_spec("deepspeed") is None:
        raise UserError(
            "--deepspeed needs DeepSpeed, which is not installed", fix="install it: pip install 'sharprank[deepspeed]'"
        )
    if not Path(config).is_file():
        raise UserError(f"--deepspeed {config} does not exist", fix="name a file, configs/ds_stage2.json for instance")


@contextlib.contextmanager
def whole_weights(args: Any) -> Iterator[None]:
    """Load weights whole where ZeRO 3 would share them out at once: heads and adapters are made of whole ones.

    DeepSpeed shares them out when training begins, as it does for a model that is not transformers' own.
    """
    from transformers.integrations import deepspeed

    config = getattr(args, "hf_deepspeed_config", None)
    if config is not None:
        deepspeed.unset_hf_deepspeed_config()
    try:
        yield
    finally:
        if config is not None:
            deepspeed.set_hf_deepspeed_config(config)


class Engine:
    """The engine of one trainer.

    Args:
        accelerator: transformers' Trainer made it.
    """

    def __init__(self, accelerator: Any) -> None:
        self.accelerator = accelerator
        kind = accelerator.distributed_type
        self.is_deepspeed = kind == DistributedType.DEEPSPEED
        self.is_fsdp = kind == DistributedType.FSDP
        stage = accelerator.state.deepspeed_plugin.zero_stage if self.is_deepspeed else 0
        self.is_sharded = self.is_fsdp or stage == 3
        if launched_with(FSDP) and not self.is_fsdp:
            say(
                "note: accelerate shards weights on GPUs, with two processes or more; here every process holds them all"
            )

    @property
    def device(self) -> torch.device:
        return self.accelerator.device

    def most(self, count: int) -> int:
        """The largest of all ranks' counts where they have to keep in step, else this rank's own."""
        return max(gather_object([count])) if self.is_sharded else count

    def in_step(self, batches: Sequence[GroupBatch]) -> list[GroupBatch]:
        """As many micro-batches on every rank; those added count nothing."""
        missing = self.most(len(batches)) - len(batches)
        return [*batches, *[replace(batches[-1], counted=False)] * missing]

    @contextlib.contextmanager
    def backward(self, model: Any, *, is_last: bool) -> Iterator[dict[str, Any]]:
        """The context of one backward pass, and its keyword arguments; gradients are summed over ranks in the last.

        FSDP sums them in every pass: keeping whole gradients until the last would cost the memory it is there to save.
        """
        if self.is_deepspeed:
            state = self.accelerator.gradient_state
            before = state.sync_gradients
            state._set_sync_gradients(before and is_last)
            try:
                yield {"scale_wrt_gas": False}  # the loss is a share of the global batch already
            finally:
                state._set_sync_gradients(before)
        elif is_last or self.is_fsdp:
            yield {}
        else:
            with self.accelerator.no_sync(model):
                yield {}

    def to_score(self, trainer: Any) -> Any:
        """The model to score with outside the training step: whole weights alone, sharded ones through the engine."""
        if self.is_sharded:
            return trainer.model_wrapped
        return self.accelerator.unwrap_model(trainer.model)

    def no_gradients(self) -> Any:
        """The context of scoring; sharded weights must not become inference tensors, they are trained on."""
        return torch.no_grad() if self.is_sharded else torch.inference_mode()
