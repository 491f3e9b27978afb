"""The cache: what was computed once and is found again by what it was computed from.

One folder (SHARPRANK_CACHE, or `sharprank` in the user's cache folder) holds entries; an entry is a folder named
`KIND-KEY` whose `about.json` says what it is. Everything in it may be deleted at any time when no command runs.
Knows nothing of what the entries hold.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sharprank.errors import UserError
from sharprank.formats.writers import write_json

VARIABLE = "SHARPRANK_CACHE"
ABOUT_FILE = "about.json"
PARTIAL = ".partial"
SECONDS_UNTIL_ABANDONED = 24 * 3600
"""An unfinished file that old belongs to a process that died."""

KEY_LENGTH = 24
"""Hexadecimal digits of a key: 96 bits."""


@dataclass(frozen=True)
class Entry:
    """One entry of the cache.

    Attributes:
        folder: where it is.
        about: what it is, in its writer's words.
        num_bytes: what it takes on disk.
        used: when it was used last, in seconds since 1970.
    """

    folder: Path
    about: Mapping[str, Any]
    num_bytes: int
    used: float

    @property
    def kind(self) -> str:
        """What is in it: passages, embeddings, ..."""
        return self.folder.name.rpartition("-")[0]


@contextlib.contextmanager
def filling(path: Path) -> Iterator[None]:
    """A full disk, or one that cannot be written, as a `UserError` about this part of the cache."""
    try:
        yield
    except (OSError, UserError) as error:
        problem = error.problem if isinstance(error, UserError) else f"cannot write {path}: {error.strerror or error}"
        raise UserError(
            problem,
            fix=f"make room (sharprank cache ls), or set {VARIABLE} or --embedding_cache to a folder with more, and "
            "run the same command again: what was finished is kept",
        ) from error


def cache_folder() -> Path:
    """The folder that SHARPRANK_CACHE names, or `sharprank` where this system keeps users' caches."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "sharprank"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "sharprank" / "cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sharprank"


def key_of(content: Any) -> str:
    """What an entry is found by: a hash of everything that decides its contents."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:KEY_LENGTH]


def hash_texts(texts: Iterable[str]) -> str:
    """Stands for these texts in this order."""
    state = hashlib.sha256()
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        state.update(len(data).to_bytes(8, "little"))
        state.update(data)
    return state.hexdigest()[:32]


def check_cache(root: Path) -> None:
    """Refuse a cache folder that cannot be written, and clear what processes that died left unfinished in it.

    Raises:
        UserError: the folder cannot be made or written to.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        probe = root / f".{os.getpid()}{PARTIAL}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise UserError(
            f"the cache {root} cannot be written: {error.strerror or error}",
            fix=f"set {VARIABLE} (or --embedding_cache) to a folder that can be",
        ) from error
    clear_abandoned(root)


def clear_abandoned(root: Path) -> None:
    """Delete unfinished files and folders, anywhere in the cache, that nobody has written to for a day."""
    for parent, folders, files in os.walk(root):
        for name in [name for name in (*folders, *files) if name.startswith(".") and name.endswith(PARTIAL)]:
            path = Path(parent, name)
            try:
                if time.time() - path.stat().st_mtime < SECONDS_UNTIL_ABANDONED:
                    continue
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            except OSError:  # another process was faster, or it is not ours to delete
                continue


def entry_folder(root: Path, kind: str, key: str, about: Mapping[str, Any]) -> Path:
    """The folder of an entry that is filled file by file; made, and marked as used now.

    Raises:
        UserError: it cannot be written.
    """
    folder = root / f"{kind}-{key}"
    if not (folder / ABOUT_FILE).is_file():
        with filling(folder):
            write_json(folder / ABOUT_FILE, about)
    mark_used(folder)
    return folder


def mark_used(folder: Path) -> None:
    """Remember that an entry is used now."""
    try:
        os.utime(folder / ABOUT_FILE)
    except OSError:  # a cache that others fill may be only readable
        return


def entries(root: Path) -> Iterator[Entry]:
    """All entries, in the order of their names."""
    for folder in sorted(root.iterdir()) if root.is_dir() else ():
        about = folder / ABOUT_FILE
        if folder.name.startswith(".") or not about.is_file():
            continue
        sizes = [file.stat().st_size for file in folder.rglob("*") if file.is_file()]
        try:
            content = json.loads(about.read_text(encoding="utf-8"))
        except ValueError:
            content = {}
        yield Entry(folder, content, sum(sizes), about.stat().st_mtime)


def remove(entry: Entry) -> None:
    """Delete an entry.

    Raises:
        UserError: it cannot be deleted.
    """
    try:
        gone = entry.folder.with_name(f".{entry.folder.name}{PARTIAL}")
        entry.folder.rename(gone)  # at once, so that a kill leaves no half of an entry
        shutil.rmtree(gone)
    except OSError as error:
        raise UserError(f"cannot delete {entry.folder}: {error.strerror or error}", fix="delete it by hand") from error
