"""From queries with their passages to batches of token groups: texts tokenised once, groups drawn afresh each epoch.

A group is one query with up to G of its passages, the most relevant first: one positive and G-1 negatives, or with
graded relevance every grade in turn (of more than G grades the highest, the lowest, and others by the epoch). Queries
with fewer passages give smaller groups. Batches are cut from the whole global batch, so that the groups of a step do
not depend on the number of ranks.

Shapes: P pairs of a batch, G groups.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset, Sampler

from sharprank.errors import UserError
from sharprank.losses.groups import RELEVANCE, TEACHER_SCORES
from sharprank.models.batches import TokenBatch, plan_batches
from sharprank.models.pair_text import PROBED_PAIRS, PairTokenizer
from sharprank.models.token_store import TokenStore
from sharprank.records import Group
from sharprank.training.draws import draw, levels_with_places, places, text_seed


@dataclass(frozen=True)
class GroupBatch:
    """Some whole groups, laid end to end.

    Attributes:
        tokens: the P pairs, group after group, the most relevant first in each.
        group_lengths: pairs of each group (G numbers).
        targets: float32 [P] each, by name: relevance, teacher_scores, or both.
        counted: False where a rank without work repeats a group only to stay in step: its loss counts nothing.
    """

    tokens: TokenBatch
    group_lengths: tuple[int, ...]
    targets: Mapping[str, np.ndarray]
    counted: bool = True

    def micro_batches(self, budget: int) -> Iterator[GroupBatch]:
        """Cut into runs of whole groups of at most `budget` tokens (a larger group goes alone, see `pieces`)."""
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
            {name: values[pairs.start : pairs.stop] for name, values in self.targets.items()},
            self.counted,
        )

    def pieces(self, budget: int) -> list[TokenBatch]:
        """The pairs in runs of at most `budget` tokens (a longer pair goes alone), wherever groups begin and end."""
        if self.tokens.num_tokens <= budget:
            return [self.tokens]
        plan = plan_batches(np.asarray(self.tokens.lengths), budget=budget, packed=True)
        return [self.tokens.select(pairs) for pairs in plan]


@dataclass(frozen=True)
class DrawKey:
    """Which group to build: the draw of `row` in `epoch`; `counted` as in GroupBatch."""

    row: int
    epoch: int
    counted: bool = True


class GroupDataset(Dataset[Any]):
    """Tokenised queries and passages that build the group of a DrawKey.

    Args:
        groups: each query with all its passages.
        pair_tokenizer: the one way pairs become token ids.
        group_size: passages of a full group.
        max_positives: see `draws.places`.
        seed: draws depend on (seed, epoch, the query) only.
        store: where token ids are kept for the next run over the same texts.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        pair_tokenizer: PairTokenizer,
        *,
        group_size: int,
        max_positives: int | None = 1,
        seed: int,
        progress: bool = True,
        store: TokenStore | None = None,
    ) -> None:
        self.pair_tokenizer = pair_tokenizer
        self.group_size, self.max_positives, self.seed = group_size, max_positives, seed
        queries = _numbered(group.query for group in groups)
        passages = _numbered(text for group in groups for text in group.passages)
        self._query_of_row = [queries[group.query] for group in groups]
        self._passages_of_row = [np.asarray([passages[text] for text in group.passages]) for group in groups]
        self._targets_of_row = [_targets(group) for group in groups]
        self._levels_of_row = [_levels(group) for group in groups]
        self._row_seeds = [text_seed(group.query) for group in groups]
        sample = [(group.query, group.passages[0]) for group in groups[:: max(1, len(groups) // PROBED_PAIRS)]]
        self._spliced = pair_tokenizer.can_splice(sample)
        self._texts = None if self._spliced else (list(queries), list(passages))
        if self._spliced:
            say_queries, say_passages = ("tokenising queries", "tokenising passages") if progress else (None, None)
            self._queries = pair_tokenizer.queries(list(queries), progress=say_queries, store=store)
            self._passages = pair_tokenizer.passages(list(passages), progress=say_passages, store=store)

    def __len__(self) -> int:
        return len(self._query_of_row)

    def members(self, key: DrawKey) -> np.ndarray:
        """Which passages of the query are in the group, the most relevant first."""
        levels, seed = self._levels_of_row[key.row], (self.seed, self._row_seeds[key.row])
        numbers = list(range(len(levels)))
        if len(levels) > self.group_size:
            most = self.group_size if self.max_positives is None else min(self.group_size, self.max_positives + 1)
            numbers = levels_with_places(len(levels), most, epoch=key.epoch, seed=(*seed, len(levels)))
        counts = places([len(levels[n]) for n in numbers], self.group_size, max_positives=self.max_positives)
        chosen = [
            levels[number][draw(len(levels[number]), count, epoch=key.epoch, seed=(*seed, number))]
            for number, count in zip(numbers, counts, strict=True)
            if count
        ]
        return np.concatenate(chosen)

    def group_tokens(self, key: DrawKey) -> int:
        """Tokens of the group, to balance ranks by (an estimate where pairs cannot be spliced)."""
        members = self._passages_of_row[key.row][self.members(key)]
        if not self._spliced:
            return len(members)
        query = len(self._queries[self._query_of_row[key.row]])
        limit = self.pair_tokenizer.max_length
        return sum(min(limit, query + len(self._passages[member]) + 3) for member in members)

    def __getitem__(self, key: DrawKey) -> GroupBatch:
        members = self.members(key)
        query, passages = self._query_of_row[key.row], self._passages_of_row[key.row][members]
        if self._texts is None:
            sequences = [self.pair_tokenizer.splice(self._queries[query], self._passages[p]) for p in passages]
        else:
            sequences = self.pair_tokenizer.encode([(self._texts[0][query], self._texts[1][p]) for p in passages])
        targets = {name: values[members] for name, values in self._targets_of_row[key.row].items()}
        return GroupBatch(TokenBatch.of(sequences), (len(members),), targets, key.counted)

    def first_pairs(self, num_groups: int = 8) -> TokenBatch:
        """The most and the least relevant pair of some groups of the first epoch, from everywhere in the data."""
        rows = range(0, len(self), max(1, len(self) // num_groups))[:num_groups]
        pairs = [self[DrawKey(row, 0)].tokens.select((0, -1)) for row in rows]
        return TokenBatch.joined(pairs)


def _targets(group: Group) -> dict[str, np.ndarray]:
    given = {RELEVANCE: group.relevance, TEACHER_SCORES: group.teacher_scores}
    return {name: np.asarray(values, dtype=np.float32) for name, values in given.items() if values is not None}


def _levels(group: Group) -> list[np.ndarray]:
    """The passages of each relevance, the most relevant first; all of them together where nobody judged."""
    if group.relevance is None:
        return [np.arange(len(group.passages))]
    relevance = np.asarray(group.relevance)
    return [np.flatnonzero(relevance == value) for value in np.unique(relevance)[::-1]]


def _numbered(texts: Any) -> dict[str, int]:
    return {text: number for number, text in enumerate(dict.fromkeys(texts))}


def join_groups(groups: Sequence[GroupBatch]) -> GroupBatch:
    """Lay groups end to end: the collate function."""
    return GroupBatch(
        TokenBatch.joined([group.tokens for group in groups]),
        tuple(length for group in groups for length in group.group_lengths),
        {name: np.concatenate([group.targets[name] for group in groups]) for name in groups[0].targets},
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
