"""Opening text files whatever their encoding: byte-order marks, then UTF-8, then chardet's best guess.

The guess is made from the first stretch of the file that is not plain ASCII, never from the whole of it. Knows nothing
of rows; bytes that do not fit the encoding come out as lone surrogates, which `is_broken` finds and readers refuse.
"""

from __future__ import annotations

import codecs
import contextlib
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import IO, BinaryIO, TextIO, cast

from sharprank.errors import UserError
from sharprank.progress import say

BLOCK_BYTES = 1 << 16
ENOUGH, ENOUGH_KINDS = 24, 5
"""Bytes beyond ASCII, and different ones among them, from which chardet's guess is taken as it is; its confidence says
little (0.08 for good German, 0.13 for a wrong page), these say more."""
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_HIGH_BYTES = re.compile(rb"[\x80-\xff]+")
_COMMON_CHINESE = re.compile(rb"(?:[\xa1-\xa3\xb0-\xd7][\xa1-\xfe])+")


def open_bytes(path: Path) -> BinaryIO:
    """The file's bytes, decompressed for names ending in .gz."""
    return cast(BinaryIO, gzip.open(path, "rb") if path.suffix.lower() == ".gz" else open(path, "rb"))


@contextlib.contextmanager
def open_text(path: str | Path) -> Iterator[TextIO]:
    """The file as text, whatever its encoding; an encoding other than UTF-8 is said once.

    Only `\\n`, `\\r` and `\\r\\n` end a line, and they are left as they are; U+2028 and its like do not.

    Raises:
        UserError: the file does not exist, cannot be read, or is not text.
    """
    file_path = Path(path)
    with readable(file_path):
        status = file_path.stat()
        encoding = detect_encoding(file_path, status.st_size, status.st_mtime_ns)
        with open_bytes(file_path) as binary:
            yield io.TextIOWrapper(cast("IO[bytes]", binary), encoding=encoding, errors="surrogateescape", newline="")


def is_broken(text: str) -> bool:
    """Whether a text holds lone surrogates: bytes of another encoding, or half of a `\\ud83d\\ude00` pair in JSON."""
    if text.isascii():
        return False
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


@contextlib.contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what can go wrong while reading a file into UserErrors that name it."""
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist", fix="check the path") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path} is not a complete gzip file: {error}", fix="make or fetch it again") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not text in {error.encoding}: {error.reason}", fix="save it as UTF-8") from error
    except OSError as error:
        raise UserError(
            f"{path} cannot be read: {error.strerror or error}", fix="name a file that you may read"
        ) from error


@lru_cache(maxsize=4096)
def detect_encoding(path: Path, size: int, mtime_ns: int) -> str:
    """The encoding of a file (size and time are asked for so that a changed file is looked at again).

    A file that begins with plain ASCII is read up to its first other byte, and then again by its reader: the encoding
    must be known before the first line is given out. That costs a tenth of parsing its lines, and no memory.
    """
    with open_bytes(path) as file:
        sample = file.read(BLOCK_BYTES)
        for mark, encoding in _MARKS:
            if sample.startswith(mark):
                if encoding != "utf-8-sig":
                    say(f"note: {path} is read as {encoding} (byte-order mark)")
                return encoding
        while sample and sample.isascii() and b"\0" not in sample:
            sample = file.read(BLOCK_BYTES)
        sample += file.read(BLOCK_BYTES)
    if _is_mostly_utf8(sample) and not _ends_lines_with_two_bytes(sample):
        return "utf-8"
    encoding = _utf16_without_mark(sample) if b"\0" in sample else _guess(_telling_lines(sample))
    if encoding is None:
        raise UserError(f"{path} is not text in any encoding known", fix="save it as UTF-8")
    say(f"note: {path} is not UTF-8; it is read as {encoding}")
    return encoding


def _is_mostly_utf8(sample: bytes) -> bool:
    """UTF-8, or UTF-8 with a few damaged bytes: those are to be shown as damage, not explained by another encoding."""
    text = codecs.getincrementaldecoder("utf-8")("replace").decode(sample)  # a character cut by the end is no damage
    damaged = text.count("\ufffd")
    intact = sum(not char.isascii() for char in text) - damaged if damaged else 0
    return damaged == 0 or intact > 10 * damaged


def _ends_lines_with_two_bytes(sample: bytes) -> bool:
    """UTF-16, perhaps: zeros stand beside the line feeds, not just here and there. (Cyrillic UTF-16 is valid UTF-8.)"""
    return b"\0" in sample and 2 * (sample.count(b"\n\0") + sample.count(b"\0\n")) >= sample.count(b"\n")


def _utf16_without_mark(sample: bytes) -> str | None:
    """The byte order in which there are line breaks, blanks and quotes; in the other one these are no characters.

    Counting zero bytes would not do: the commonest Chinese character, U+4E00, has one on the other side.
    """
    seen: dict[str, int] = {}
    for encoding in ("utf-16-le", "utf-16-be"):
        whole = sample[: len(sample) // 2 * 2]
        if _decodes(whole, encoding):
            text = whole.decode(encoding, "ignore")
            seen[encoding] = 0 if "\0" in text else sum(map(text.count, '\n "'))
    worst, best = sorted(("utf-16-le", "utf-16-be"), key=lambda encoding: seen.get(encoding, 0))
    return best if seen.get(best, 0) > 10 * seen.get(worst, 0) else None


def _guess(sample: bytes) -> str | None:
    """chardet's answer; for texts of a few characters beyond ASCII, rather what their bytes look like."""
    import chardet

    named = (chardet.detect(sample)["encoding"] or "").lower()
    beyond_ascii = sample.translate(None, bytes(range(128)))
    if len(beyond_ascii) < ENOUGH or len(set(beyond_ascii)) < ENOUGH_KINDS or not named:
        named = _looks_like(sample) or named
    if named in ("gb2312", "gbk", "gb18030", "hz-gb-2312", "euc-cn"):
        named = "gb18030"  # the superset of the others
    if named in ("ascii", "latin-1", "iso8859-1", "iso-8859-1", "windows-1252", "iso8859-15", "iso-8859-15"):
        named = _western(sample)
    return named if named and _decodes(sample, named) else None


def _looks_like(sample: bytes) -> str | None:
    runs: list[bytes] = _HIGH_BYTES.findall(sample)
    num_high = sum(map(len, runs))
    if _decodes(sample, "gb18030") and sum(map(len, _COMMON_CHINESE.findall(sample))) > 0.9 * num_high:
        return "gb18030"
    # Accented letters stand alone among ASCII letters; words in other alphabets are runs of high bytes.
    return "latin-1" if num_high < 1.5 * len(runs) else None


def _western(sample: bytes) -> str:
    return "cp1252" if re.search(rb"[\x80-\x9f]", sample) and _decodes(sample, "cp1252") else "latin-1"


def _decodes(sample: bytes, encoding: str) -> bool:
    try:
        codecs.getincrementaldecoder(encoding)().decode(sample)
    except (UnicodeDecodeError, LookupError):
        return False
    return True


def _telling_lines(sample: bytes) -> bytes:
    """The lines beyond ASCII; not the last, perhaps broken one, so that no character is cut in half."""
    whole = sample[: sample.rfind(b"\n") + 1] or sample
    return b"\n".join(line for line in whole.split(b"\n") if not line.isascii())
