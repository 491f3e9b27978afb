"""Flags of the trainers that people come from (docs/coming_from.md) as flags of `sharprank train`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from sharprank.errors import UserError

_SAME_VALUE = {
    "model_config_path": "config",
    "model_path": "model_name_or_path",
    "dataset": "train_data",
    "epochs": "num_train_epochs",
    "batch_size": "per_device_train_batch_size",
    "lr": "learning_rate",
    "warmup_proportion": "warmup_ratio",
    "num_max_checkpoints": "save_total_limit",
    "log_with": "report_to",
    "ds_config": "deepspeed",
    "deepspeed_config": "deepspeed",
}


def our_spelling(words: Sequence[str]) -> list[str]:
    """The words of a command line with our names for other trainers' flags; other words stay as they are.

    Raises:
        UserError: a value of such a flag that means nothing.
    """
    left = list(words)
    found: list[str] = []
    while left:
        found += _next(left)
    return found


def _next(left: list[str]) -> Iterator[str]:
    """Take the next word (and the value, where a flag is translated with it) and give our words for it."""
    word = left.pop(0)
    name, equals, value = word.partition("=")
    key = name.removeprefix("--").replace("-", "_")
    if not name.startswith("--") or (key not in _SAME_VALUE and key not in _TRANSLATED):
        yield word
    elif key in _SAME_VALUE:
        yield f"--{_SAME_VALUE[key]}{equals}{value}"
    else:
        if not equals and left and not left[0].startswith("--"):
            value = left.pop(0)
        yield from _TRANSLATED[key](value)


def _loss_type(value: str) -> list[str]:
    losses = {"classfication": "bce", "classification": "bce", "regression": "mse"}
    if value not in losses:
        raise UserError(f"--loss_type {value!r} is unknown", fix="use classfication or regression, or --loss")
    return ["--loss", losses[value]]


def _mixed_precision(value: str) -> list[str]:
    if value not in ("fp16", "bf16", "no"):
        raise UserError(f"--mixed_precision {value!r} is unknown", fix="use fp16, bf16 or no")
    return [] if value == "no" else [f"--{value}"]


def _save_on_epoch_end(value: str) -> list[str]:
    if value not in ("", "0", "1"):
        raise UserError(f"--save_on_epoch_end {value!r} is neither 0 nor 1", fix="use 1, or --save_strategy epoch")
    return [] if value == "0" else ["--save_strategy", "epoch"]


def _nothing(value: str) -> list[str]:
    """--use_deepspeed: the file that --ds_config names says it."""
    return []


_TRANSLATED: dict[str, Callable[[str], list[str]]] = {
    "loss_type": _loss_type,
    "mixed_precision": _mixed_precision,
    "save_on_epoch_end": _save_on_epoch_end,
    "use_deepspeed": _nothing,
}


FLAGS = tuple(f"--{name}" for name in (*_SAME_VALUE, *_TRANSLATED))
"""What is understood besides our own flags."""
