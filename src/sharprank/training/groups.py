"""From rows to batches of token groups: every distinct text tokenised once, groups drawn afresh each epoch.

A group is one query with one positive and up to G-1 negatives; rows with fewer negatives give smaller groups.
Batches are cut from the whole global batch, so that the groups of a step do not depend on the number of ranks.

Shapes: P pairs of a batch, G groups.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset, Sampler

from sharprank.errors import UserError
from sharprank.models.batches import TokenBatch, Tokens
from sharprank.models.pair_text import PairTokenizer
from sharprank.progress import progress_bar
from sharprank.records import TrainRow
from sharprank.training.draws import draw, text_seed

_TEXTS_AT_ONCE = 1024


@dataclass(frozen=True)
class GroupBatch:
    """Some whole groups, laid end to end.

    Attributes:
        tokens: the P pairs, group after group, the positive first in each.
        group_lengths: pairs of each group (G numbers).
        relevance: float32 [P].
        counted: False where a rank without work repeats a group only to stay in step: its loss counts nothing.
    """

    tokens: TokenBatch
    group_lengths: tuple[int, ...]
    relevance: np.ndarray
    counted: bool = True

    def micro_batches(self, budget: int) -> Iterator[GroupBatch]:
        """Cut into runs of whole groups of at most `budget` tokens (a larger group goes alone)."""
        ends = np.cumsum(self.group_lengths)
        tokens = [sum(self.tokens.lengths[e - n : e]) for e, n in zip(ends, self.group_lengths, strict=True)]
        start, used = 0, 0
        for index, length in enumerate(tokens):
            if index > start and used + length > budget:
                yield self._groups(start, index)
                start, used = index, 0
            used += length
        yield self._groups(start, len(tokens))

    def _groups(self, first: int, last: int) -> GroupBatch:
        ends = np.cumsum((0, *self.group_lengths))
        pairs = range(int(ends[first]), int(ends[last]))
        return GroupBatch(
            self.tokens.select(pairs),
            self.group_lengths[first:last],
            self.relevance[pairs.start : pairs.stop],
            self.counted,
        )


@dataclass(frozen=True)
class DrawKey:
    """Which group to build: the draw of `row` in `epoch`; `counted` as in GroupBatch."""

    row: int
    epoch: int
    counted: bool = True


class GroupDataset(Dataset[Any]):
    """Tokenised rows that build the group of a DrawKey.

    Args:
        rows: checked rows; each needs a positive and a negative.
        pair_tokenizer: the one way pairs become token ids.
        group_size: passages of a full group, the positive included.
        seed: draws depend on (seed, epoch, the row's query) only.
    """

    def __init__(
        self,
        rows: Sequence[TrainRow],
        pair_tokenizer: PairTokenizer,
        *,
        group_size: int,
        seed: int,
        progress: bool = True,
    ) -> None:
        self.pair_tokenizer = pair_tokenizer
        self.group_size = group_size
        self.seed = seed
        queries = _numbered(row.query for row in rows)
        passages = _numbered(text for row in rows for text in (*row.positives, *row.negatives))
        self._query_of_row = [queries[row.query] for row in rows]
        self._positives = [np.asarray([passages[text] for text in row.positives]) for row in rows]
        self._negatives = [np.asarray([passages[text] for text in row.negatives]) for row in rows]
        self._row_seeds = [text_seed(row.query) for row in rows]
        sample = [(row.query, row.positives[0]) for row in rows[:: max(1, len(rows) // 64)]]
        self._spliced = pair_tokenizer.can_splice(sample)
        self._texts = None if self._spliced else (list(queries), list(passages))
        if self._spliced:
            self._queries = _tokenise(list(queries), pair_tokenizer.queries, "tokenising queries" if progress else None)
            self._passages = _tokenise(
                list(passages), pair_tokenizer.passages, "tokenising passages" if progress else None
            )

    def __len__(self) -> int:
        return len(self._query_of_row)

    def members(self, key: DrawKey) -> tuple[list[int], np.ndarray]:
        """Passage numbers of the group, the positive first, and their relevance."""
        seed = (self.seed, self._row_seeds[key.row])
        positives, negatives = self._positives[key.row], self._negatives[key.row]
        chosen_positive = draw(len(positives), 1, epoch=key.epoch, seed=(*seed, 0))
        chosen_negatives = draw(len(negatives), self.group_size - 1, epoch=key.epoch, seed=(*seed, 1))
        members = [int(positives[i]) for i in chosen_positive] + [int(negatives[i]) for i in chosen_negatives]
        relevance = np.zeros(len(members), dtype=np.float32)
        relevance[0] = 1.0
        return members, relevance

    def group_tokens(self, key: DrawKey) -> int:
        """Tokens of the group, to balance ranks by (an estimate where pairs cannot be spliced)."""
        members, _ = self.members(key)
        if not self._spliced:
            return len(members)
        query = len(self._queries[self._query_of_row[key.row]])
        limit = self.pair_tokenizer.max_length
        return sum(min(limit, query + len(self._passages[member]) + 3) for member in members)

    def __getitem__(self, key: DrawKey) -> GroupBatch:
        members, relevance = self.members(key)
        query = self._query_of_row[key.row]
        if self._texts is None:
            sequences = [self.pair_tokenizer.splice(self._queries[query], self._passages[m]) for m in members]
        else:
            sequences = self.pair_tokenizer.encode([(self._texts[0][query], self._texts[1][m]) for m in members])
        return GroupBatch(TokenBatch.of(sequences), (len(members),), relevance, key.counted)


def _numbered(texts: Any) -> dict[str, int]:
    return {text: number for number, text in enumerate(dict.fromkeys(texts))}


def _tokenise(texts: list[str], tokenise: Any, desc: str | None) -> Tokens:
    parts: list[Tokens] = []
    with progress_bar(total=len(texts), desc=desc, unit="text") as bar:
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            parts.append(tokenise(texts[start : start + _TEXTS_AT_ONCE]))
            bar.update(len(parts[-1]))
    lengths = np.concatenate([part.lengths for part in parts])
    return Tokens(np.concatenate([part.ids for part in parts]), np.concatenate([[0], np.cumsum(lengths)]))


def join_groups(groups: Sequence[GroupBatch]) -> GroupBatch:
    """Lay groups end to end: the collate function."""
    tokens = TokenBatch(
        np.concatenate([group.tokens.ids for group in groups]),
        np.concatenate([group.tokens.types for group in groups]),
        tuple(length for group in groups for length in group.tokens.lengths),
    )
    return GroupBatch(
        tokens,
        tuple(length for group in groups for length in group.group_lengths),
        np.concatenate([group.relevance for group in groups]),
        all(group.counted for group in groups),
    )


class GroupSampler(Sampler[list[DrawKey]]):
    """Batches of draw keys for one rank: the global batch is cut from one seeded permutation, then shared out.

    The groups of a global batch go to the ranks by token count, the longest first to the rank with least to do,
    so that no rank waits; the loss is a sum over the global batch and does not notice.

    Args:
        groups_per_rank: groups a rank takes on average in a batch.
        drop_last: leave out a last, smaller batch.
    """

    def __init__(
        self, dataset: GroupDataset, *, groups_per_rank: int, rank: int, world_size: int, seed: int, drop_last: bool
    ) -> None:
        self.dataset = dataset
        self.global_batch = groups_per_rank * world_size
        self.rank, self.world_size, self.seed, self.drop_last = rank, world_size, seed, drop_last
        self.epoch = 0
        if len(self) == 0:
            raise UserError(
                f"{len(dataset)} rows are fewer than one global batch of {self.global_batch} groups, which is dropped",
                fix="use a smaller --per_device_train_batch_size, or --dataloader_drop_last False",
            )

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        full, rest = divmod(len(self.dataset), self.global_batch)
        return full + (1 if rest and not self.drop_last else 0)

    def __iter__(self) -> Iterator[list[DrawKey]]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(len(self.dataset)).tolist()
        for step in range(len(self)):
            rows = order[step * self.global_batch : (step + 1) * self.global_batch]
            yield self._share([DrawKey(row, self.epoch) for row in rows])

    def _share(self, keys: list[DrawKey]) -> list[DrawKey]:
        if self.world_size == 1:
            return keys
        sizes = [self.dataset.group_tokens(key) for key in keys]
        loads = [0] * self.world_size
        mine: list[int] = []
        for index in sorted(range(len(keys)), key=lambda i: (-sizes[i], i)):
            rank = loads.index(min(loads))
            loads[rank] += sizes[index]
            if rank == self.rank:
                mine.append(index)
        if not mine:  # fewer groups than ranks: keep in step without counting
            return [DrawKey(keys[0].row, keys[0].epoch, counted=False)]
        return [keys[index] for index in sorted(mine)]


def group_loader(dataset: GroupDataset, sampler: GroupSampler, *, num_workers: int) -> DataLoader[Any]:
    """A DataLoader of GroupBatches for one rank, advanced by `set_epoch` like a distributed one."""
    return _GroupLoader(dataset, batch_sampler=sampler, collate_fn=join_groups, num_workers=num_workers)


class _GroupLoader(DataLoader[Any]):
    def set_epoch(self, epoch: int) -> None:
        self.batch_sampler.set_epoch(epoch)  # type: ignore[union-attr]
