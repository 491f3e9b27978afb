"""Token ids in, model inputs out: packed where the model takes packs, padded where it does not.

Knows nothing of queries and passages (see `pair_text`) and nothing of what the model returns.

Shapes: T tokens of a batch, B sequences.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from sharprank.models.packing import ATTENTION_NAME, Packing, first_position


@dataclass(frozen=True)
class Tokens:
    """Ragged token ids: sequence i is `ids[offsets[i]:offsets[i + 1]]`.

    Attributes:
        ids: int32 [sum of lengths]; may be memory-mapped.
        offsets: int64 [N + 1].
    """

    ids: np.ndarray
    offsets: np.ndarray

    @classmethod
    def of(cls, sequences: Sequence[Sequence[int]]) -> Tokens:
        lengths = np.fromiter((len(s) for s in sequences), dtype=np.int64, count=len(sequences))
        offsets = np.zeros(len(sequences) + 1, dtype=np.int64)
        np.cumsum(lengths, out=offsets[1:])
        ids = np.empty(int(offsets[-1]), dtype=np.int32)
        for index, sequence in enumerate(sequences):
            ids[offsets[index] : offsets[index + 1]] = sequence
        return cls(ids, offsets)

    @classmethod
    def joined(cls, parts: Iterable[Tokens]) -> Tokens:
        """All sequences of some parts, one after the other."""
        kept = list(parts)
        ids = np.concatenate([np.zeros(0, np.int32), *(part.ids for part in kept)])
        return cls(ids, np.concatenate([[0], *(part.lengths for part in kept)]).cumsum(dtype=np.int64))

    @property
    def lengths(self) -> np.ndarray:
        """int64 [N], tokens of each sequence."""
        return np.diff(self.offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> np.ndarray:
        return self.ids[self.offsets[index] : self.offsets[index + 1]]


@dataclass(frozen=True)
class TokenBatch:
    """A few token sequences laid end to end, with their token types.

    Attributes:
        ids: int64 [T].
        types: int64 [T], 0 for the query's part and 1 for the passage's.
        lengths: tokens of each sequence (B numbers).
    """

    ids: np.ndarray
    types: np.ndarray
    lengths: tuple[int, ...]

    @classmethod
    def of(cls, sequences: Sequence[tuple[np.ndarray, np.ndarray]]) -> TokenBatch:
        ids = np.concatenate([ids for ids, _ in sequences]).astype(np.int64)
        types = np.concatenate([types for _, types in sequences]).astype(np.int64)
        return cls(ids, types, tuple(len(ids) for ids, _ in sequences))

    @classmethod
    def joined(cls, batches: Sequence[TokenBatch]) -> TokenBatch:
        """Batches laid end to end."""
        return cls(
            np.concatenate([batch.ids for batch in batches]),
            np.concatenate([batch.types for batch in batches]),
            tuple(length for batch in batches for length in batch.lengths),
        )

    @property
    def num_tokens(self) -> int:
        return len(self.ids)

    def select(self, indices: Sequence[int]) -> TokenBatch:
        """The sequences at `indices`, in that order."""
        ends = np.cumsum(self.lengths)
        pieces = [slice(int(ends[i] - self.lengths[i]), int(ends[i])) for i in indices]
        return TokenBatch(
            np.concatenate([self.ids[piece] for piece in pieces]),
            np.concatenate([self.types[piece] for piece in pieces]),
            tuple(self.lengths[i] for i in indices),
        )


def model_inputs(batch: TokenBatch, config: Any, *, device: torch.device, token_types: bool) -> dict[str, Any]:
    """Keyword arguments for the model's forward: one packed row if packing is enabled on it, else padded rows.

    Args:
        config: the model's configuration (its attention implementation says whether it takes packs).
        token_types: the model distinguishes query from passage by token type.
    """
    if config._attn_implementation == ATTENTION_NAME:
        return _packed(batch, config, device, token_types)
    return _padded(batch, config, device, token_types)


def _packed(batch: TokenBatch, config: Any, device: torch.device, token_types: bool) -> dict[str, Any]:
    positions = np.concatenate([np.arange(length) for length in batch.lengths]) + first_position(config)
    rows = {"input_ids": batch.ids, "position_ids": positions}
    if token_types:
        rows["token_type_ids"] = batch.types
    inputs: dict[str, Any] = {
        name: torch.from_numpy(row).unsqueeze(0).to(device, non_blocking=True) for name, row in rows.items()
    }
    inputs["packing"] = Packing.of(batch.lengths, device)
    return inputs


def _padded(batch: TokenBatch, config: Any, device: torch.device, token_types: bool) -> dict[str, Any]:
    shape = (len(batch.lengths), max(batch.lengths))
    real = np.arange(shape[1])[None, :] < np.asarray(batch.lengths)[:, None]
    pad = getattr(config, "pad_token_id", None)
    ids = np.full(shape, 0 if pad is None else pad, dtype=np.int64)
    ids[real] = batch.ids
    rows = {"input_ids": ids, "attention_mask": real.astype(np.int64)}
    if token_types:
        rows["token_type_ids"] = np.zeros(shape, dtype=np.int64)
        rows["token_type_ids"][real] = batch.types
    return {name: torch.from_numpy(row).to(device, non_blocking=True) for name, row in rows.items()}


def plan_batches(lengths: np.ndarray, *, budget: int, packed: bool) -> Iterator[list[int]]:
    """Cut N sequences into batches of at most `budget` token slots (one sequence may exceed it alone).

    Packs keep the given order: nothing is padded, so order costs nothing. Padded batches go from the longest
    sequence to the shortest and count their padding.
    """
    order = range(len(lengths)) if packed else np.argsort(-np.asarray(lengths), kind="stable").tolist()
    batch: list[int] = []
    used = 0
    for index in order:
        length = int(lengths[index])
        after = used + length if packed else int(lengths[batch[0]] if batch else length) * (len(batch) + 1)
        if batch and after > budget:
            yield batch
            batch, after = [], length
        batch.append(index)
        used = after
    if batch:
        yield batch
