"""`sharprank train` under accelerate's FSDP on CPU processes, which torch can do (gloo) and accelerate leaves out.

accelerate turns FSDP on for accelerators only and falls back to plain data parallel on CPUs without a word. This
script turns it on there as well, and ends with what the ranks hold: `sharded: <weights here> of <weights in all>`.
"""

from __future__ import annotations

import sys

from accelerate import state
from accelerate.utils import DistributedType

original = state.AcceleratorState.__init__


def with_fsdp(self, *args, fsdp_plugin=None, **kwargs):
    original(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
    if fsdp_plugin is not None and self.distributed_type == DistributedType.MULTI_CPU:
        self.distributed_type = DistributedType.FSDP
        self.fsdp_plugin = fsdp_plugin
        state.PartialState._shared_state["distributed_type"] = self.distributed_type


state.AcceleratorState.__init__ = with_fsdp

from sharprank.cli.train import main  # noqa: E402
from sharprank.training.trainer import RerankTrainer  # noqa: E402

step = RerankTrainer.training_step


def counting(self, model, *args, **kwargs):
    if self.state.global_step == 0:
        held = [(getattr(p, "_local_tensor", p).numel(), p.numel()) for p in model.parameters()]
        print(f"sharded: {sum(h for h, _ in held)} of {sum(n for _, n in held)}", flush=True)
    return step(self, model, *args, **kwargs)


RerankTrainer.training_step = counting
raise SystemExit(main(sys.argv[1:]))
