"""A scorer that needs no model, requests, and a small folder of texts with a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sharprank.metrics.pairs import sigmoid
from sharprank.serving.config import RerankConfig


class FakeScorer:
    """Scores a passage by the words it shares with the query; remembers its calls, and can fail at one of them."""

    def __init__(self, fail_at: int | None = None, *, scale: float = 1.0) -> None:
        self.calls: list[int] = []
        self.fail_at, self.scale = fail_at, scale

    def score_lists(self, queries, passages, *, windows):
        if len(self.calls) == self.fail_at:
            raise KeyboardInterrupt
        self.calls.append(len(queries))
        return [
            [self.scale * (len(set(query.split()) & set(text.split())) - 1) for text in texts]
            for query, texts in zip(queries, passages, strict=True)
        ]

    def probabilities(self, scores):
        return sigmoid(scores)


@pytest.fixture
def scorer() -> FakeScorer:
    return FakeScorer()


ROWS = [
    {"id": "q1", "query": "red apple", "documents": ["blue fish", "a red apple", "an apple"], "note": "naïve 的"},
    {"id": "q2", "query": "fast dog", "documents": []},
    {"id": "q3", "query": "tree", "documents": [{"id": "t1", "text": "house"}, {"id": "t2", "text": "tree"}]},
]


@pytest.fixture
def rows_path(tmp_path) -> Path:
    return write_jsonl(tmp_path / "rows.jsonl", ROWS)


@pytest.fixture
def texts_folder(tmp_path) -> Path:
    """corpus.jsonl and queries.jsonl, without judgements, and `first.trec`."""
    corpus = {"p1": "a red apple", "p2": "blue fish", "p3": "red fish", "p4": "not named"}
    write_jsonl(tmp_path / "corpus.jsonl", [{"_id": name, "text": text} for name, text in corpus.items()])
    write_jsonl(tmp_path / "queries.jsonl", [{"_id": "q1", "text": "red apple"}, {"_id": "q2", "text": "fish"}])
    lines = ["q1 Q0 p2 1 9 bm25", "q1 Q0 p3 2 8 bm25", "q1 Q0 p1 3 7 bm25", "q2 Q0 p1 1 5 bm25", "q2 Q0 p2 2 4 bm25"]
    (tmp_path / "first.trec").write_text("\n".join(lines) + "\n")
    return tmp_path


def write_jsonl(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def config(data, **changes) -> RerankConfig:
    return RerankConfig(model_name_or_path="some/model", data=str(data), **changes)
