"""Writing: every output appears under its name only when it is complete.

A temporary file in the same folder is written, flushed to disk and renamed over the target; a kill leaves the old
file (or none) and at most a temporary one, which the next write to the same name removes.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Literal

from sharprank.errors import UserError

_TEMPORARY = ".partial"


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path that becomes `path` when the block ends, and vanishes when the block fails.

    Raises:
        UserError: the folder cannot be made or written to, or the disk is full.
    """
    target = Path(path)
    with _readable_os_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=_TEMPORARY, dir=target.parent)
        os.close(handle)
    temporary = Path(name)
    try:
        with _readable_os_errors(target):
            yield temporary
            _flush(temporary)
            temporary.chmod(0o666 & ~_umask())
            os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextlib.contextmanager
def _readable_os_errors(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot write {target}: {error.strerror or error}",
            fix="name an output in a folder with room and write access",
        ) from error


@contextlib.contextmanager
def atomic_open(path: str | Path, mode: Literal["w", "wb"] = "w") -> Iterator[IO[Any]]:
    """Like `atomic_path`, opened: UTF-8 text with plain line feeds, or bytes; compressed for names ending in .gz."""
    with atomic_path(path) as temporary, contextlib.ExitStack() as stack:
        binary: Any = stack.enter_context(open(temporary, "wb"))
        if str(path).endswith(".gz"):
            binary = stack.enter_context(gzip.GzipFile(filename="", fileobj=binary, mode="wb", mtime=0))
        if mode == "wb":
            yield binary
        else:
            text = stack.enter_context(io.TextIOWrapper(binary, encoding="utf-8", newline="\n"))
            yield text


def write_json(path: str | Path, data: Any) -> None:
    """Write one JSON document, indented, non-ASCII text as it is."""
    with atomic_open(path) as file:
        json.dump(data, file, ensure_ascii=False, indent=1, allow_nan=False)
        file.write("\n")


def write_jsonl(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write one JSON object a line; returns the number of lines."""
    count = 0
    with atomic_open(path) as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    return count


def check_writable(path: str | Path, *, flag: str = "--output_file") -> None:
    """Refuse an output that could not be written, before the work starts.

    Raises:
        UserError: the path is a folder, or its folder cannot be made or written to.
    """
    target = Path(path)
    if target.is_dir():
        raise UserError(f"{flag} {target} is a folder", fix="name a file")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(prefix=".", suffix=_TEMPORARY, dir=target.parent):
            pass
    except OSError as error:
        raise UserError(
            f"{flag} {target} cannot be written: {error.strerror or error}",
            fix="name a file in a folder you can write to",
        ) from error


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
    if not manifest.is_file():
        raise UserError(
            f"{output} exists and {manifest.name} beside it, which would say how it was made, does not",
            fix="name another output, or pass --overwrite True",
        )
    before = json.loads(manifest.read_text(encoding="utf-8")).get("settings", {})
    now = json.loads(json.dumps(dict(settings)))
    for name in sorted({*before, *now}):
        if before.get(name) != now.get(name):
            raise UserError(
                f"{output} exists and was made with {name} = {before.get(name)!r}; now it is {now.get(name)!r}",
                fix="name another output, repeat the old setting, or pass --overwrite True",
            )
    return "done"
