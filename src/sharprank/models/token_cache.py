"""Token ids of passages kept between calls, for those that are ranked again and again.

The least recently used passage goes first. Not safe across threads by itself; whoever shares it holds a lock.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from sharprank.models.batches import Tokens
from sharprank.models.pair_text import PairTokenizer


class CachingPairTokenizer(PairTokenizer):
    """A `PairTokenizer` that remembers the token ids of up to `num_passages` passages.

    Args:
        tokenizer: the one whose work is remembered.
        num_passages: how many passages are kept (texts and ids in memory).
    """

    def __init__(self, tokenizer: PairTokenizer, *, num_passages: int) -> None:
        if num_passages < 1:
            raise ValueError(f"a cache of {num_passages} passages keeps nothing; use 1 or more")
        self.__dict__.update(tokenizer.__dict__)
        self.num_passages = num_passages
        self.hits = self.misses = 0
        self._kept: OrderedDict[tuple[bool, str], np.ndarray] = OrderedDict()

    def passages(self, texts: Sequence[str], *, whole: bool = False) -> Tokens:
        """Token ids as `PairTokenizer.passages` gives them; only texts not kept are tokenised."""
        new = [text for text in dict.fromkeys(texts) if (whole, text) not in self._kept]
        self.misses += len(new)
        self.hits += len(texts) - len(new)
        tokens = super().passages(new, whole=whole)
        made = {text: tokens[index] for index, text in enumerate(new)}
        found = [made[text] if text in made else self._kept[whole, text] for text in texts]
        for text, ids in zip(texts, found, strict=True):
            self._kept[whole, text] = ids
            self._kept.move_to_end((whole, text))
        while len(self._kept) > self.num_passages:
            self._kept.popitem(last=False)
        return Tokens.of([ids.tolist() for ids in found])
