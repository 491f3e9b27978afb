"""A bi-encoder whose similarities can be read off the texts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from sharprank.formats.text_store import TextStore, TextWriter


class NumberEncoder:
    """The cosine of any query with "cat 0.90" is 0.90; of any query with a text without a number, 0."""

    size = 2

    def __init__(self, name: str = "numbers") -> None:
        self.name = name
        self.asked: list[tuple[str, tuple[str, ...]]] = []

    def encode(self, texts, *, kind, progress=None, tokenize_batch=1) -> np.ndarray:
        self.asked.append((kind, tuple(texts)))
        if kind == "query":
            return np.tile(np.array([[1.0, 0.0]], np.float32), (len(texts), 1))
        cosines = np.array([_number(text) for text in texts]).reshape(-1, 1)
        return np.hstack([cosines, np.sqrt(1 - cosines**2)]).astype(np.float32)

    def settings(self) -> dict:
        return {"model": self.name}

    def weights_sha256(self) -> str:
        return self.name


def _number(text: str) -> float:
    found = re.search(r"0\.\d+", text)
    return float(found[0]) if found else 0.0


@pytest.fixture
def store(tmp_path_factory):
    """Puts texts on disk: store(texts) is a pool, store(texts, exact=True) are queries."""

    def write(texts: Iterable[str], *, exact: bool = False) -> TextStore:
        folder: Path = tmp_path_factory.mktemp("texts") / "store"
        with TextWriter(folder, by_key=exact) as writer:
            for text in texts:
                writer.add(text, key=text if exact else None)
        return TextStore(folder)

    return write


@pytest.fixture
def encoder() -> NumberEncoder:
    return NumberEncoder()


@pytest.fixture
def ladder() -> list[str]:
    """Forty different passages, best first: cosines 0.99, 0.97, ..."""
    return [f"passage number {i} cosine {0.99 - 0.02 * i:.2f}" for i in range(40)]
