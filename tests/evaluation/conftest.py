"""Scorers that need no model, a file of rows, and a small collection folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sharprank.evaluation.config import EvaluationConfig


class FakeScorer:
    """Scores each pair by a function; remembers how often it was called."""

    def __init__(self, function: Callable[[str, str], float]) -> None:
        self.function = function
        self.calls = 0

    def score(self, pairs, *, progress=None):
        self.calls += 1
        return np.array([self.function(query, passage) for query, passage in pairs], dtype=np.float32)


def shared_words(query: str, passage: str) -> float:
    """How many words of the query the passage has, centred so that about half the probabilities pass 0.5."""
    return len(set(query.split()) & set(passage.split())) - 1.5


SCORERS: dict[str, Callable[[str, str], float]] = {
    "overlap": shared_words,
    "worse": lambda query, passage: -shared_words(query, passage),
    "untied": lambda query, passage: shared_words(query, passage) + len(passage) / 1000,
    "sure": lambda query, passage: 100 + 50 * shared_words(query, passage),
    "constant": lambda query, passage: 0.25,
    "broken": lambda query, passage: float("nan") if "banana" in passage else 0.0,
}


@pytest.fixture
def prepare():
    """Models named after the functions above; `loaded` lists those that were loaded."""

    def prepare_fake(name: str, config: EvaluationConfig):
        def load():
            prepare_fake.loaded.append(name)
            return FakeScorer(SCORERS[name])

        return load

    prepare_fake.loaded = []
    return prepare_fake


ROWS = [
    {"query": "red apple tree", "pos": ["a red apple on a tree"], "neg": ["blue fish", "a red house", "tree"]},
    {"query": "blue fish river", "pos": ["the fish in the river"], "neg": ["blue fish river of paint", "dog"]},
    {"query": "fast dog", "pos": ["a fast dog", "dog"], "neg": ["slow cat"]},
]

CORPUS = {
    "p1": "a red apple on a tree",
    "p2": "the fish in the river",
    "p3": "a fast dog",
    "p4": "the slow cat sat on the red house",
    "p5": "banana and apple",
    "p6": "tree house in the river",
}
QUERIES = {"q1": "red apple", "q2": "river fish", "q3": "fast dog", "q4": "zebra", "q5": "house"}
QRELS = {"q1": {"p1": 2, "p5": 1}, "q2": {"p2": 1, "p6": 0}, "q3": {"p3": 1}, "q4": {"p4": 1}}


@pytest.fixture
def rows_path(tmp_path) -> Path:
    return write_jsonl(tmp_path / "rows.jsonl", ROWS)


@pytest.fixture
def collection_path(tmp_path) -> Path:
    """Six passages, five queries, four of them judged in split test, one of which BM25 finds nothing for."""
    return write_collection(tmp_path / "collection", CORPUS, QUERIES, {"test": QRELS})


@pytest.fixture
def run_path(tmp_path) -> Path:
    """A first stage that puts the relevant passages last, and knows a query that is not judged."""
    path = tmp_path / "first.trec"
    lists = {"q1": ["p4", "p5", "p1"], "q2": ["p6", "p1", "p2"], "q3": ["p4", "p3"], "q5": ["p6"]}
    lines = [f"{q} Q0 {p} {i} {10 - i} first" for q, ids in lists.items() for i, p in enumerate(ids, start=1)]
    path.write_text("\n".join(lines) + "\n")
    return path


def write_jsonl(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def write_collection(folder: Path, corpus: dict, queries: dict, qrels_by_split: dict[str, dict]) -> Path:
    (folder / "qrels").mkdir(parents=True)
    write_jsonl(folder / "corpus.jsonl", [{"_id": i, "title": "", "text": text} for i, text in corpus.items()])
    write_jsonl(folder / "queries.jsonl", [{"_id": i, "text": text} for i, text in queries.items()])
    for split, qrels in qrels_by_split.items():
        lines = [f"{q}\t{p}\t{value}" for q, judged in qrels.items() for p, value in judged.items()]
        (folder / "qrels" / f"{split}.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *lines]) + "\n")
    return folder


def config(data, *models: str, **changes) -> EvaluationConfig:
    return EvaluationConfig(model_name_or_path=list(models or ["overlap"]), data=str(data), **changes)
