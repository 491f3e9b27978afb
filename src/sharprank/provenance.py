"""Where results come from: versions of what made them, hashes of what they were made from."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

_PACKAGES = ("sharprank", "torch", "transformers", "FlagEmbedding", "faiss-cpu", "faiss-gpu", "ir-measures", "numpy")


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
        path = Path(name)
        if path.is_file():
            described[str(name)] = hash_file(path)
        elif path.is_dir():
            for child in sorted(child for child in path.rglob("*") if child.is_file()):
                described[str(child)] = hash_file(child)
        else:
            described[str(name)] = "not a local file"
    return described


def manifest(*, command: Sequence[str], settings: Mapping[str, Any], inputs: Mapping[str, str]) -> dict[str, Any]:
    """What stands beside an output: how it was asked for, what it was made from, and by which versions."""
    return {"command": list(command), "settings": dict(settings), "inputs": dict(inputs), "versions": versions()}
