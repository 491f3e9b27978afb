"""What every side works on: real English rows without repeats, and one start model with a seeded head.

The rows are the documentation of the running Python, cut so that no side truncates anything; a row whose token ids
one side would see differently (FlagEmbedding decodes and tokenises again) is left out and counted.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sharprank.formats.python_docs import read_doc_pairs
from sharprank.models.minilm import resolve_model
from sharprank.records import TrainRow

GROUP_SIZE = 8
MAX_LENGTH = 256
QUERY_LENGTH = 64
"""FlagEmbedding's `query_max_len`; its passages get the other 192 tokens and half of these."""


@dataclass(frozen=True)
class Material:
    """Rows of one positive and GROUP_SIZE - 1 negatives, the texts behind them, and the model to start from.

    Attributes:
        rows: as many as asked for.
        lengths: tokens of every pair of every row, in order.
        skipped: rows left out because sides would see other token ids.
        model_path: a plain BertForSequenceClassification that transformers, FlagEmbedding and
            sentence-transformers load alike.
        encoder_path: the bi-encoder.
    """

    rows: list[TrainRow]
    lengths: list[list[int]]
    skipped: int
    model_path: Path
    encoder_path: str

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """All (query, passage) pairs, row after row."""
        return [(row.query, text) for row in self.rows for text in (*row.positives, *row.negatives)]

    @property
    def pair_lengths(self) -> list[int]:
        """Tokens of each of `pairs`."""
        return [length for row in self.lengths for length in row]


def make_material(folder: Path, *, num_rows: int, seed: int = 0) -> Material:
    """Write the start model into `folder` and draw the rows."""
    from transformers import AutoTokenizer

    encoder_path = resolve_model("minilm")
    model_path = save_start_model(folder / "start", seed=seed)
    rows, lengths, skipped = _draw_rows(AutoTokenizer.from_pretrained(encoder_path), num_rows, random.Random(seed))
    return Material(rows, lengths, skipped, model_path, encoder_path)


def save_start_model(path: Path, *, seed: int = 0) -> Path:
    """MiniLM with a seeded head, as every library loads it."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    encoder_path = resolve_model("minilm")
    torch.manual_seed(seed)
    model = AutoModelForSequenceClassification.from_pretrained(encoder_path, num_labels=1, dtype=torch.float32)
    model.save_pretrained(path)
    AutoTokenizer.from_pretrained(encoder_path).save_pretrained(path)
    return path


def _draw_rows(tokenizer: Any, num_rows: int, rng: random.Random) -> tuple[list[TrainRow], list[list[int]], int]:
    texts = [(pair.query, _cut(tokenizer, pair.passage)) for pair in read_doc_pairs()]
    passages = [passage for _, passage in texts]
    rows: list[TrainRow] = []
    lengths: list[list[int]] = []
    skipped = 0
    while len(rows) < num_rows:
        query, positive = rng.choice(texts)
        negatives = rng.sample([p for p in rng.sample(passages, GROUP_SIZE) if p != positive], GROUP_SIZE - 1)
        group = [positive, *negatives]
        if not all(_seen_alike(tokenizer, query, passage) for passage in group):
            skipped += 1
            continue
        rows.append(TrainRow(query=query, positives=(positive,), negatives=tuple(negatives)))
        lengths.append([len(ids) for ids in tokenizer([query] * GROUP_SIZE, group)["input_ids"]])
    return rows, lengths, skipped


def _cut(tokenizer: Any, passage: str) -> str:
    """At most as many tokens as leave every side's limits alone, cut at a word."""
    limit = MAX_LENGTH - QUERY_LENGTH - 8
    words = passage.split()
    while len(tokenizer(" ".join(words), add_special_tokens=False)["input_ids"]) > limit:
        words = words[: len(words) * 9 // 10]
    return " ".join(words)


def _seen_alike(tokenizer: Any, query: str, passage: str) -> bool:
    """Whether tokenising the decoded tokens gives the same tokens, as FlagEmbedding's data path needs."""
    ids = tokenizer([query, passage], add_special_tokens=False)["input_ids"]
    again = tokenizer([tokenizer.decode(part) for part in ids], add_special_tokens=False)["input_ids"]
    return ids == again and len(ids[0]) <= QUERY_LENGTH


def as_jsonl(rows: Sequence[TrainRow]) -> list[dict[str, Any]]:
    """The rows as FlagEmbedding reads them."""
    return [{"query": row.query, "pos": list(row.positives), "neg": list(row.negatives)} for row in rows]
