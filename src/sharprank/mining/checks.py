"""What of the flags of `sharprank mine` cannot work together: refused before anything is read. Loads nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from sharprank.errors import UserError
from sharprank.formats.collections import pool_path
from sharprank.formats.writers import check_apart
from sharprank.mining.select import DEFAULT_NUMBER, Window

_TEACHER_FLAGS = ("teacher_ceiling", "teacher_promote", "teacher_max_length")


def check_window(
    window: tuple[int, int], number: int, *, top_up: bool, pool_size: int | None = None, is_only: bool = True
) -> None:
    """Refuse a rank window that cannot hold its negatives, of itself or in a pool of this size.

    Args:
        number: of the negatives that one source gives from this window.
        is_only: these are all negatives of a row; else other windows or sources give some as well.

    Raises:
        UserError: naming the ranks, what they hold and the way out.
    """
    low, high = window
    if pool_size is not None and low >= pool_size:
        raise UserError(
            f"the pool holds {pool_size} passages, but --range_for_sampling {low}-{high} starts after the first {low}",
            fix=f"use a range that starts below {pool_size}, or a larger --candidate_pool",
        )
    held = (high if pool_size is None else min(high, pool_size)) - low
    if held >= number or top_up:
        return
    if not is_only:
        of_pool = "" if pool_size is None or held == high - low else f" of a pool of {pool_size} passages"
        raise UserError(
            f"ranks {low + 1}-{high}{of_pool} hold {held} candidates, but one source is to give {number} of them",
            fix="use a wider range, fewer negatives, or --top_up random",
        )
    if pool_size is not None and held < high - low:
        raise UserError(
            f"ranks {low + 1}-{high} of a pool of {pool_size} passages hold {held} candidates, "
            f"but negative_number is {number}",
            fix=f"use --negative_number {held}, or a larger --candidate_pool",
        )
    raise UserError(
        f"ranks {low + 1}-{high} hold {held} candidates, but negative_number is {number}",
        fix=f"use --range_for_sampling {low}-{low + number} or wider, or --negative_number {held}, or --top_up random",
    )


def check_numbers(windows: Sequence[Window], number: int) -> None:
    """Refuse numbers of windows that contradict the number of negatives.

    Args:
        windows: as they were written, with or without numbers.

    Raises:
        UserError: naming both.
    """
    given = sum(window.number or 0 for window in windows)
    if all(window.number for window in windows):
        if number not in (given, DEFAULT_NUMBER):
            raise UserError(
                f"--range_for_sampling asks for {given} negatives, --negative_number for {number}",
                fix=f"leave --negative_number out, or use {given}",
            )
    elif given >= number:
        raise UserError(
            f"--range_for_sampling gives {given} negatives to some ranges, which leaves none of {number} to the others",
            fix=f"use --negative_number {given + 1} or more, or give every range its number",
        )


def check_scores(config: Any) -> None:
    """Refuse score filters that cannot work, of mining or of filtering later.

    Raises:
        UserError: naming the flag.
    """
    for name in ("max_score", "min_score", "absolute_margin", "relative_margin", "teacher_margin"):
        value = getattr(config, name)
        if value is not None and not math.isfinite(value):
            raise UserError(f"--{name} {value} is no number to compare with", fix=f"use a finite --{name}")
    low, high = config.min_score, config.score_rule.ceiling
    if low is not None and high is not None and low >= high:
        raise UserError(f"scores from {low} up to {high} leave nothing", fix="use a --min_score below the ceiling")
    if config.relative_margin is not None and not 0 <= config.relative_margin < 1:
        raise UserError(
            f"--relative_margin {config.relative_margin} is not a share", fix="use 0.05 for 95% of the positive's score"
        )


def check_encoder(config: Any) -> None:
    """Refuse score filters where nothing gives the scores.

    Raises:
        UserError: naming the sources.
    """
    if config.score_rule and not any(spec.is_encoder for spec in config.source_specs):
        raise UserError(
            f"score filters compare cosines, and --sources {config.sources} has no bi-encoder",
            fix="add dense to --sources, or use --teacher",
        )


def check_teacher(config: Any) -> None:
    """Refuse settings of a teacher that cannot work, or that nobody is there to follow.

    Raises:
        UserError: naming the flag.
    """
    for name in ("teacher_ceiling", "teacher_promote"):
        value = getattr(config, name)
        if value is not None and not 0 < value <= 1:
            raise UserError(f"--{name} {value} is not a probability", fix=f"use --{name} above 0 and at most 1")
    given = [name for name in _TEACHER_FLAGS if getattr(config, name) is not None]
    given += ["teacher_margin"] if config.teacher_margin != 0 else []
    if config.teacher is None and given:
        raise UserError(f"--{given[0]} is set, but there is no --teacher", fix="name a cross-encoder: --teacher MODEL")
    if config.overlap < 0:
        raise UserError(f"--overlap {config.overlap} is less than 0", fix="use --overlap 0 or more")


def check_files(config: Any) -> None:
    """Refuse an output that is an input or lies in one, or two outputs of one name.

    Raises:
        UserError: naming both flags.
    """
    outputs = {flag: getattr(config, flag) for flag in ("output_file", "output_candidates", "report")}
    inputs = [("--input_file", config.input_file), ("--candidate_pool", pool_path(config.candidate_pool))]
    runs = [(f"the run {spec.name}", spec.name) for spec in config.source_specs if spec.is_run]
    check_apart(outputs, [*inputs, *runs])
