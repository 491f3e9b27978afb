"""Which passages a query contributes in which epoch: drawn afresh, used evenly.

Pure arithmetic on counts; knows no texts. The draw of (seed, epoch, row) is a function of these three alone, so
that it is the same for any number of ranks and workers, and after any restart.
"""

from __future__ import annotations

from collections.abc import Sequence

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


def places(sizes: Sequence[int], num_wanted: int, *, max_positives: int | None = None) -> list[int]:
    """How many passages of each relevance a group takes, the most relevant first.

    Args:
        sizes: passages there are of each relevance, the most relevant first.
        num_wanted: passages of a full group.
        max_positives: without it, every relevance gets a place in turn, until all places are taken. With it, so many
            go to those above the lowest relevance (at most all of them, and at least one), the others to the lowest.

    >>> places([2, 9], 8, max_positives=1)
    [1, 7]
    >>> places([1, 5, 2, 9], 8)
    [1, 3, 2, 2]
    """
    taken = [0] * len(sizes)
    if max_positives is not None and len(sizes) > 1:
        above = places(sizes[:-1], min(max_positives, num_wanted - 1))
        return [*above, min(sizes[-1], num_wanted - sum(above))]
    while sum(taken) < min(num_wanted, sum(sizes)):
        for level, size in enumerate(sizes):
            if taken[level] < size and sum(taken) < num_wanted:
                taken[level] += 1
    return taken


def levels_with_places(num_levels: int, num_places: int, *, epoch: int, seed: tuple[int, ...]) -> list[int]:
    """Which relevances (0 is the highest) get one of the places in `epoch`: the highest, the lowest, others in turn.

    A group whose passages have more relevances than it has places would otherwise never hold the lower ones, and a
    single place would always go to the highest.

    >>> [levels_with_places(6, 4, epoch=e, seed=(0,)) for e in range(2)], levels_with_places(3, 4, epoch=0, seed=(0,))
    ([[0, 1, 3, 5], [0, 2, 4, 5]], [0, 1, 2])
    """
    if num_levels <= num_places:
        return list(range(num_levels))
    if num_places == 1:
        return draw(num_levels, 1, epoch=epoch, seed=seed)
    between = draw(num_levels - 2, num_places - 2, epoch=epoch, seed=seed)
    return [0, *sorted(1 + level for level in between), num_levels - 1]


def text_seed(text: str) -> int:
    """A stable 32-bit number for a text, so that draws follow the row and not its place in the file."""
    import zlib

    return zlib.crc32(text.encode("utf-8", "surrogatepass"))
