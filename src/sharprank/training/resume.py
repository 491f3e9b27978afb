"""What an output folder already holds: nothing, a run to continue, a finished run, or somebody else's.

A run is described by the settings that decide its result; the same settings continue or are done, others are
refused. Checkpoints that a kill cut short are removed, never read.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sharprank.errors import UserError
from sharprank.formats.fusion import FUSION_FILE
from sharprank.formats.writers import check_writable, write_json
from sharprank.models.lora import forget_adapter
from sharprank.models.scored import MODULE_FILES
from sharprank.progress import say
from sharprank.training.choices import Choices, as_record, from_record
from sharprank.training.trainer import COMPLETE_MARK

RUN_FILE = "training.json"
_FOLLOWING = {
    "weights": ("weights to start from", "start from the same model"),
    "lora": ("the adapter", "repeat --use_lora, --lora_rank, --lora_alpha, --lora_dropout and --target_modules"),
    "global_batch_size": (
        "--per_device_train_batch_size x processes",
        "keep the product (with a number of processes that divides it)",
    ),
    "kept_for_the_end": (
        "queries kept for the comparison at the end",
        "repeat --validation_split, or leave it out again",
    ),
    "num_rows": ("queries to train on", "repeat --validation_split and --on_bad_row, with the same data"),
}
"""Settings that are no flag: what they are called, and how to repeat them."""

_REPEATED = {
    "train_data": "use the same --train_data and --train_run",
    "eval_data": "use the same --eval_data and --eval_run, or none again",
    "prompt": "use the same --prompt and --instruction",
    "pooling": "use the same --pooling (plain where it was None)",
}
"""Flags whose old value is not told in one word."""

_CHECKPOINT = re.compile(r"checkpoint-(\d+)")


@dataclass(frozen=True)
class RunState:
    """What to do: start afresh, continue from `checkpoint`, or nothing because the run is `finished`."""

    checkpoint: str | None = None
    finished: bool = False


def find_run(output_dir: Path, settings: Mapping[str, Any], *, overwrite: bool) -> RunState:
    """Compare the folder with the settings of this run.

    Raises:
        UserError: the folder cannot be written to, holds a run with other settings, or files that are no run of ours.
    """
    if output_dir.exists() and not output_dir.is_dir():
        raise UserError(f"--output_dir {output_dir} is a file", fix="name a folder")
    check_writable(output_dir / RUN_FILE, flag="--output_dir")
    if overwrite or not output_dir.exists() or not any(output_dir.iterdir()):
        return RunState()
    run_path = output_dir / RUN_FILE
    if not run_path.is_file():
        raise UserError(
            f"--output_dir {output_dir} holds files that are no training run",
            fix="name another folder, or pass --overwrite_output_dir True",
        )
    run = _read_run(run_path)
    refuse_other(run["settings"], settings, where=str(output_dir))
    if run["finished"]:
        return RunState(finished=True)
    return RunState(checkpoint=last_complete_checkpoint(output_dir))


def _read_run(path: Path) -> dict[str, Any]:
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
        return {"settings": dict(run["settings"]), "finished": bool(run["finished"])}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is damaged, so nothing says how this folder was made",
            fix="name another --output_dir, or pass --overwrite_output_dir True",
        ) from error


def refuse_other(before: Mapping[str, Any], now: Mapping[str, Any], *, where: str) -> None:
    """Raise a UserError naming the first setting that differs, flags before what follows from several of them.

    What an older version did not record cannot be compared, which is said.
    """
    now = json.loads(json.dumps(now))
    if unknown := sorted(name for name in now.keys() - before.keys() if now[name]):
        say(f"note: {where} was begun by an older version, which did not record {', '.join(unknown)}: not compared")
    for name in [*sorted(before.keys() - _FOLLOWING.keys()), *(name for name in _FOLLOWING if name in before)]:
        if before[name] != now.get(name):
            words, fix = _FOLLOWING.get(name, (f"--{name}", _repeated(name, before[name])))
            was, has = _told(before[name]), _told(now.get(name))
            raise UserError(
                f"--output_dir {where} was made with {words} = {was}, this run has {has}",
                fix=f"{fix}, name another --output_dir, or pass --overwrite_output_dir True",
            )


def _repeated(name: str, value: Any) -> str:
    """How to give a flag its old value."""
    if name in _REPEATED:
        return _REPEATED[name]
    if value is None:
        return f"leave --{name} out"
    return f"repeat --{name} {value}" if isinstance(value, str | int | float) else f"use the same --{name}"


def _told(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {text}" for key, text in value.items()) or "none"
    return repr(value)


@dataclass(frozen=True)
class Begun:
    """What a run recorded when it began: its settings, and those among them that it chose by itself."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    chosen: Choices = field(default_factory=dict)

    def left_alone(self, name: str) -> bool:
        """Whether this setting had no value, or was off."""
        value = self.settings.get(name, "not recorded")
        return value is None or value is False


def begun_run(output_dir: Path) -> Begun:
    """The run in this folder; an empty one where none can be read."""
    try:
        run = json.loads((output_dir / RUN_FILE).read_text(encoding="utf-8"))
        return Begun(dict(run["settings"]), from_record(run.get("chosen", {})))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # `find_run` says what is wrong with it
        return Begun()


def prepare_folder(
    output_dir: Path, settings: Mapping[str, Any], chosen: Choices, *, overwrite: bool, start: Collection[str] = ()
) -> None:
    """Write the run's description and clear away what must not be read (first rank only).

    Args:
        start: where the model comes from that training starts with; nothing of it is overwritten before the end.

    Raises:
        UserError: it is a checkpoint in this folder, which overwriting would delete.
    """
    if overwrite and output_dir.exists():
        _refuse_own_start(output_dir, start)
        for folder in checkpoints(output_dir):
            shutil.rmtree(folder)
        _forget_modules(output_dir)
        if output_dir.resolve() not in {Path(path).expanduser().resolve() for path in start}:
            _forget_weights(output_dir)
    for folder in checkpoints(output_dir):
        if not (folder / COMPLETE_MARK).is_file():
            say(f"note: {folder.name} was cut short and is removed")
            shutil.rmtree(folder)
    (output_dir / FUSION_FILE).unlink(missing_ok=True)  # it was fitted for other weights than the run will leave
    write_run(output_dir, settings, chosen, finished=False)


def _refuse_own_start(output_dir: Path, start: Collection[str]) -> None:
    for path in start:
        place = Path(path).expanduser().resolve()
        if any(folder.resolve() in (place, *place.parents) for folder in checkpoints(output_dir)):
            raise UserError(
                f"the model {path} lies in --output_dir {output_dir}, whose checkpoints --overwrite_output_dir deletes",
                fix="name another --output_dir, or copy the model out of it",
            )


def _forget_weights(output_dir: Path) -> None:
    """Take away the older run's model or adapter, one of which might be loaded in the place of what this run leaves."""
    forget_adapter(output_dir)
    for path in output_dir.glob("model*.safetensors*"):  # whole or in parts, which have an index
        path.unlink()


def _forget_modules(output_dir: Path) -> None:
    """Take away what a pooling head left for sentence-transformers, which would load it for another head."""
    if (output_dir / "2_Dense").is_dir():
        for path in (output_dir / name for name in MODULE_FILES):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def write_run(output_dir: Path, settings: Mapping[str, Any], chosen: Choices, *, finished: bool, **more: Any) -> None:
    """Write the run's description into its folder."""
    output_dir.mkdir(parents=True, exist_ok=True)
    about = {"finished": finished, "settings": dict(settings), "chosen": as_record(chosen)}
    write_json(output_dir / RUN_FILE, {**about, **more})


def checkpoints(output_dir: Path) -> list[Path]:
    """The checkpoint folders of a run, oldest step first."""
    found = [(int(m[1]), path) for path in output_dir.glob("checkpoint-*") if (m := _CHECKPOINT.fullmatch(path.name))]
    return [path for _, path in sorted(found)]


def last_complete_checkpoint(output_dir: Path) -> str | None:
    """The newest checkpoint that was written to its end."""
    complete = [path for path in checkpoints(output_dir) if (path / COMPLETE_MARK).is_file()]
    return str(complete[-1]) if complete else None
