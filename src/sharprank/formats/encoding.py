"""Opening text files whatever their encoding: UTF-8 first, then byte-order marks, then chardet's best guess.

The whole file is checked to be UTF-8 in one streaming pass; only a bounded sample is ever shown to chardet.
"""

from __future__ import annotations

import codecs
import contextlib
import gzip
import io
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import IO, BinaryIO, TextIO, cast

from sharprank.errors import UserError
from sharprank.progress import say

SAMPLE_BYTES = 1 << 18
_BLOCK = 1 << 20
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def open_bytes(path: Path) -> BinaryIO:
    """The file's bytes, decompressed for names ending in .gz."""
    return cast(BinaryIO, gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb"))


@contextlib.contextmanager
def open_text(path: str | Path) -> Iterator[TextIO]:
    """The file as text, whatever its encoding; an encoding other than UTF-8 is said once.

    Raises:
        UserError: the file does not exist, cannot be read, or is not text.
    """
    file_path = Path(path)
    with readable(file_path):
        status = file_path.stat()
        encoding = detect_encoding(file_path, status.st_size, status.st_mtime_ns)
        with open_bytes(file_path) as binary:
            yield io.TextIOWrapper(cast("IO[bytes]", binary), encoding=encoding, newline="")


@contextlib.contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what can go wrong while reading a file into UserErrors that name it."""
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist", fix="check the path") from error
    except (gzip.BadGzipFile, EOFError) as error:
        raise UserError(f"{path} is not a complete gzip file: {error}", fix="make or fetch it again") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not text in {error.encoding}: {error.reason}", fix="save it as UTF-8") from error
    except OSError as error:
        raise UserError(
            f"{path} cannot be read: {error.strerror or error}", fix="check the file's permissions"
        ) from error


@lru_cache(maxsize=1024)
def detect_encoding(path: Path, size: int, mtime_ns: int) -> str:
    """The encoding of a file (keyed by size and time so that a changed file is looked at again)."""
    with open_bytes(path) as file:
        sample = file.read(SAMPLE_BYTES)
    for mark, encoding in _MARKS:
        if sample.startswith(mark):
            if encoding != "utf-8-sig":
                say(f"note: {path} is read as {encoding} (byte-order mark)")
            return encoding
    if b"\0" not in sample and _is_utf8(path):
        return "utf-8"
    return _guess(path, sample)


def _is_utf8(path: Path) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    with open_bytes(path) as file:
        try:
            while block := file.read(_BLOCK):
                decoder.decode(block)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return True


def _guess(path: Path, sample: bytes) -> str:
    encoding = _utf16_without_mark(sample) or _chardet(sample)
    if encoding is None:
        raise UserError(f"{path} is not text in any encoding known", fix="save it as UTF-8")
    say(f"note: {path} is not UTF-8; it is read as {encoding}")
    return encoding


def _utf16_without_mark(sample: bytes) -> str | None:
    """UTF-16 text of any western language has a zero in every other byte."""
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    half = max(1, len(sample) // 2)
    if odd > 0.3 * half and even < 0.05 * half:
        return "utf-16-le"
    if even > 0.3 * half and odd < 0.05 * half:
        return "utf-16-be"
    return None


def _chardet(sample: bytes) -> str | None:
    import chardet

    if b"\0" in sample:
        return None
    encoding = chardet.detect(_whole_lines(sample))["encoding"]
    if encoding is None:
        return None
    if encoding.lower().replace("-", "") in ("gb2312", "gbk", "gb18030"):
        return "gb18030"  # the superset of the other two
    if encoding.lower().startswith(("ascii", "utf-8")):
        return "latin-1"
    return encoding.lower()


def _whole_lines(sample: bytes) -> bytes:
    """Without the last, perhaps broken line, so that no character is cut in half."""
    end = sample.rfind(b"\n")
    return sample if end < 0 else sample[: end + 1]
