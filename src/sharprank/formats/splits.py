"""Which files of a folder belong to which split, told by their names as dataset repositories lay them out.

`train.jsonl`, `train-00000-of-00002.parquet` and `train/a.jsonl` are the split "train" exactly; `my_train_2.csv`
belongs to it when no file names it exactly. A folder is laid out by split when its names tell two splits apart.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from sharprank.errors import UserError
from sharprank.progress import say

_SAME = {"valid": "validation", "val": "validation", "dev": "validation", "eval": "validation", "training": "train"}
_KNOWN = ("train", "test", "validation")
_SHARD = re.compile(r"-\d+-of-\d+$")


def files_of_split(files: Sequence[Path], root: Path, split: str | None, default_split: str | None) -> list[Path]:
    """The files to read: those of `split`; else those of the default split where the folder is laid out by split.

    Args:
        files: data files below `root`, in reading order.
        default_split: None reads all files whatever their names.

    Raises:
        UserError: the split is not there.
    """
    if split is None and default_split is None:
        return list(files)
    exact, loose = _by_split(files, root)
    if split is None and len(set(exact) | set(loose)) < 2:
        return list(files)
    wanted = canonical(split or default_split or "")
    chosen = exact.get(wanted) or loose.get(wanted) or _named(files, split)
    if not chosen:
        there = ", ".join(sorted(set(exact) | set(loose))) or "none, the files' names tell no splits apart"
        raise UserError(f"{root} has no split {split or default_split!r}", fix=f"choose among: {there}; or name a file")
    if len(chosen) < len(files):
        say(f"note: {root}: reading split {wanted!r}, {len(chosen)} of {len(files)} files")
    return chosen


def canonical(split: str) -> str:
    """One name for each split, whatever it is called."""
    return _SAME.get(split.lower(), split.lower())


def _by_split(files: Sequence[Path], root: Path) -> tuple[dict[str, list[Path]], dict[str, list[Path]]]:
    exact: dict[str, list[Path]] = {}
    loose: dict[str, list[Path]] = {}
    for file in files:
        stem = _stem(file)
        folders = [canonical(part) for part in file.relative_to(root).parts[:-1]]
        name = next((word for word in [canonical(stem), *reversed(folders)] if word in _KNOWN), None)
        if name is not None:
            exact.setdefault(name, []).append(file)
            continue
        words = {canonical(word) for word in re.split(r"[^0-9A-Za-z]+|(?<=[a-z])(?=\d)", stem)}
        found = [known for known in _KNOWN if known in words]
        if len(found) == 1:
            loose.setdefault(found[0], []).append(file)
    return exact, loose


def _named(files: Sequence[Path], split: str | None) -> list[Path]:
    """Files that carry a split name of their own (`test_unseen.jsonl`)."""
    return [file for file in files if _stem(file) == split]


def _stem(file: Path) -> str:
    return _SHARD.sub("", Path(re.sub(r"\.gz$", "", file.name)).stem)
