"""Training steps: FlagEmbedding's, sentence-transformers' and our own objects under one loop.

Each side brings its own data path, model class and loss; the loop around them (gradient clipping, fused AdamW) is
the same for all. A step is GROUPS_PER_STEP groups of GROUP_SIZE pairs. From raw texts: tokenising is inside the time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.speed.material import GROUP_SIZE, MAX_LENGTH, QUERY_LENGTH, Material, as_jsonl
from sharprank.records import Group, TrainRow

GROUPS_PER_STEP = 4
LEARNING_RATE = 2e-5
ONE_HOT = 1000.0
"""A label this large makes ListNet's softmax over labels the one positive: then it is softmax cross-entropy."""

Forward = Callable[[Sequence[int]], Iterator[torch.Tensor]]


class Trainee:
    """One side: a model, and a way to turn row numbers into losses that add up to the mean over a step's groups."""

    def __init__(self, model: torch.nn.Module, losses: Forward, *, bf16: bool, dropout: float) -> None:
        self.model, self.losses, self.bf16 = model.train(), losses, bf16
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.0, fused=True)
        self._set_dropout(dropout)

    def _set_dropout(self, dropout: float) -> None:
        from sharprank.models.dropout import set_dropout

        set_dropout(self.model, dropout)

    def step(self, numbers: Sequence[int]) -> float:
        """Forward, backward, clip, update; returns the mean loss over the groups."""
        total = 0.0
        with torch.autocast("cpu", torch.bfloat16) if self.bf16 else contextlib.nullcontext():
            for loss in self.losses(numbers):
                with torch.autocast("cpu", enabled=False):
                    loss.backward()
                total += loss.item()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return total

    def steps(self, num_rows: int) -> list[float]:
        """The losses of going through `num_rows` rows once."""
        starts = range(0, num_rows, GROUPS_PER_STEP)
        return [self.step(range(start, min(start + GROUPS_PER_STEP, num_rows))) for start in starts]


def sharprank_side(material: Material, *, bf16: bool, dropout: float) -> Trainee:
    """Groups in packs, as `sharprank train` runs them."""
    from sharprank.losses.groups import RELEVANCE
    from sharprank.losses.listwise import listwise_ce
    from sharprank.models.batches import model_inputs
    from sharprank.models.cross_encoder import load_cross_encoder
    from sharprank.models.devices import CPU_TOKEN_BUDGET
    from sharprank.models.dropout import use_byte_dropout
    from sharprank.models.pair_text import PairTokenizer
    from sharprank.training.groups import DrawKey, GroupDataset, join_groups

    model, tokenizer = load_cross_encoder(str(material.model_path), for_training=True)
    use_byte_dropout(model)
    cpu = torch.device("cpu")

    def losses(numbers: Sequence[int]) -> Iterator[torch.Tensor]:
        rows = [material.rows[number] for number in numbers]
        relevance = (1.0, *[0.0] * (GROUP_SIZE - 1))
        groups = [Group(row.query, (*row.positives, *row.negatives), relevance) for row in rows]
        dataset = GroupDataset(
            groups, PairTokenizer(tokenizer, max_length=MAX_LENGTH), group_size=GROUP_SIZE, seed=0, progress=False
        )
        batch = join_groups([dataset[DrawKey(row, 0)] for row in range(len(rows))])
        for part in batch.micro_batches(CPU_TOKEN_BUDGET):
            scores = model(**model_inputs(part.tokens, model.config, device=cpu, token_types=True)).logits[:, 0]
            yield listwise_ce(scores, part.group_lengths, torch.from_numpy(part.targets[RELEVANCE])) / len(rows)

    return Trainee(model, losses, bf16=bf16, dropout=dropout)


def flagembedding_side(
    material: Material, folder: Path, *, bf16: bool, dropout: float, groups_per_forward: int = GROUPS_PER_STEP
) -> Trainee:
    """FlagEmbedding's dataset, collator and model; padded to a multiple of 8 as its trainer does."""
    from FlagEmbedding.abc.finetune.reranker import AbsRerankerDataArguments
    from FlagEmbedding.abc.finetune.reranker.AbsDataset import AbsRerankerCollator, AbsRerankerTrainDataset
    from FlagEmbedding.finetune.reranker.encoder_only.base.modeling import CrossEncoderModel
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from sharprank.formats.writers import write_jsonl

    tokenizer = AutoTokenizer.from_pretrained(material.model_path)
    base = AutoModelForSequenceClassification.from_pretrained(material.model_path, dtype=torch.float32)
    model = CrossEncoderModel(base, tokenizer=tokenizer, train_batch_size=groups_per_forward)
    path = folder / "flagembedding.jsonl"
    if not path.exists():
        write_jsonl(path, as_jsonl(material.rows))
    lengths: Any = {"query_max_len": QUERY_LENGTH, "passage_max_len": MAX_LENGTH - QUERY_LENGTH}
    paths: Any = [str(path)]  # annotated as one string there, read as a list
    arguments = AbsRerankerDataArguments(
        train_data=paths, cache_path=str(folder / "cache"), train_group_size=GROUP_SIZE, **lengths
    )
    dataset = AbsRerankerTrainDataset(arguments, tokenizer)
    collate: Any = AbsRerankerCollator(tokenizer=tokenizer, pad_to_multiple_of=8, **lengths)

    def losses(numbers: Sequence[int]) -> Iterator[torch.Tensor]:
        for start in range(0, len(numbers), groups_per_forward):
            part = numbers[start : start + groups_per_forward]
            output = model(**collate([dataset[number] for number in part]))
            yield output.loss * len(part) / len(numbers)

    return Trainee(model, losses, bf16=bf16, dropout=dropout)


def sentence_transformers_side(
    material: Material, *, bf16: bool, dropout: float, mini_batch_size: int | None
) -> Trainee:
    """sentence-transformers' CrossEncoder and ListNetLoss, which tokenises inside the loss."""
    from sentence_transformers.cross_encoder import CrossEncoder
    from sentence_transformers.cross_encoder.losses import ListNetLoss

    model = CrossEncoder(
        str(material.model_path), max_length=MAX_LENGTH, device="cpu", model_kwargs={"dtype": torch.float32}
    )
    loss = ListNetLoss(model, mini_batch_size=mini_batch_size)
    labels = torch.tensor([ONE_HOT] + [0.0] * (GROUP_SIZE - 1))

    def losses(numbers: Sequence[int]) -> Iterator[torch.Tensor]:
        rows: list[TrainRow] = [material.rows[number] for number in numbers]
        inputs: Any = [[row.query for row in rows], [[*row.positives, *row.negatives] for row in rows]]
        yield loss(inputs, [labels for _ in rows])

    return Trainee(model, losses, bf16=bf16, dropout=dropout)
