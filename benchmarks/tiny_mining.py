"""What the mining benchmarks mine: made-up words, as many passages as asked for, and a tiny random bi-encoder."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

WORDS = [f"{first}{second}" for first in ("ba", "de", "fi", "go", "lu", "ma", "ne", "po") for second in "bdfgklmnprst"]
WORDS_OF_A_PASSAGE = (8, 24)


def write_encoder(folder: Path, *, hidden_size: int = 32, seed: int = 0) -> Path:
    """A BERT bi-encoder with one layer and random weights, pooled by mean."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizer

    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    tokenizer = BertTokenizer(vocab={piece: i for i, piece in enumerate(pieces)}, model_max_length=64)
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(pieces),
        hidden_size=hidden_size,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=hidden_size,
        max_position_embeddings=64,
        initializer_range=0.2,
    )
    BertModel(config).eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "1_Pooling").mkdir(exist_ok=True)
    pooling = {"word_embedding_dimension": hidden_size, "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    return folder


def passages(count: int, *, seed: int = 0) -> Iterator[str]:
    """So many random passages, one after the other."""
    draw = random.Random(seed)
    for _ in range(count):
        yield " ".join(draw.choices(WORDS, k=draw.randint(*WORDS_OF_A_PASSAGE)))


def write_pool(path: Path, count: int) -> Path:
    """A pool of so many passages, as JSON lines with ids."""
    with path.open("w", encoding="utf-8") as file:
        for number, text in enumerate(passages(count)):
            file.write(json.dumps({"_id": f"p{number}", "text": text}) + "\n")
    return path


def write_rows(path: Path, count: int) -> Path:
    """So many rows with one positive each, which is in no pool."""
    with path.open("w", encoding="utf-8") as file:
        for query, positive in zip(passages(count, seed=1), passages(count, seed=2), strict=True):
            file.write(json.dumps({"query": query[:40], "pos": [positive]}) + "\n")
    return path
