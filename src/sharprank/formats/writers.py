"""Writing: every output appears under its name only when it is complete.

A temporary file in the same folder is written, flushed to disk and renamed over the target; a kill leaves the old
file (or none), and at most a hidden one that ends in .partial, which no reader takes and which may be deleted.
"""

from __future__ import annotations

import contextlib
import datetime
import decimal
import errno
import gzip
import io
import json
import math
import os
import secrets
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Literal

from sharprank.errors import UserError
from sharprank.progress import say

_TEMPORARY = ".partial"
_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path that becomes `path` when the block ends, and vanishes when the block fails.

    Raises:
        UserError: the folder cannot be made or written to, the disk is full, or `path` is no regular file.
    """
    target = Path(path).resolve()  # a link stays a link: what it points to is replaced
    with _writing(path):
        _refuse_special(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = _new_file_beside(target)
    try:
        with _writing(path, only=_DISK_ERRORS):
            yield temporary
        with _writing(path):
            _flush(temporary)
            os.replace(temporary, target)
        with contextlib.suppress(OSError):  # some network file systems cannot flush folders; the file is there
            _flush(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _new_file_beside(target: Path) -> Path:
    """An empty file with the rights that any new file would get here."""
    name = target.name[:100]  # names may be at most 255 bytes long
    temporary = target.with_name(f".{name}.{os.getpid()}-{secrets.token_hex(4)}{_TEMPORARY}")
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    return temporary


def _flush(path: Path) -> None:
    """Make what was written survive a power cut; folders can be flushed on POSIX only."""
    if path.is_dir() and os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _refuse_special(path: str | Path, *, flag: str = "the output") -> None:
    target = Path(path)
    if target.is_dir():
        raise UserError(f"{flag} {path} is a folder", fix="name a file")
    if target.exists() and not target.is_file():
        raise UserError(f"{flag} {path} is a device or a pipe", fix="name a file")


@contextlib.contextmanager
def _writing(path: str | Path, *, only: set[int] | None = None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if only is not None and error.errno not in only:
            raise
        raise UserError(
            f"cannot write {path}: {error.strerror or error}",
            fix="name an output in a folder with room and write access",
        ) from error


@contextlib.contextmanager
def atomic_open(path: str | Path, mode: Literal["w", "wb"] = "w") -> Iterator[IO[Any]]:
    """Like `atomic_path`, opened: UTF-8 text with plain line feeds, or bytes; compressed for names ending in .gz."""
    with atomic_path(path) as temporary, contextlib.ExitStack() as stack:
        binary: Any = stack.enter_context(open(temporary, "wb"))
        if str(path).lower().endswith(".gz"):
            binary = stack.enter_context(gzip.GzipFile(filename="", fileobj=binary, mode="wb", mtime=0))
        if mode == "wb":
            yield binary
        else:
            text = stack.enter_context(io.TextIOWrapper(binary, encoding="utf-8", newline="\n"))
            yield text


@contextlib.contextmanager
def open_together(path: str | Path, *others: str | Path) -> Iterator[list[IO[Any]]]:
    """An output and what stands beside it, opened as `atomic_open` does; all appear when the block ends, it the last.

    An old output goes before the others appear: a kill leaves none, never one beside the statistics of another.
    """
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(atomic_open(one)) for one in (path, *others)]
        Path(path).resolve().unlink(missing_ok=True)


def write_json(path: str | Path, data: Any) -> None:
    """Write one JSON document, as `json_document` has it."""
    text = json_document(data)
    with atomic_open(path) as file:
        file.write(text)


def json_document(data: Any) -> str:
    """One JSON document, indented, non-ASCII text as it is; nan and infinities, which JSON lacks, become null."""
    return json.dumps(_without_nan(data), ensure_ascii=False, indent=1, allow_nan=False, default=plain) + "\n"


def _without_nan(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {key: _without_nan(value) for key, value in data.items()}
    if hasattr(data, "tolist"):
        data = data.tolist()
    if isinstance(data, (list, tuple)):
        return [_without_nan(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def write_jsonl(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write one JSON object a line; returns the number of lines."""
    with atomic_open(path) as file:
        return write_lines(file, rows)


def write_lines(file: IO[str], rows: Iterable[Mapping[str, Any]]) -> int:
    """As `write_jsonl`, into a file that is open."""
    count = 0
    for row in rows:
        file.write(json_line(row) + "\n")
        count += 1
    return count


def json_line(row: Mapping[str, Any]) -> str:
    """One object in one line, without the line feed; non-ASCII text as it is, dates and numpy values as plain ones."""
    return json.dumps(row, ensure_ascii=False, default=plain)


def plain(value: Any) -> Any:
    """What JSON can hold in the place of a value it cannot: numpy's, and what parquet columns bring along."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (Path, datetime.date, datetime.time, datetime.timedelta, decimal.Decimal, uuid.UUID)):
        return str(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, bytes):
        raise UserError("a field holds bytes, which JSON cannot hold", fix="drop that column, or make it text")
    raise TypeError(f"cannot write a {type(value).__name__} as JSON: {value!r}")


def check_writable(path: str | Path, *, flag: str = "--output_file") -> None:
    """Refuse an output that could not be written, before the work starts.

    Raises:
        UserError: the path is a folder or a device, or its folder cannot be made or written to.
    """
    target = Path(path).resolve()
    try:
        _refuse_special(path, flag=flag)
        target.parent.mkdir(parents=True, exist_ok=True)
        _new_file_beside(target).unlink()
    except OSError as error:
        raise UserError(
            f"{flag} {path} cannot be written: {error.strerror or error}",
            fix="name a file in a folder you can write to",
        ) from error


def check_apart(outputs: Mapping[str, str | Path | None], inputs: Iterable[tuple[str, str | Path | None]]) -> None:
    """Refuse an output that is an input or lies in one, or two outputs of one file, whatever paths and links name it.

    Args:
        outputs: {flag: its path}; None where nothing is written.
        inputs: (what a message calls it, its path); None where nothing is read.

    Raises:
        UserError: naming both.
    """
    flags: dict[Path, str] = {}
    for flag, path in outputs.items():
        before = flag if path is None else flags.setdefault(Path(path).resolve(), flag)
        if before != flag:
            raise UserError(f"--{before} and --{flag} are both {path}", fix="write to two files")
    for words, path in inputs:
        source = None if path is None else Path(path).expanduser().resolve()
        if source in flags:
            flag = flags[source]
            raise UserError(f"--{flag} {outputs[flag]} is also {words}", fix="write to another file; the input is kept")
        for target, flag in flags.items():
            if source in target.parents:
                raise UserError(
                    f"--{flag} {outputs[flag]} lies in {words} {path}, and would be read as a part of it the next time",
                    fix="write to another folder",
                )


def refuse_other_settings(
    output_path: str | Path,
    settings: Mapping[str, Any],
    *,
    manifest_path: str | Path | None = None,
    overwrite: bool = False,
) -> Literal["new", "done"]:
    """Say whether an output still has to be made: "new", or "done" when it exists and was made by these settings.

    Args:
        settings: what decides the output; compared with `settings` in the manifest.
        manifest_path: the JSON file beside the output; default `<output>.stats.json`.

    Raises:
        UserError: the output exists and was made by other settings, or nothing says how it was made.
    """
    output, manifest = Path(output_path), Path(manifest_path or f"{output_path}.stats.json")
    if overwrite or not output.exists():
        return "new"
    before = _part_of(manifest, "settings")
    if before is None:
        raise UserError(
            f"{output} exists, and no {manifest.name} beside it says how it was made",
            fix="name another output, or pass --overwrite True",
        )
    now = json.loads(json_line(dict(settings)))
    for name in [*now, *sorted(before.keys() - now.keys())]:
        if name not in before or name not in now or before[name] != now[name]:
            raise UserError(
                f"{output} exists and was made with {name} {_told(before, name)}, not {_told(now, name)}",
                fix="name another output, set it as it was, or pass --overwrite True",
            )
    return "done"


def refuse_other_inputs(
    output_path: str | Path,
    inputs: Mapping[str, str],
    *,
    manifest_path: str | Path | None = None,
    overwrite: bool = False,
) -> None:
    """Refuse to make an output of these settings again from other data, where settings name data and hold no hashes.

    Args:
        inputs: {path: sha256}, compared with `inputs` in the manifest.
        manifest_path: the JSON file beside the output; default `<output>.stats.json`.

    Raises:
        UserError: the output exists, and a file was read for it that is another now, or is not read.
    """
    if overwrite or not Path(output_path).exists():
        return
    before = _part_of(Path(manifest_path or f"{output_path}.stats.json"), "inputs") or {}
    for name in [*inputs, *sorted(before.keys() - inputs.keys())]:
        if before.get(name) != inputs.get(name):
            raise UserError(
                f"{output_path} exists and was made from other data: {name} is not as it was",
                fix="name another output, or pass --overwrite True",
            )


def is_made(
    output_path: str | Path,
    settings: Mapping[str, Any],
    *,
    manifest_path: str | Path | None = None,
    overwrite: bool = False,
) -> bool:
    """Whether nothing is left to do, which is then said; arguments and errors as those of `refuse_other_settings`."""
    if refuse_other_settings(output_path, settings, manifest_path=manifest_path, overwrite=overwrite) == "new":
        return False
    say(f"note: {output_path} was already made with these settings; --overwrite True makes it again")
    return True


def _part_of(manifest: Path, name: str) -> dict[str, Any] | None:
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    part = content.get(name) if isinstance(content, dict) else None
    return part if isinstance(part, dict) else None


def _told(settings: Mapping[str, Any], name: str) -> str:
    return json.dumps(settings[name], ensure_ascii=False) if name in settings else "(not set)"
