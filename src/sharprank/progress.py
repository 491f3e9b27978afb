"""Progress bars and notes for whoever is watching: on stderr, and from the first rank only.

Results go to stdout and never through here. Knows nothing of what is being worked on.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from tqdm import tqdm

T = TypeVar("T")

Bar = tqdm
"""A progress bar, for signatures."""

SECONDS_BETWEEN_UPDATES = 0.5
SECONDS_BETWEEN_UPDATES_IN_A_LOG = 10.0

_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")


def is_first_rank() -> bool:
    """Whether this process speaks for all of them (torchrun sets RANK; without torchrun there is one process)."""
    return os.environ.get("RANK", "0") in ("", "0", "-1")


def track(iterable: Iterable[T], *, total: int | None = None, desc: str | None, unit: str = "it") -> Iterator[T]:
    """Give back the items of `iterable` one by one, behind a progress bar.

    Args:
        iterable: what is worked through.
        total: number of items, where `len(iterable)` does not say it.
        desc: what is being done, in two or three words ("encoding passages"); no bar is drawn when it is None.
        unit: what one item is ("passage").
    """
    return iter(_bar(iterable, total=total, desc=desc, unit=unit))


def progress_bar(*, total: int | None, desc: str | None, unit: str = "it") -> tqdm[Any]:
    """A bar to be advanced by hand (`with progress_bar(...) as bar: bar.update(n)`); none drawn when desc is None."""
    return _bar(None, total=total, desc=desc, unit=unit)


@contextlib.contextmanager
def continued(progress: str | Bar[Any] | None, *, total: int, unit: str = "it") -> Iterator[Bar[Any]]:
    """The bar given, to be advanced by one more part of its work; or one of its own for words (none: not drawn)."""
    if isinstance(progress, tqdm):
        yield progress
        return
    with progress_bar(total=total, desc=progress, unit=unit) as bar:
        yield bar


def _bar(iterable: Iterable[Any] | None, *, total: int | None, desc: str | None, unit: str) -> tqdm[Any]:
    return tqdm(
        iterable,
        total=total,
        desc=desc,
        unit=unit,
        mininterval=SECONDS_BETWEEN_UPDATES if sys.stderr.isatty() else SECONDS_BETWEEN_UPDATES_IN_A_LOG,
        dynamic_ncols=True,
        file=sys.stderr,
        disable=desc is None or not is_first_rank(),
    )


def say(message: str) -> None:
    """Print one line to stderr, above any bar that is being drawn, on the first rank only."""
    if is_first_rank():
        tqdm.write(message, file=sys.stderr)


def spoken_bytes(count: float) -> str:
    """1,536,000,000 as "1.5 GB"."""
    unit = 0
    while count >= 1000 and unit < len(_UNITS) - 1:
        count, unit = count / 1000, unit + 1
    return f"{count:.1f} {_UNITS[unit]}" if unit else f"{count:.0f} bytes"


def spoken_seconds(seconds: float) -> str:
    """5,000 as "1 h 23 min"."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{seconds / 86_400:.1f} days"
