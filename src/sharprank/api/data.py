"""`RerankDataset` and `RerankCollator` as open-retrievals has them: rows as labelled pairs, pairs as padded batches.

Rows are read and checked as everywhere else; pairs become tokens by `PairTokenizer`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from sharprank.errors import UserError
from sharprank.formats.bad_rows import BadRows
from sharprank.formats.rows import RowKeys, parse_row, read_rows
from sharprank.formats.sources import Source
from sharprank.models.pair_text import PairTokenizer
from sharprank.models.prompts import Prompt
from sharprank.records import Place, Record, TrainRow
from sharprank.training.draws import draw, text_seed

DEFAULT_MAX_LENGTH = 128


class RerankDataset(Dataset[Any]):
    """Pairs `{query, document, labels}`: of each row a positive (label 1) and negatives (label 0), drawn anew by epoch.

    Args:
        data_name_or_path: rows: a file, a folder, a hub dataset id, or rows already loaded.
        unfold_each_positive: every positive of a row gets negatives of its own, not one of them an epoch.
        train_group_size: pairs of a positive: itself and negatives; 1: no negatives, None or 0: all of them.
        query_key, positive_key, negative_key: names of the fields in the rows; those of the pairs never change.
        args, tokenizer: accepted and not needed.
        seed: draws depend on (seed, epoch, the row's query) only.
    """

    def __init__(
        self,
        data_name_or_path: Any,
        unfold_each_positive: bool = False,
        train_group_size: int | None = 2,
        query_key: str = "query",
        positive_key: str = "document",
        *,
        negative_key: str = "negative",
        args: Any = None,
        tokenizer: Any = None,
        seed: int = 0,
    ) -> None:
        keys = RowKeys(query=query_key, positives=positive_key, negatives=negative_key)
        self.rows = list(_rows(data_name_or_path, keys))
        self.num_negatives = train_group_size - 1 if train_group_size else max(len(row.negatives) for row in self.rows)
        if self.num_negatives < 0:
            raise UserError(f"train_group_size {train_group_size} is negative", fix="use 1 or more, or None for all")
        self.seed, self.epoch = seed, 0
        self._places = [
            (number, positive, place)
            for number, row in enumerate(self.rows)
            for positive in (range(len(row.positives)) if unfold_each_positive else [None])
            for place in range(1 + min(self.num_negatives, len(row.negatives)))
        ]

    def set_epoch(self, epoch: int) -> None:
        """Draw as in this epoch from now on."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> dict[str, Any]:
        number, positive, place = self._places[index]
        row = self.rows[number]
        seed = (self.seed, text_seed(row.query))
        if place == 0:
            chosen = draw(len(row.positives), 1, epoch=self.epoch, seed=(*seed, 0))[0] if positive is None else positive
            return {"query": row.query, "document": row.positives[chosen], "labels": 1}
        drawn = draw(len(row.negatives), self.num_negatives, epoch=self.epoch, seed=(*seed, 1 + (positive or 0)))
        return {"query": row.query, "document": row.negatives[drawn[place - 1]], "labels": 0}


def _rows(data: Any, keys: RowKeys) -> Iterable[TrainRow]:
    if isinstance(data, (str, Path)):
        yield from read_rows(Source(str(data)), keys=keys)
        return
    if isinstance(data, Mapping):  # a dataset with several splits
        data = data["train"]
    for number, fields in enumerate(data, 1):
        row = parse_row(Record(fields, Place("rows", number)), keys=keys, bad_rows=BadRows())
        if row is not None:
            yield row


class RerankCollator:
    """Pairs `{query, document, labels}` (or tuples in that order) to a padded batch, as long as its longest pair.

    Args:
        max_length: tokens of a pair; the document is cut first. Default 128.
        query_max_length, document_max_length: both: each side is cut on its own and a pair is as long as both together;
            one of them: that side is cut to it, and the pair to `max_length`.
        append_eos_token: put the tokenizer's last token behind a pair.
        query_key, document_key: names of the fields.
    """

    def __init__(
        self,
        tokenizer: Any,
        max_length: int | None = None,
        append_eos_token: bool = False,
        query_key: str = "query",
        document_key: str = "document",
        *,
        query_max_length: int | None = None,
        document_max_length: int | None = None,
        prompt: Prompt | None = None,
    ) -> None:
        self.tokenizer, self.append_eos_token = tokenizer, append_eos_token
        self.keys = (query_key, document_key)
        self.lengths = (max_length, query_max_length, document_max_length)
        if any(length is not None and length < 1 for length in self.lengths):
            raise UserError(f"lengths {self.lengths} of pair, query and document", fix="use 1 token or more")
        if tokenizer.pad_token_id is None:  # language models often have none, and what is padded is masked
            tokenizer.pad_token = tokenizer.eos_token
        self.use_prompt(prompt)

    def use_prompt(self, prompt: Prompt | None, *, guarded: bool = False) -> None:
        """Put a language model's prompt around the pairs; its words come on top of the lengths.

        Args:
            guarded: see `PairTokenizer`.
        """
        whole, query, document = self.lengths
        both = None if query is None or document is None else query + document
        words = PairTokenizer(self.tokenizer, max_length=1_000_000, prompt=prompt).num_special
        limit = whole or (
            (both or max(DEFAULT_MAX_LENGTH, query or 0, document or 0)) + (words if both or prompt else 0)
        )
        self.pair_tokenizer = PairTokenizer(
            self.tokenizer, max_length=limit, query_max_length=query, prompt=prompt, guarded=guarded
        )

    def __call__(self, features: Sequence[Any]) -> dict[str, torch.Tensor]:
        pairs, labels = zip(*(self._parts(feature) for feature in features), strict=True)
        rows = [self._row(ids, types) for ids, types in self._encode(list(pairs))]
        batch = dict(self.tokenizer.pad(rows, padding="longest", padding_side="right", return_tensors="pt"))
        if all(label is not None for label in labels):
            batch["labels"] = torch.tensor(labels, dtype=torch.float32)
        return batch

    def _parts(self, feature: Any) -> tuple[tuple[str, str], float | None]:
        if isinstance(feature, Mapping):
            label = feature.get("labels", feature.get("label"))
            return (feature[self.keys[0]], feature[self.keys[1]]), None if label is None else float(label)
        query, document, *label = feature
        return (query, document), float(label[0]) if label else None

    def _encode(self, pairs: list[tuple[str, str]]) -> list[tuple[np.ndarray, np.ndarray]]:
        document_limit = self.lengths[2]
        if document_limit is None:
            return self.pair_tokenizer.encode(pairs)
        tokenizer = self.pair_tokenizer
        put_together = tokenizer.splice if tokenizer.can_splice(pairs) else tokenizer.join
        queries, documents = (tokenizer.queries([q for q, _ in pairs]), tokenizer.passages([d for _, d in pairs]))
        return [put_together(queries[i], documents[i][:document_limit]) for i in range(len(pairs))]

    def _row(self, ids: np.ndarray, types: np.ndarray) -> dict[str, list[int]]:
        row = {"input_ids": ids.tolist(), "token_type_ids": types.tolist()}
        if self.append_eos_token:
            row["input_ids"].append(self.tokenizer.eos_token_id)
            row["token_type_ids"].append(row["token_type_ids"][-1])
        if "token_type_ids" not in self.tokenizer.model_input_names:
            del row["token_type_ids"]
        return row
