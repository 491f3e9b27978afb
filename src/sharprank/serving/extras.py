"""The one sentence that a missing optional library is answered with."""

from __future__ import annotations


def missing_extra(extra: str, library: str, error: ImportError) -> ImportError:
    """What to raise instead of `error`, naming the extra that brings the library."""
    return ImportError(f"this needs {library} ({error}); install it: pip install 'sharprank[{extra}]'")


def check_top_n(top_n: int | None) -> None:
    """Refuse a number of passages to keep that keeps none."""
    if top_n is not None and top_n < 1:
        raise ValueError(f"top_n is {top_n}; use 1 or more, or None for all")
