"""Where results come from: versions of what made them, hashes of what they were made from."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from sharprank.progress import progress_bar

BYTES_WORTH_A_BAR = 4 << 30

_PACKAGES = (
    "sharprank", "torch", "transformers", "tokenizers", "accelerate", "FlagEmbedding", "faiss-cpu", "faiss-gpu",
    "bm25s", "snowballstemmer", "ir-measures", "datasets", "numpy", "peft", "deepspeed",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Version of Python and of every package that shapes a result, without importing them."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def hash_file(path: str | Path) -> str:
    """sha256 of a file's bytes, as hex; a file that has not changed since is not read again."""
    state = os.stat(path)
    return _hash_file(os.path.abspath(path), (state.st_size, state.st_mtime_ns, state.st_ino))


@functools.lru_cache(maxsize=1024)
def _hash_file(path: str, state: tuple[int, ...]) -> str:
    digest = hashlib.sha256()
    words = f"hashing {os.path.basename(path)}" if state[0] >= BYTES_WORTH_A_BAR else None
    with open(path, "rb") as file, progress_bar(total=state[0], desc=words, unit="B") as bar:
        while block := file.read(1 << 20):
            digest.update(block)
            bar.update(len(block))
    return digest.hexdigest()


def describe_inputs(paths: Iterable[str | Path]) -> dict[str, str]:
    """{path: sha256} of every file named, folders file by file; names that are no local path stay as they are."""
    described: dict[str, str] = {}
    for name in paths:
        path = Path(name).expanduser()
        if path.is_dir():
            described |= {str(file): hash_file(file) for file in _files_below(path)}
        else:
            described[str(name)] = hash_file(path) if path.is_file() else "not a local file"
    return described


def _files_below(folder: Path) -> list[Path]:
    """Sorted, without what is hidden (a `.git`, say)."""
    files = (file for file in folder.rglob("*") if file.is_file())
    return sorted(file for file in files if not any(part[0] == "." for part in file.relative_to(folder).parts))


def manifest(*, command: Sequence[str], settings: Mapping[str, Any], inputs: Mapping[str, str]) -> dict[str, Any]:
    """What stands beside an output: how it was asked for, what it was made from, and by which versions."""
    return {"command": list(command), "settings": dict(settings), "inputs": dict(inputs), "versions": versions()}


def processor_name() -> str:
    """What the processor calls itself, as far as the system says."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine() or "unknown processor")
