"""FlagEmbedding's documented recipe: its miner's steps, then its own runner and trainer.

The wheel comes without `scripts/hn_mine.py`; `mine` does what that script does (embed pool and queries, inner products,
ranks START to END, leave out the row's positives and the query, draw NEGATIVES, fill up from the whole pool) with the
README's flags, but MiniLM's own mean pooling, and seeded, which the script is not.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.quality.budget import Cut, Effort, Lengths, Pace, half_precision, measured
from benchmarks.quality.prepared import Prepared, read_lines
from sharprank.formats.collections import iter_corpus
from sharprank.formats.writers import atomic_path, write_jsonl
from sharprank.models.minilm import minilm_folder

START, END = 2, 200
NEGATIVES = 15
GROUP_SIZE = 8
GROUPS_A_STEP = 2
"""README: `--per_device_train_batch_size 2 --gradient_accumulation_steps 1`; one device here."""

Row = dict[str, Any]


def mine(collection: Prepared, output: Path, cache: Path, *, seed: int) -> None:
    """Write {query, pos, neg} rows; the vectors of a collection are computed once, for every seed."""
    rows = read_lines(collection.train_path)
    pool = list(dict.fromkeys(passage.text for passage in iter_corpus(collection.folder)))
    candidates = _search(pool, [row["query"] for row in rows], cache)
    write_jsonl(output, with_negatives(rows, pool, candidates, seed=seed))


def with_negatives(rows: Sequence[Row], pool: Sequence[str], candidates: np.ndarray, *, seed: int) -> list[Row]:
    """The rows with new `neg`, as the script draws them.

    Args:
        candidates: [rows, END], the pool's best for each row; -1 where there is none.
    """
    draw = random.Random(seed)
    drawn = []
    for row, ranked in zip(rows, candidates.tolist(), strict=True):
        known = {*row["pos"], row["query"]}
        found = [pool[index] for index in ranked[START:END] if index >= 0 and pool[index] not in known]
        drawn.append(draw.sample(found, NEGATIVES) if len(found) > NEGATIVES else found)
    return [
        {"query": row["query"], "pos": row["pos"], "neg": _filled_up(negatives, row["pos"], pool, draw)}
        for row, negatives in zip(rows, drawn, strict=True)
    ]


def _filled_up(negatives: list[str], positives: Sequence[str], pool: Sequence[str], draw: random.Random) -> list[str]:
    missing = NEGATIVES - len(negatives)
    if missing <= 0:
        return negatives
    others = [text for text in draw.sample(pool, missing + len(positives)) if text not in positives]
    return negatives + others[:missing]


def _search(pool: Sequence[str], queries: Sequence[str], cache: Path) -> np.ndarray:
    path = cache / "candidates.npy"
    if not path.exists():
        import faiss
        from FlagEmbedding import FlagAutoModel

        model: Any = FlagAutoModel.from_finetuned(
            minilm_folder(), model_class="encoder-only-base", normalize_embeddings=True, pooling_method="mean",
            use_fp16=False, devices="cpu", batch_size=32, query_max_length=512, passage_max_length=512,
        )  # fmt: skip
        with _autocast():
            passages = np.asarray(model.encode(list(pool)), dtype=np.float32)
            asked = np.asarray(model.encode_queries(list(queries)), dtype=np.float32)
        index: Any = faiss.IndexFlatIP(passages.shape[1])
        index.add(passages)
        _, found = index.search(asked, END)
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.save(file, found)
    return np.load(path)


def _arguments_lengths(max_len: int) -> dict[str, Any]:
    """A quarter of the pair for the query, as far as FlagEmbedding lets the two parts be set."""
    return {"query_max_len": max_len // 4, "passage_max_len": max_len - max_len // 4}


def pace(mined: Path, start: Path, *, max_len: int) -> Pace:
    """Expected useful tokens: a drawn positive and drawn negatives of each group."""
    rows = read_lines(mined)
    lengths = Lengths(start, (text for row in rows for text in (row["query"], *row["pos"], *row["neg"])))
    query, passage = _arguments_lengths(max_len).values()
    cut = Cut(max_len, query + passage // 4, passage + query // 2)  # what its dataset keeps of each part
    groups = [
        lengths.mean(row["query"], row["pos"], cut) + (GROUP_SIZE - 1) * lengths.mean(row["query"], row["neg"], cut)
        for row in rows
    ]
    return Pace.of(groups, a_step=GROUPS_A_STEP, drop_last=True)


def train(mined: Path, start: Path, output: Path, *, steps: int, seed: int, max_len: int) -> Effort:
    """The README's command for a standard model, `steps` long, without what only saves GPU memory.

    bf16 instead of fp16, which no CPU trains in, where the device is fast at it, as ours; DeepSpeed and gradient
    checkpointing are left out, in its favour.
    """
    from FlagEmbedding.abc.finetune.reranker import (
        AbsRerankerDataArguments,
        AbsRerankerModelArguments,
        AbsRerankerTrainingArguments,
    )
    from FlagEmbedding.finetune.reranker.encoder_only.base import EncoderOnlyRerankerRunner

    paths: Any = [str(mined)]  # annotated as one string there, read as a list
    data = AbsRerankerDataArguments(
        train_data=paths, cache_path=str(output.parent / "datasets"), train_group_size=GROUP_SIZE,
        pad_to_multiple_of=8, knowledge_distillation=False, **_arguments_lengths(max_len),
    )  # fmt: skip
    arguments = AbsRerankerTrainingArguments(
        output_dir=str(output), learning_rate=6e-5, warmup_steps=0.1, weight_decay=0.01, max_steps=steps,
        per_device_train_batch_size=GROUPS_A_STEP, gradient_accumulation_steps=1, dataloader_drop_last=True,
        bf16=half_precision() is torch.bfloat16, seed=seed, save_strategy="no", report_to="none", logging_steps=10,
        disable_tqdm=True, use_cpu=_on_cpu(),
    )  # fmt: skip
    runner = EncoderOnlyRerankerRunner(
        model_args=AbsRerankerModelArguments(model_name_or_path=str(start)), data_args=data, training_args=arguments
    )
    with measured(runner.model.model, steps=steps) as effort:
        runner.run()
    return effort


def _autocast() -> contextlib.AbstractContextManager[Any]:
    """Its default is half precision; on a CPU it calls `float()` on the model, so autocast takes that part."""
    return torch.autocast("cpu", torch.bfloat16, enabled=half_precision() is torch.bfloat16)


def _on_cpu() -> bool:
    from sharprank.models.devices import choose_device

    return choose_device().type == "cpu"
