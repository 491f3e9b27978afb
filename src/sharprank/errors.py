"""The one exception a user reads: what is wrong in one line, what to do in the next.

Everything the user set or supplied (flags, files, rows, models) fails with `UserError`; a broken call
inside the program fails with the usual Python exceptions and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class UserError(Exception):
    """A mistake the user can fix; the command line prints it without a traceback and exits with 2.

    Args:
        problem: one line naming file, line, field or flag, and the value that is wrong.
        fix: one line naming the way out.
    """

    def __init__(self, problem: str, *, fix: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.fix = fix

    def __str__(self) -> str:
        return f"error: {self.problem}\n  fix: {self.fix}"


def check_seed(seed: int) -> None:
    """Refuse a --seed that numpy's and torch's generators do not all take.

    Raises:
        UserError: it is negative, or has more than 32 bits.
    """
    if not 0 <= seed < 1 << 32:
        raise UserError(f"--seed {seed} is no seed", fix=f"use a whole number from 0 to {(1 << 32) - 1}")


def check_read(config: Any, flags: Mapping[str, str]) -> None:
    """Refuse a flag that only says how something is read which another flag, left out, names.

    Args:
        flags: {flag: the flag that names what is read}.

    Raises:
        UserError: naming both.
    """
    for name, of in flags.items():
        if getattr(config, of) is None and getattr(config, name) is not None:
            raise UserError(
                f"--{name} {getattr(config, name)} says how --{of} is read, and there is no --{of}",
                fix=f"give --{of}, or leave --{name} out",
            )
