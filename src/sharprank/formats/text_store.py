"""Texts on disk, by number: written once as a stream, read one at a time, never all in memory.

    with TextWriter(folder) as writer:
        writer.add("a text")
    texts = TextStore(folder)
    texts[0]                    # "a text", read now
    texts.find("a  text")       # 0: known by its hash

Every text has a key, by which it is found: itself without differences of white space, unless the writer is told
another. Keys are compared by 128 bits of their BLAKE2b hash, so that neither writing nor finding holds texts in
memory; writing takes up to 48 bytes a text, reading what the operating system keeps mapped, at most 48 as well.
A store appears under its name whole or not at all. Knows nothing of passages, models and scores.

Shapes: N texts in the store, M texts written to it (duplicates included).
"""

from __future__ import annotations

import errno
import filecmp
import hashlib
import json
import os
import secrets
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, overload

import numpy as np

from sharprank.formats.cache import PARTIAL, filling

ABOUT_FILE = "about.json"
_CHUNK = 1 << 20
_SLICE_WASTE = 4
"""A slice is read in one piece when the piece is at most this many times as long as its texts."""


def one_spaced(text: str) -> str:
    """The text without differences of white space: the key of a text that is given none."""
    return " ".join(text.split())


def _digest(key: str) -> bytes:
    return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).digest()


class TextStore(Sequence[str]):
    """The texts in a folder that a `TextWriter` made.

    Attributes:
        folder: where they are.
        about: what the writer was told about them.
        num_read: M, how many texts were written, duplicates included.
        ids: the ids that texts were written with, one for each of the M; None when none had one.
        digests: uint64 [N], half of the hash of each text's key; memory-mapped.

    Raises:
        FileNotFoundError: there is no finished store, or files of it are cut short.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            content = json.loads((folder / ABOUT_FILE).read_text(encoding="utf-8"))
        except ValueError as error:
            raise FileNotFoundError(f"{folder / ABOUT_FILE} is damaged") from error
        if any((folder / name).stat().st_size != size for name, size in content["bytes"].items()):
            raise FileNotFoundError(f"{folder} is damaged; delete it, and it is made again")
        self.about: dict[str, Any] = content["about"]
        self.num_read: int = content["read"]
        self._length: int = content["texts"]
        self._starts = _mapped(folder / "starts", np.int64)
        self._reads = _mapped(folder / "reads", np.int64)
        self.digests = _mapped(folder / "digests", np.uint64)
        self._rests = _mapped(folder / "rests", np.uint64)
        self._sorted = _mapped(folder / "sorted", np.uint64)
        self._numbers = _mapped(folder / "numbers", np.int64)
        self._file = open(folder / "texts", "rb", buffering=0)  # noqa: SIM115 (as long as the store lives)
        self._lock = threading.Lock()
        self.ids = TextStore(folder / "ids") if (folder / "ids").is_dir() else None
        self._number_of_read = _mapped(folder / "number_of_read", np.int64) if self.ids is not None else None

    @classmethod
    def find_in(cls, folder: Path) -> TextStore | None:
        """The store in `folder`; None when none was finished there."""
        try:
            return cls(folder)
        except FileNotFoundError:
            return None

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, number: int) -> str: ...
    @overload
    def __getitem__(self, number: slice) -> list[str]: ...
    def __getitem__(self, number: int | slice) -> str | list[str]:
        if isinstance(number, slice):
            return self._slice(range(self._length)[number])
        if not -self._length <= number < self._length:
            raise IndexError(f"text {number} of {self._length}")
        return self._text(*self._span(number))

    def __iter__(self) -> Iterator[str]:
        for start in range(0, self._length, 1024):
            yield from self[start : start + 1024]

    def find(self, text: str, *, key: str | None = None) -> int | None:
        """The number of the first text with the key of this one (or with this key); None when there is none."""
        return next(iter(self.numbers(one_spaced(text) if key is None else key)), None)

    def numbers(self, key: str) -> list[int]:
        """The numbers of all texts with this key, in their order."""
        first, rest = np.frombuffer(_digest(key), np.uint64)
        low, high = (int(np.searchsorted(self._sorted, first, side=side)) for side in ("left", "right"))
        found = np.asarray(self._numbers[low:high])
        return sorted(found[self._rests[found] == rest].tolist())

    def repeated_key(self) -> str | None:
        """A text whose key another text has too; None when all keys differ."""
        for start in range(0, self._length - 1, _CHUNK):
            hashes = np.asarray(self._sorted[start : start + _CHUNK + 1])
            for place in (start + np.flatnonzero(hashes[1:] == hashes[:-1])).tolist():
                one, other = self._numbers[place : place + 2].tolist()
                if self._rests[one] == self._rests[other]:
                    return self[other]
        return None

    def passage_id(self, number: int) -> str | None:
        """The id that the text was first written with; None when it had none."""
        return None if self.ids is None else self.ids[int(self._reads[number])] or None

    def number_of(self, passage_id: str) -> int | None:
        """The number of the text that was written with this id, also where another spelling of it was kept."""
        if self.ids is None or self._number_of_read is None:
            return None
        read = self.ids.find("", key=passage_id)
        return None if read is None else int(self._number_of_read[read])

    def _span(self, number: int) -> tuple[int, int]:
        read = int(self._reads[number])
        return int(self._starts[read]), int(self._starts[read + 1])

    def _text(self, start: int, end: int) -> str:
        return self._bytes(start, end).decode("utf-8", "surrogatepass")

    def _bytes(self, start: int, end: int) -> bytes:
        with self._lock:
            self._file.seek(start)
            return self._file.read(end - start)

    def _slice(self, numbers: range) -> list[str]:
        spans = [self._span(number) for number in numbers]
        if not spans:
            return []
        low, high = min(start for start, _ in spans), max(end for _, end in spans)
        if high - low > _SLICE_WASTE * sum(end - start for start, end in spans):
            return [self._text(*span) for span in spans]
        piece = self._bytes(low, high)
        return [piece[start - low : end - low].decode("utf-8", "surrogatepass") for start, end in spans]


class TextWriter:
    """Writes a `TextStore`; use it in a `with` block, at whose end the store is there.

    Args:
        folder: the store; another one that is there already is replaced.
        distinct: of texts with one key only the first is kept.
        by_key: number the texts by the hash of their keys, so that the order of writing decides nothing (of texts
            with one key the smallest by its own hash is kept); else as they come.
    """

    def __init__(self, folder: Path, *, distinct: bool = True, by_key: bool = False) -> None:
        self.folder, self.about = folder, dict[str, Any]()
        self._distinct, self._by_key = distinct, by_key
        self._partial = folder.with_name(f".{folder.name}.{os.getpid()}-{secrets.token_hex(4)}{PARTIAL}")
        self._ids: TextWriter | None = None
        self._count = self._end = 0

    def __enter__(self) -> TextWriter:
        with filling(self.folder):
            self._partial.mkdir(parents=True)
            self._texts, self._starts, self._hashes = (
                open(self._partial / name, "wb", buffering=_CHUNK)  # noqa: SIM115 (closed in __exit__)
                for name in ("texts", "starts", "hashes")
            )
        return self

    def add(self, text: str, *, key: str | None = None, passage_id: str | None = None) -> None:
        """Append a text, with the key it is found by (default: itself, `one_spaced`) and, if it has one, its id."""
        data = text.encode("utf-8", "surrogatepass")
        with filling(self.folder):
            self._starts.write(self._end.to_bytes(8, "little"))
            self._texts.write(data)
            self._hashes.write(_digest(one_spaced(text) if key is None else key))
            if self._by_key:
                self._hashes.write(hashlib.blake2b(data, digest_size=8).digest())
        if passage_id is not None or self._ids is not None:
            self._add_id(passage_id or "")
        self._end += len(data)
        self._count += 1

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        try:
            with filling(self.folder):
                self._starts.write(self._end.to_bytes(8, "little"))
                for file in (self._texts, self._starts, self._hashes):
                    file.close()
            if self._ids is not None:
                self._ids.__exit__(kind, value, trace)
            if kind is None:
                with filling(self.folder):
                    self._finish()
        finally:
            for file in (self._texts, self._starts, self._hashes):
                with suppress(OSError):
                    file.close()
            shutil.rmtree(self._partial, ignore_errors=True)

    def _add_id(self, passage_id: str) -> None:
        if self._ids is None:
            self._ids = TextWriter(self._partial / "ids", distinct=False).__enter__()
            for _ in range(self._count):
                self._ids.add("")
        self._ids.add(passage_id, key=passage_id)

    def _finish(self) -> None:
        columns = 3 if self._by_key else 2
        hashes_MC = np.fromfile(self._partial / "hashes", np.uint64).reshape(-1, columns)
        (self._partial / "hashes").unlink()
        order_M = np.lexsort(tuple(hashes_MC[:, column] for column in reversed(range(columns))))
        first_M = _first_of_its_key(hashes_MC, order_M) if self._distinct else np.ones(len(order_M), bool)
        by_hash_N = order_M[first_M]  # which of those written stay
        by_number_N = by_hash_N if self._by_key else np.sort(by_hash_N)
        by_number_N.tofile(self._partial / "reads")
        for name, column, kept_N in (("sorted", 0, by_hash_N), ("digests", 0, by_number_N), ("rests", 1, by_number_N)):
            _write_column(self._partial / name, hashes_MC, column, kept_N)
        del hashes_MC  # everything here is as long as the store: only what is still needed stays
        numbers_N = np.arange(len(by_hash_N)) if self._by_key else np.searchsorted(by_number_N, by_hash_N)
        del by_hash_N, by_number_N
        numbers_N.tofile(self._partial / "numbers")
        if self._ids is not None:
            places_M = np.cumsum(first_M)
            places_M -= 1
            number_of_read = np.empty(len(order_M), np.int64)
            for start in range(0, len(order_M), _CHUNK):
                some = slice(start, start + _CHUNK)
                number_of_read[order_M[some]] = numbers_N[places_M[some]]
            number_of_read.tofile(self._partial / "number_of_read")
        self._put_in_place({"about": self.about, "texts": len(numbers_N), "read": len(order_M)})

    def _put_in_place(self, content: Mapping[str, Any]) -> None:
        sizes = {path.name: path.stat().st_size for path in self._partial.iterdir() if path.is_file()}
        text = json.dumps({**content, "bytes": sizes}, ensure_ascii=False, indent=1)
        (self._partial / ABOUT_FILE).write_text(text + "\n", encoding="utf-8")
        for path in self._partial.iterdir():
            if path.is_file():
                with open(path, "rb+") as file:
                    os.fsync(file.fileno())
        aside = self._partial.with_suffix(f".old{PARTIAL}")
        while not _is_there(self._partial, self.folder):  # one like it stays: others may be reading it
            with suppress(FileNotFoundError):  # there is none, or another process was faster
                os.rename(self.folder, aside)
            shutil.rmtree(aside, ignore_errors=True)
            try:
                return os.rename(self._partial, self.folder)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # another process was faster
                    raise


def _is_there(store: Path, folder: Path) -> bool:
    """Whether the files of `store` are in `folder`, byte for byte."""
    files = [path.relative_to(store) for path in store.rglob("*") if path.is_file()]
    try:
        return all(filecmp.cmp(store / file, folder / file, shallow=False) for file in files)
    except FileNotFoundError:
        return False


def _first_of_its_key(hashes_MC: np.ndarray, order_M: np.ndarray) -> np.ndarray:
    """bool [M]: which of the sorted texts has another key than the one before it."""
    first_M = np.ones(len(order_M), bool)
    for start in range(1, len(order_M), _CHUNK):
        stop = min(start + _CHUNK, len(order_M))
        keys = hashes_MC[order_M[start - 1 : stop], :2]
        first_M[start:stop] = (keys[1:] != keys[:-1]).any(axis=1)
    return first_M


def _write_column(path: Path, hashes_MC: np.ndarray, column: int, rows: np.ndarray) -> None:
    with open(path, "wb") as file:
        for start in range(0, len(rows), _CHUNK):
            hashes_MC[rows[start : start + _CHUNK], column].tofile(file)


def _mapped(path: Path, dtype: type[np.generic]) -> np.ndarray:
    """The numbers of a file, memory-mapped; an empty file cannot be."""
    return np.asarray(np.memmap(path, dtype, mode="r")) if path.stat().st_size else np.empty(0, dtype)
