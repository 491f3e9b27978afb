"""Where results come from: versions of what made them, hashes of what they were made from."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

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
    """sha256 of a file's bytes, as hex."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
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
