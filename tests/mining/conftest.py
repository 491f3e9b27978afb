"""A bi-encoder whose similarities can be read off the texts."""

from __future__ import annotations

import re

import numpy as np
import pytest


class NumberEncoder:
    """The cosine of any query with "cat 0.90" is 0.90; of any query with a text without a number, 0."""

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
def encoder() -> NumberEncoder:
    return NumberEncoder()


@pytest.fixture
def ladder() -> list[str]:
    """Forty different passages, best first: cosines 0.99, 0.97, ..."""
    return [f"passage number {i} cosine {0.99 - 0.02 * i:.2f}" for i in range(40)]
