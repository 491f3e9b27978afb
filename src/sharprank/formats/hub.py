"""Hugging Face datasets, by hub id or from a dataset repository in a folder; the only file that loads `datasets`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sharprank.errors import UserError
from sharprank.formats.splits import canonical
from sharprank.records import Place, Record

_HEADER = re.compile(r"\ufeff?---\r?\n(.*?\n)---", re.DOTALL)


def is_dataset_repository(folder: Path) -> bool:
    """Whether a folder describes itself as a dataset: a README.md whose YAML header says which files are what."""
    readme = folder / "README.md"
    if not readme.is_file():
        return False
    with open(readme, encoding="utf-8", errors="replace") as file:
        header = _HEADER.match(file.read(1 << 20))
    return header is not None and re.search(r"^configs:", header[1], re.MULTILINE) is not None


def iter_dataset(name: str, *, subset: str | None, split: str | None, default_split: str) -> Iterator[Record]:
    """The rows of one split of a dataset, streamed; without the network, from the local cache of `datasets`.

    Args:
        name: hub id, or path of a dataset repository.
        split: must be there; None takes the default split, or the only one.

    Raises:
        UserError: it cannot be loaded, or has no such subset or split.
    """
    dataset, where = _open(name, subset=subset, split=split, default_split=default_split)
    rows = iter(dataset)
    number = 0
    while True:
        number += 1
        try:
            fields = next(rows)
        except StopIteration:
            return
        except Exception as error:  # `datasets` lets through what each of its readers raises
            fix = "make all its rows alike, or name its files instead of the dataset"
            raise UserError(f"{where}:{number}: {_first_line(error)}", fix=fix) from error
        yield Record(fields, Place(where, number))


def _open(name: str, *, subset: str | None, split: str | None, default_split: str) -> tuple[Any, str]:
    import datasets

    try:
        subset = _subset(name, subset, datasets.get_dataset_config_names(name))
        splits = [str(found) for found in datasets.get_dataset_split_names(name, subset) or []]
        split = _split(name, split, default_split, splits)
        dataset = datasets.load_dataset(name, subset, split=split, streaming=True)
    except UserError:
        raise
    except Exception as error:  # `datasets` lets through what each of its readers and transports raises
        raise _unreadable(name, error) from error
    return dataset, f"{name} ({split})" if subset is None else f"{name} ({subset}, {split})"


def _unreadable(name: str, error: Exception) -> UserError:
    kind = "dataset" if Path(name).exists() else "no local file or folder, and as a Hugging Face dataset"
    return UserError(
        f"{name}: {kind} it cannot be loaded: {_first_line(error)}",
        fix="check the name and the network, or name a local file or folder",
    )


def _subset(name: str, subset: str | None, there: list[str]) -> str | None:
    if subset is None and (len(there) == 1 or "default" in there):
        return None
    if subset is None or subset not in there:
        problem = "has several subsets" if subset is None else f"has no subset {subset!r}"
        raise UserError(f"dataset {name} {problem}", fix=f"name one of: {', '.join(there)}")
    return subset


def _split(name: str, split: str | None, default_split: str, there: list[str]) -> str:
    wanted = canonical(split or default_split)
    if found := next((known for known in there if canonical(known) == wanted), None):
        return found
    if split is None and len(there) == 1:
        return there[0]
    raise UserError(f"dataset {name} has no split {split or default_split!r}", fix=f"name one of: {', '.join(there)}")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
