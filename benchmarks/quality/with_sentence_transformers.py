"""sentence-transformers' documented reranker recipe: `mine_hard_negatives`, then its trainer with binary cross-entropy.

The settings are those of its `examples/cross_encoder/training/rerankers/training_gooaq_bce.py`.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.quality.budget import Cut, Effort, Lengths, Pace, half_precision, measured
from benchmarks.quality.prepared import Prepared, read_lines
from sharprank.formats.collections import iter_corpus
from sharprank.formats.writers import write_jsonl
from sharprank.models.minilm import minilm_folder

NEGATIVES = 5
PAIRS_A_STEP = 64


def mine(collection: Prepared, output: Path, cache: Path, *, seed: int) -> None:
    """Write {query, passage, label} rows; the best of the range are taken, so `seed` plays no part."""
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.util import mine_hard_negatives

    pairs = [(row["query"], text) for row in read_lines(collection.train_path) for text in row["pos"]]
    mined = mine_hard_negatives(
        Dataset.from_dict({"query": [query for query, _ in pairs], "passage": [text for _, text in pairs]}),
        SentenceTransformer(minilm_folder(), device="cpu", model_kwargs={"dtype": half_precision()}),
        corpus=[passage.text for passage in iter_corpus(collection.folder)],
        num_negatives=NEGATIVES,
        absolute_margin=0,
        range_min=0,
        range_max=100,
        sampling_strategy="top",
        output_format="labeled-pair",
        use_faiss=True,
        cache_folder=str(cache),
        verbose=False,
    )
    write_jsonl(output, (dict(row) for row in mined))


def pace(mined: Path, start: Path, *, max_len: int) -> Pace:
    """Expected useful tokens of pairs."""
    rows = read_lines(mined)
    lengths = Lengths(start, (text for row in rows for text in (row["query"], row["passage"])))
    return Pace.of([lengths.mean(row["query"], [row["passage"]], Cut(max_len)) for row in rows], a_step=PAIRS_A_STEP)


def train(mined: Path, start: Path, output: Path, *, steps: int, seed: int, max_len: int) -> Effort:
    """The example's trainer, `steps` long; no evaluator, since the last step's model is what every system is given."""
    import torch
    from datasets import Dataset
    from sentence_transformers.cross_encoder import (
        CrossEncoder,
        CrossEncoderTrainer,
        CrossEncoderTrainingArguments,
    )
    from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss

    from sharprank.models.devices import choose_device

    device = choose_device()
    model = CrossEncoder(
        str(start), num_labels=1, max_length=max_len, device=str(device), model_kwargs={"dtype": torch.float32}
    )
    arguments = CrossEncoderTrainingArguments(
        output_dir=str(output), max_steps=steps, per_device_train_batch_size=PAIRS_A_STEP, learning_rate=2e-5,
        warmup_steps=0.1, bf16=half_precision() is torch.bfloat16, seed=seed, save_strategy="no", report_to="none",
        logging_steps=10, disable_tqdm=True, use_cpu=device.type == "cpu",
    )  # fmt: skip
    trainer = CrossEncoderTrainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_list(read_lines(mined)),
        loss=BinaryCrossEntropyLoss(model=model, pos_weight=torch.tensor(float(NEGATIVES))),
    )
    with measured(model[0].model, steps=steps) as effort:
        trainer.train()
    model.save_pretrained(str(output))
    return effort
