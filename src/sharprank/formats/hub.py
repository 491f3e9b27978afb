"""Hugging Face datasets, by hub id or from a dataset repository in a folder; the only file that loads `datasets`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sharprank.errors import UserError
from sharprank.records import Place, Record


def looks_like_dataset_repository(folder: Path) -> bool:
    """Whether a local folder describes itself as a dataset: a README.md whose header names configurations or splits."""
    readme = folder / "README.md"
    if not readme.is_file():
        return False
    head = readme.read_text(encoding="utf-8", errors="replace")[:20_000]
    parts = head.split("---", 2)
    return head.startswith("---") and len(parts) == 3 and ("configs:" in parts[1] or "dataset_info:" in parts[1])


def iter_dataset(name: str, *, subset: str | None, split: str) -> Iterator[Record]:
    """The rows of one split of a dataset, streamed.

    Raises:
        UserError: it cannot be reached, or has no such subset or split.
    """
    from datasets import get_dataset_config_names, get_dataset_split_names, load_dataset

    subsets = _ask(name, lambda: get_dataset_config_names(name))
    if subset is None and len(subsets) > 1 and "default" not in subsets:
        raise UserError(f"dataset {name} has several subsets", fix=f"name one of: {', '.join(subsets)}")
    if subset is not None and subset not in subsets:
        raise UserError(f"dataset {name} has no subset {subset!r}", fix=f"use one of: {', '.join(subsets)}")
    splits = [str(found) for found in _ask(name, lambda: get_dataset_split_names(name, subset))]
    if split not in splits:
        if len(splits) > 1:
            raise UserError(f"dataset {name} has no split {split!r}", fix=f"use one of: {', '.join(splits)}")
        split = splits[0]
    rows: Any = _ask(name, lambda: load_dataset(name, subset, split=split, streaming=True))
    where = f"{name} ({split})" if subset is None else f"{name} ({subset}, {split})"
    for number, fields in enumerate(rows, 1):
        yield Record(fields, Place(where, number))


def _ask(name: str, question: Any) -> Any:
    from datasets.exceptions import DatasetNotFoundError

    try:
        return question()
    except (DatasetNotFoundError, OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"dataset {name} cannot be loaded: {reason}",
            fix="check the name and the network, or name a local file or folder",
        ) from error
