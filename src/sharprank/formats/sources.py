"""From what a user names to records: the ONE meaning of every input flag and its subset flag.

A source is a file, a folder of files (sorted, nested), a dataset repository in a local folder, or a Hugging Face
dataset id. Records are streamed; nothing here knows what their fields mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sharprank.errors import UserError
from sharprank.formats.hub import iter_dataset, looks_like_dataset_repository
from sharprank.formats.readers import READERS, BadRows, iter_file, known_suffix
from sharprank.records import Record

_SPLIT_NAMES = {"train": ("train",), "test": ("test",), "validation": ("validation", "valid", "val", "dev")}


@dataclass(frozen=True)
class Source:
    """What to read.

    Attributes:
        path: file, folder, or hub dataset id.
        subset: configuration of a dataset, or sub-folder (or file stem) of a plain folder.
        split: which split, where the source has splits; the reader's default when None.
    """

    path: str
    subset: str | None = None
    split: str | None = None

    def __str__(self) -> str:
        return self.path if self.subset is None else f"{self.path} [{self.subset}]"


def iter_records(source: Source, *, default_split: str = "train", bad_rows: BadRows | None = None) -> Iterator[Record]:
    """The records of a source, streamed in a fixed order.

    Args:
        default_split: the split to read when the source has several and `source.split` names none.
        bad_rows: what to do with lines that cannot be parsed; by default an error.

    Raises:
        UserError: nothing there, no data files, an unknown subset or split, a malformed line.
    """
    path = Path(source.path).expanduser()
    if path.is_dir() and looks_like_dataset_repository(path):
        return iter_dataset(source.path, subset=source.subset, split=source.split or default_split)
    if path.exists():
        return _iter_files(source_files(source, default_split=default_split), bad_rows or BadRows())
    if _looks_like_hub_id(source.path):
        return iter_dataset(source.path, subset=source.subset, split=source.split or default_split)
    raise UserError(f"{source.path} does not exist", fix="check the path, or name a Hugging Face dataset id")


def _looks_like_hub_id(name: str) -> bool:
    return name.count("/") <= 1 and not name.startswith((".", "/", "~")) and known_suffix(Path(name)) is None


def _iter_files(paths: Iterable[Path], bad_rows: BadRows) -> Iterator[Record]:
    for path in paths:
        yield from iter_file(path, bad_rows)


def source_files(source: Source, *, default_split: str = "train") -> list[Path]:
    """The local data files of a source, in reading order.

    Raises:
        UserError: see `iter_records`.
    """
    path = Path(source.path).expanduser()
    if path.is_file():
        if source.subset is not None:
            raise UserError(f"{path} is a file and has no subset {source.subset!r}", fix="leave the subset out")
        if known_suffix(path) is None:
            raise UserError(
                f"{path} has an ending nobody reads", fix=f"use one of: {', '.join(READERS)}, or .gz of them"
            )
        return [path]
    root = _subset_folder(path, source.subset) if source.subset is not None else path
    files = [root] if root.is_file() else _data_files(root)
    if not files:
        raise UserError(f"{root} holds no data files", fix=f"put files ending in {', '.join(READERS)} there")
    return _of_split(files, source.split, default_split, root)


def _data_files(folder: Path) -> list[Path]:
    # Files that start with a dot or an underscore, and manifests beside outputs, are no data.
    files = [
        child
        for child in folder.rglob("*")
        if child.is_file()
        and known_suffix(child) is not None
        and not any(part.startswith((".", "_")) for part in child.relative_to(folder).parts)
        and not child.name.endswith(".stats.json")
    ]
    return sorted(files, key=lambda child: child.relative_to(folder).as_posix())


def _subset_folder(path: Path, subset: str) -> Path:
    candidates = {child.name: child for child in sorted(path.iterdir()) if child.is_dir() and _data_files(child)}
    for child in _data_files(path):
        if child.parent == path:
            candidates.setdefault(child.name.split(".")[0], child)
    if subset not in candidates:
        raise UserError(
            f"{path} has no subset {subset!r}", fix=f"use one of: {', '.join(candidates) or 'none are there'}"
        )
    return candidates[subset]


def _of_split(files: list[Path], split: str | None, default_split: str, root: Path) -> list[Path]:
    """Keep one split's files where the file or folder names are split names; otherwise all files."""
    by_split: dict[str, list[Path]] = {}
    for file in files:
        by_split.setdefault(_split_of(file, root), []).append(file)
    named = {name for name in by_split if name}
    wanted = split or default_split
    if split is not None and split not in named:
        raise UserError(
            f"{root} has no split {split!r}", fix=f"use one of: {', '.join(sorted(named)) or 'none are there'}"
        )
    if len(named) > 1 and "" not in by_split and wanted in named:
        return by_split[wanted]
    return by_split[split] if split is not None else files


def _split_of(file: Path, root: Path) -> str:
    words = [*file.relative_to(root).parts[:-1], file.name.split(".")[0].split("-")[0]] if file != root else []
    for split, names in _SPLIT_NAMES.items():
        if any(word in names for word in words):
            return split
    return ""
