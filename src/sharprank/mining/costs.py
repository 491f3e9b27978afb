"""What a mining run will cost, said before it starts: texts to embed, pairs to search, disk, and time.

Time is measured on a few passages of the run's own. Knows nothing of how the work is done.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sharprank.errors import UserError
from sharprank.formats.cache import VARIABLE
from sharprank.progress import is_first_rank, say, spoken_bytes, spoken_seconds

HIT_BYTES = 12
PROBE_TEXTS = 64
TEXTS_WORTH_A_PROBE = 16_384
"""With fewer texts to embed the bar will say in a moment how long it takes."""


@dataclass(frozen=True)
class Costs:
    """What there is to do; texts by name ("passages", "queries", "positives").

    Attributes:
        num_texts: how many there are.
        num_missing: how many are in shards that are not kept from an earlier run.
        vector_bytes: of one text on disk.
        k: hits of a query.
        cache: where everything goes.
        num_ranks: processes that share the work.
        probe: a few passages to measure the time on.
    """

    num_texts: Mapping[str, int]
    num_missing: Mapping[str, int]
    vector_bytes: int
    k: int
    cache: Path
    num_ranks: int
    probe: Sequence[str]

    @property
    def num_bytes(self) -> int:
        """Disk that vectors and hits will take."""
        vectors = sum(self.num_missing.values()) * self.vector_bytes
        return vectors + self.num_texts["queries"] * self.k * HIT_BYTES


def say_costs(costs: Costs, *, encode: Callable[[Sequence[str]], Any]) -> None:
    """Say what is to be done and how long it will take.

    Args:
        encode: embeds some passages, to measure the time on.

    Raises:
        UserError: there is not enough room on the disk.
    """
    free = shutil.disk_usage(costs.cache).free
    if costs.num_bytes > free:
        needed, room = spoken_bytes(costs.num_bytes), spoken_bytes(free)
        raise UserError(
            f"the vectors and hits need {needed}, but {costs.cache} has {room} free",
            fix=f"make room (sharprank cache ls), set {VARIABLE} or --embedding_cache to another disk, or use "
            "--embedding_dtype float16",
        )
    embedded = ", ".join(
        f"{costs.num_missing[name]:,} of {total:,} {name}" for name, total in costs.num_texts.items() if total
    )
    searched = f"{costs.num_texts['queries']:,} queries x {costs.num_texts['passages']:,} passages"
    say(
        f"to do: embed {embedded} (others are kept from before); search {searched}; "
        f"{spoken_bytes(costs.num_bytes)} in {costs.cache} ({spoken_bytes(free)} free)"
    )
    if costs.num_missing["passages"] > TEXTS_WORTH_A_PROBE and is_first_rank():
        encode(costs.probe)  # the first batch pays for what is set up once
        start = time.perf_counter()
        encode(costs.probe)
        rate = len(costs.probe) / (time.perf_counter() - start) * costs.num_ranks
        total = sum(costs.num_missing.values())
        say(f"embedding takes about {spoken_seconds(total / rate)}, at {rate:,.0f} texts/s; a killed run continues")
