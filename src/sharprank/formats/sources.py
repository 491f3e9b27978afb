"""From what a user names to records: the ONE meaning of every input flag and its subset flag.

A source is a file, a folder of files (sorted, nested), a dataset repository in a local folder, or a Hugging Face
dataset id. Records are streamed; nothing here knows what their fields mean.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sharprank.errors import UserError
from sharprank.formats.bad_rows import BadRows
from sharprank.formats.encoding import readable
from sharprank.formats.hub import is_dataset_repository, iter_dataset
from sharprank.formats.readers import READERS, iter_file, known_suffix, unknown_ending
from sharprank.formats.splits import files_of_split
from sharprank.records import Record

_HUB_ID = re.compile(r"[\w][\w.-]*(/[\w][\w.-]*)?")


@dataclass(frozen=True)
class Source:
    """What to read.

    Attributes:
        path: file, folder, or hub dataset id.
        subset: configuration of a dataset; of a plain folder, a sub-folder or a file by its name without ending.
        split: which split, where the source has splits; the reader's default when None.
    """

    path: str
    subset: str | None = None
    split: str | None = None

    def __str__(self) -> str:
        return self.path if self.subset is None else f"{self.path} [{self.subset}]"


def iter_records(
    source: Source, *, default_split: str | None = "train", bad_rows: BadRows | None = None
) -> Iterator[Record]:
    """The records of a source, streamed in a fixed order.

    Args:
        default_split: the split to read when the source has several and `source.split` names none; None reads every
            file of a folder.
        bad_rows: what to do with lines that cannot be parsed; by default an error.

    Raises:
        UserError: nothing there, no data files, an unknown subset or split, a malformed line.
    """
    path = Path(source.path).expanduser()
    with readable(path):
        is_there, is_repository = path.exists(), is_dataset_repository(path)
    if is_there and not is_repository:
        return _iter_files(source_files(source, default_split=default_split), bad_rows or BadRows())
    if is_there or _looks_like_hub_id(source.path):
        return iter_dataset(str(path), subset=source.subset, split=source.split, default_split=default_split or "train")
    raise UserError(f"{source.path} does not exist", fix="check the path, or name a Hugging Face dataset id")


def _looks_like_hub_id(name: str) -> bool:
    return _HUB_ID.fullmatch(name) is not None and known_suffix(Path(name)) is None


def _iter_files(paths: Iterable[Path], bad_rows: BadRows) -> Iterator[Record]:
    for path in paths:
        yield from iter_file(path, bad_rows)


def source_files(source: Source, *, default_split: str | None = "train") -> list[Path]:
    """The local data files of a source, in reading order.

    Raises:
        UserError: see `iter_records`.
    """
    path = Path(source.path).expanduser()
    with readable(path):
        return _source_files(source, path, default_split)


def _source_files(source: Source, path: Path, default_split: str | None) -> list[Path]:
    if path.is_dir():
        root = path if source.subset is None else _subset_of(path, source.subset)
        if root.is_dir():
            return files_of_split(_some_data_files(root), root, source.split, default_split)
        path = root
    elif not path.exists():
        raise UserError(f"{source.path} does not exist", fix="check the path")
    elif source.subset is not None:
        raise UserError(f"{path} is a file and has no subset {source.subset!r}", fix="leave the subset out")
    if source.split is not None:
        raise UserError(f"{path} is a file and has no split {source.split!r}", fix="leave the split out")
    if known_suffix(path) is None:
        raise unknown_ending(path)
    return [path]


def _some_data_files(folder: Path) -> list[Path]:
    files = data_files(folder)
    if files:
        return files
    if any(folder.rglob("*.arrow")):
        raise UserError(
            f"{folder} holds a dataset as save_to_disk() writes it", fix="write it with to_json() or to_parquet()"
        )
    raise UserError(f"{folder} holds no data files", fix=f"put files ending in {', '.join(READERS)} there")


def data_files(folder: Path) -> list[Path]:
    """Every file below a folder that a reader takes, sorted by path; not hidden ones, nor statistics of outputs."""

    def stop(error: OSError) -> None:
        with readable(Path(error.filename)):
            raise error  # a folder that may not be read is not to be passed over

    found = (Path(parent, name) for parent, _, names in os.walk(folder, onerror=stop) for name in names)
    files = [child for child in found if known_suffix(child) is not None and child.is_file()]
    relative = {child: child.relative_to(folder) for child in files}
    return sorted((child for child in files if _is_data(relative[child])), key=lambda child: relative[child].as_posix())


def _is_data(relative: Path) -> bool:
    hidden = any(part.startswith((".", "_")) for part in relative.parts)
    return not hidden and not relative.name.endswith(".stats.json")


def _subset_of(folder: Path, subset: str) -> Path:
    subsets = {child.name: child for child in sorted(folder.iterdir()) if child.is_dir() and data_files(child)}
    for child in data_files(folder):
        if child.parent == folder:
            subsets.setdefault(child.name.split(".")[0], child)
    if subset not in subsets:
        there = ", ".join(sorted(subsets)) or "none are there"
        raise UserError(f"{folder} has no subset {subset!r}", fix=f"use one of: {there}")
    return subsets[subset]
