"""Long passages as overlapping windows of tokens, each paired with the query; a passage scores as its best window.

A passage that fits is one window, and its pair is the very pair that `PairTokenizer.encode` makes.
Knows nothing of models.

Shapes: P pairs, W windows of all of them (W >= P).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from sharprank.errors import UserError
from sharprank.models.pair_text import PairTokenizer


@dataclass(frozen=True)
class WindowRule:
    """How a passage is cut into windows.

    Attributes:
        overlap: tokens that neighbouring windows share; at most half of a window is used.
        max_windows: windows of one passage at most; what lies behind the last is not read.
        length: tokens of query, window and special tokens together; None: the pair length of the tokenizer.
    """

    overlap: int = 50
    max_windows: int = 100
    length: int | None = None

    def __post_init__(self) -> None:
        if self.overlap < 0 or self.max_windows < 1 or (self.length is not None and self.length < 8):
            raise ValueError(f"{self} needs overlap >= 0, max_windows >= 1 and length >= 8")

    def cut(self, num_tokens: int, room: int) -> Iterator[slice]:
        """Windows of `room` tokens over a passage; the last one ends where the passage does.

        >>> [(w.start, w.stop) for w in WindowRule(overlap=2).cut(10, 6)]
        [(0, 6), (4, 10)]
        """
        step = room - min(self.overlap, room // 2)
        for number in range(self.max_windows):
            start = number * step
            yield slice(start, min(start + room, num_tokens))
            if start + room >= num_tokens:
                return


def pair_windows(
    tokenizer: PairTokenizer, pairs: Sequence[tuple[str, str]], rule: WindowRule
) -> tuple[list[tuple[np.ndarray, np.ndarray]], np.ndarray]:
    """Every pair cut into its windows.

    Returns:
        (ids, types) of each window, and int64 [W], the pair that each window belongs to.

    Raises:
        UserError: windows too short for a query and a passage.
    """
    length = min(rule.length or tokenizer.max_length, tokenizer.max_length)
    if length - tokenizer.num_special < 2:
        raise UserError(
            f"windows of {length} tokens hold nothing but the {tokenizer.num_special} tokens around query and passage",
            fix=f"use windows of {tokenizer.num_special + 64} tokens or more",
        )
    splices = tokenizer.can_splice(pairs)
    queries = {text: index for index, text in enumerate(dict.fromkeys(query for query, _ in pairs))}
    passages = {text: index for index, text in enumerate(dict.fromkeys(passage for _, passage in pairs))}
    query_tokens, passage_tokens = tokenizer.queries(list(queries)), tokenizer.passages(list(passages), whole=True)
    query_limit = max(1, min(tokenizer.query_max_length, length * 3 // 4, length - tokenizer.num_special - 1))
    windows: list[tuple[np.ndarray, np.ndarray]] = []
    owners: list[int] = []
    for owner, (query, passage) in enumerate(pairs):
        query_ids = tokenizer.cut_query(query_tokens[queries[query]], query_limit)
        passage_ids = passage_tokens[passages[passage]]
        for window in rule.cut(len(passage_ids), length - tokenizer.num_special - len(query_ids)):
            part = passage_ids[window]
            windows.append(tokenizer.splice(query_ids, part) if splices else tokenizer.join(query_ids, part))
            owners.append(owner)
    return windows, np.asarray(owners, dtype=np.int64)
