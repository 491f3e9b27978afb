"""From a model's name to something that scores pairs: checked first, loaded when its turn comes.

Imports torch only when called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sharprank.evaluation.config import EvaluationConfig
from sharprank.evaluation.rerank import Scorer
from sharprank.provenance import processor_name


def prepare_scorer(name_or_path: str, config: EvaluationConfig) -> Callable[[], Scorer]:
    """Check the model's folder, configuration, tokenizer, length and device now; give back what loads its weights.

    Raises:
        UserError: what is wrong with it.
    """
    from sharprank.models.checkpoint import open_reranker
    from sharprank.models.devices import choose_device, choose_dtype

    choose_dtype(config.dtype, choose_device(config.device))
    return prepare_checkpoint(open_reranker(name_or_path, trust_remote_code=config.trust_remote_code), config)


def prepare_checkpoint(checkpoint: Any, config: EvaluationConfig) -> Callable[[], Scorer]:
    """The same for a `Checkpoint` that was opened, with a head and a prompt of the caller's choice.

    Raises:
        UserError: a length beyond the model.
    """
    from sharprank.models.scoring import PairScorer

    checkpoint.pair_tokenizer(config.max_length, flag="--max_length")
    return lambda: PairScorer.of(
        checkpoint,
        max_length=config.max_length,
        dtype=config.dtype,
        device=config.device,
        seed=config.seed,
        flag="--max_length",
    )


def describe_hardware(config: EvaluationConfig) -> str:
    """Where the scoring ran, in words: "AMD EPYC 9654, 2 threads, float32"."""
    import torch

    from sharprank.models.devices import choose_device, choose_dtype

    device = choose_device(config.device)
    dtype = str(choose_dtype(config.dtype, device)).removeprefix("torch.")
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, {dtype}"
    threads = torch.get_num_threads()
    return f"{processor_name()}, {threads} thread{'s' * (threads > 1)}, {dtype}"
