"""Several processes at one piece of work: who is who, how work is split, and how they wait for each other.

`torchrun` starts the processes and says in the environment which of how many each one is; without it there is one.
They meet through files on a disk that all of them see; through the network go only short messages, so that every
rank learns at once when another has died. Knows nothing of the work.
"""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sharprank.errors import UserError

T = TypeVar("T")

LONGEST_WAIT = datetime.timedelta(days=30)
"""A rank that has died is noticed at once; one that is slow is waited for."""


@dataclass(frozen=True)
class Ranks:
    """This process among all.

    Attributes:
        number: which one it is, from 0.
        count: how many there are.
        local: which one it is on its machine, from 0; its GPU goes by it.
    """

    number: int = 0
    count: int = 1
    local: int = 0

    def share(self, items: Sequence[T]) -> list[T]:
        """What of `items` is this rank's to do: every `count`-th."""
        return list(items[self.number :: self.count])

    def agree(self, work: Callable[[], T]) -> T:
        """What the first rank finds by doing `work`, on all ranks.

        Raises:
            UserError: another rank has died.
        """
        held: list[Any] = [work() if self.number == 0 else None]
        if self.count > 1:
            import torch.distributed as distributed

            with _telling_of_the_dead():
                distributed.broadcast_object_list(held, src=0)
        return held[0]

    def wait(self) -> None:
        """Return when all ranks have come here.

        Raises:
            UserError: another rank has died.
        """
        self.agree(lambda: None)
        if self.count > 1:
            import torch.distributed as distributed

            with _telling_of_the_dead():
                distributed.barrier()


ALONE = Ranks()


@contextlib.contextmanager
def all_ranks() -> Iterator[Ranks]:
    """This process among those that torchrun started, connected to them; without torchrun, alone."""
    count = int(os.environ.get("WORLD_SIZE") or 1)
    if count == 1:
        yield ALONE
        return
    import torch.distributed as distributed

    ranks = Ranks(int(os.environ["RANK"]), count, int(os.environ.get("LOCAL_RANK", "0")))
    ours = not distributed.is_initialized()
    if ours:
        with _telling_of_the_dead():
            distributed.init_process_group("gloo", timeout=LONGEST_WAIT)
    try:
        yield ranks
    finally:
        if ours:
            distributed.destroy_process_group()


@contextlib.contextmanager
def _telling_of_the_dead() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise UserError(
            f"another rank has stopped, so this one stops too ({str(error).splitlines()[0]})",
            fix="see what that rank said, then run the same command again: finished work is kept",
        ) from error
