"""Arrays in files: written whole or not at all, checked before they are used, and never resident for long.

A file is a plain .npy with a checksum behind the numbers. It is memory-mapped for the moment of each access only, so
that a table of any size takes no memory while it is not looked at. Knows nothing of what the numbers are.
"""

from __future__ import annotations

import mmap
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from sharprank.formats.cache import filling
from sharprank.formats.writers import atomic_open

_MARK = b"crc32:"
_TAIL = len(_MARK) + 4


class StoredArray:
    """An array in a file; indexing copies what was asked for into memory.

    Attributes:
        path: the file.
        shape: of the array.
        dtype: of its numbers, which may be records.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], offset: int) -> None:
        self.path, self.shape, self.dtype = path, shape, dtype
        self._offset = offset

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self._mapped(), dtype=dtype)

    def __getitem__(self, key: Any) -> np.ndarray:
        return np.array(self._mapped()[key])

    def _mapped(self) -> np.ndarray:
        if 0 in self.shape:
            return np.empty(self.shape, self.dtype)
        with open(self.path, "rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return np.ndarray(self.shape, self.dtype, content, self._offset)


Shard = np.ndarray | StoredArray
"""Rows of a table, in memory or on disk."""


def save_array(path: Path, array: np.ndarray) -> None:
    """Write an array so that it is there whole or not at all, whatever dies meanwhile.

    Raises:
        UserError: the disk is full or cannot be written.
    """
    array = np.ascontiguousarray(array)
    with filling(path), atomic_open(path, "wb") as file:
        np.save(file, array, allow_pickle=False)
        file.write(_MARK + _checksum(array))


def load_array(path: Path, *, check: bool = True) -> StoredArray | None:
    """The array in a file; None when it is absent, cut short or damaged.

    Args:
        check: read all of it and compare the checksum, else only the sizes.
    """
    try:
        with open(path, "rb") as file:
            np.lib.format.read_magic(file)
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
            stored = StoredArray(path, shape, dtype, file.tell())
            num_bytes = int(np.prod(shape)) * dtype.itemsize
            if fortran or os.fstat(file.fileno()).st_size != file.tell() + num_bytes + _TAIL:
                return None
            file.seek(num_bytes, os.SEEK_CUR)
            tail = file.read()
    except (OSError, ValueError, EOFError):
        return None
    whole = tail.startswith(_MARK) and (not check or tail[len(_MARK) :] == _checksum(stored._mapped()))
    return stored if whole else None


def _checksum(array: np.ndarray) -> bytes:
    return zlib.crc32(array.reshape(-1).view(np.uint8).data).to_bytes(4, "little")
