"""Configuration files in sections, as the YAML-driven trainer (000 in docs/coming_from.md) has them, to flags.

`model`, `traininng` (that is how it is spelled there; `training` too), `dataset` and `logging` hold that trainer's own
keys or our flags. Files without sections pass through.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sharprank.errors import UserError
from sharprank.progress import say

Flags = dict[str, Any]

_SECTIONS = {
    "model": "model",
    "training": "training",
    "traininng": "training",
    "trainning": "training",
    "dataset": "dataset",
    "data": "dataset",
    "logging": "logging",
}
_RENAMED = {
    "training": {
        "batch_size": "per_device_train_batch_size",
        "epochs": "num_train_epochs",
        "clip_max_norm": "max_grad_norm",
    },
    "dataset": {
        "train_data_path": "train_data",
        "valid_data_path": "eval_data",
        "test_data_path": "test_data",
        "max_padding_length": "max_len",
    },
    "logging": {"save_dir": "output_dir"},
}
_KINDS = ("model_type", "dataset_type")


def flags_of_sections(data: Mapping[str, Any], path: Path) -> Flags:
    """The flags that a configuration file sets, its sections taken apart.

    Raises:
        UserError: a flag named twice, or a value of that trainer that has no counterpart.
    """
    if not any(isinstance(data.get(name), Mapping) for name in _SECTIONS):
        return dict(data)
    flags: Flags = {}
    for name, value in data.items():
        section = _SECTIONS.get(name)
        if section is None or not isinstance(value, Mapping):
            found = _kind(name, value, path) if name in _KINDS else {name: value}
        else:
            found = _flags(section, value, path)
        _add(flags, found, path)
    return _measured(flags)


def _add(flags: Flags, found: Flags, path: Path) -> None:
    twice = sorted(flags.keys() & found.keys())
    if twice:
        raise UserError(f"{path}: {twice[0]} is set twice", fix="set it once, by one name")
    flags |= found


def _kind(name: str, value: Any, path: Path) -> Flags:
    if value != "rerank":
        raise UserError(f"{path}: {name} {value!r} is unknown", fix="write rerank, or leave it out")
    return {}


def _flags(section: str, values: Mapping[str, Any], path: Path) -> Flags:
    flags: Flags = {}
    for key, value in values.items():
        special = _SPECIAL.get((section, key))
        _add(flags, special(value, path) if special else {_RENAMED.get(section, {}).get(key, key): value}, path)
    plateau = {name: flags.pop(name) for name in ("factor", "patience") if section == "training" and name in flags}
    if plateau:
        flags |= {"lr_scheduler_type": "reduce_lr_on_plateau", "lr_scheduler_kwargs": plateau, "warmup_ratio": 0}
    if section == "training" and float(flags.get("max_grad_norm") or 0) < 0:
        flags["max_grad_norm"] = 0
    return flags


def _device(value: Any, path: Path) -> Flags:
    return {"use_cpu": True} if str(value) == "cpu" else {}


def _no_device(value: Any, path: Path) -> Flags:
    say(f"note: {path}: the device is that of the model section")
    return {}


def _optimizer(value: Any, path: Path) -> Flags:
    if value not in ("AdamW", "Adam"):
        raise UserError(f"{path}: optimizer {value!r} is unknown", fix="write AdamW, or set optim as transformers does")
    if value == "Adam":
        say(f"note: {path}: Adam is taken as AdamW, whose weight decay is not part of the gradient")
    return {"optim": "adamw_torch"}


def _interval(value: Any, path: Path) -> Flags:
    if not isinstance(value, int) or value < 1:
        raise UserError(f"{path}: eval_interval {value!r} is no number of epochs", fix="write 1 or more")
    return {"eval_interval": value}


_SPECIAL: dict[tuple[str, str], Callable[[Any, Path], Flags]] = {
    ("model", "device"): _device,
    ("training", "device"): _no_device,
    ("training", "optimizer"): _optimizer,
    ("logging", "eval_interval"): _interval,
}


def _measured(flags: Flags) -> Flags:
    """Evaluate and save every so many epochs: each epoch, or (as a share of all) every few."""
    interval = flags.pop("eval_interval", None)
    if interval is None or "eval_data" not in flags:
        return flags
    epochs = float(flags.get("num_train_epochs", 3))
    if interval == 1 or interval >= epochs:
        return {**flags, "eval_strategy": "epoch", "save_strategy": "epoch"}
    share = interval / epochs
    flags = {**flags, "num_train_epochs": epochs, "eval_strategy": "steps", "save_strategy": "steps"}
    return {**flags, "eval_steps": share, "save_steps": share}
