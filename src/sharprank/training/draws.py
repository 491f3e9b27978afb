"""Which positive and which negatives a row contributes in which epoch: drawn afresh, used evenly.

Pure arithmetic on counts; knows no texts. The draw of (seed, epoch, row) is a function of these three alone, so
that it is the same for any number of ranks and workers, and after any restart.
"""

from __future__ import annotations

import numpy as np


def draw(num_items: int, num_wanted: int, *, epoch: int, seed: tuple[int, ...]) -> list[int]:
    """Indices of the items used in `epoch`: no repeats within an epoch, all items used evenly over the epochs.

    The items are dealt from a shuffled deck that is reshuffled when it runs out; a fresh deck starts with items
    that the hand does not hold yet.

    Args:
        num_items: how many there are.
        num_wanted: how many to draw; all of them (in a fresh order) when there are no more than that.

    >>> [draw(3, 2, epoch=e, seed=(0,)) for e in range(3)]  # each item twice in three epochs
    [[2, 0], [1, 2], [0, 1]]
    """
    wanted = min(num_items, num_wanted)
    if wanted == 0:
        return []
    decks_needed = ((epoch + 1) * wanted - 1) // num_items + 1
    hand_start = epoch * wanted
    dealt: list[int] = []
    for deck in range(decks_needed):
        order = np.random.default_rng([*seed, deck]).permutation(num_items).tolist()
        open_hand = len(dealt) % wanted
        held = set(dealt[len(dealt) - open_hand :]) if open_hand else set()
        dealt += [i for i in order if i not in held] + [i for i in order if i in held]
    return dealt[hand_start : hand_start + wanted]


def text_seed(text: str) -> int:
    """A stable 32-bit number for a text, so that draws follow the row and not its place in the file."""
    import zlib

    return zlib.crc32(text.encode("utf-8", "surrogatepass"))
