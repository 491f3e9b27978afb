"""Mined rows filtered again by the scores they carry: no model, no search, nothing embedded.

What `sharprank mine` refuses by a score it can refuse later as well, since the rows keep cosines
and the teacher's scores (`--teacher`). Lists that go with the negatives are cut along with them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sharprank.formats.bad_rows import BadRows
from sharprank.formats.rows import NEGATIVE_SIMILARITY, POSITIVE_SIMILARITY, read_rows
from sharprank.formats.sources import Source
from sharprank.formats.writers import check_writable, is_made, json_document, json_line, open_together
from sharprank.mining.inputs import by_contents
from sharprank.mining.record import DESCRIBED
from sharprank.mining.refilter_config import RefilterConfig
from sharprank.mining.select import digest, sampling_keys
from sharprank.mining.teacher import TeacherRule
from sharprank.progress import track
from sharprank.provenance import describe_inputs, manifest
from sharprank.records import TrainRow

NOT_DRAWN = "not drawn"


@dataclass(frozen=True)
class Refiltered:
    """What a filtering did, as its statistics file says; `was_done`: an earlier run had written it."""

    stats: dict[str, Any]
    was_done: bool = False


def refilter(config: RefilterConfig) -> Refiltered:
    """Write the rows with the negatives that the rules leave.

    Raises:
        UserError: whatever the user can fix; a row without the scores that a rule needs.
    """
    config.check()
    check_writable(config.output_file)
    settings = by_contents(config.settings(), {"input_file": config.input_file})
    stats_path = Path(f"{config.output_file}.stats.json")
    if is_made(config.output_file, settings, overwrite=config.overwrite):
        return Refiltered(json.loads(stats_path.read_text(encoding="utf-8")), was_done=True)
    about = manifest(command=["sharprank", "filter"], settings=settings, inputs=describe_inputs([config.input_file]))
    bad_rows = BadRows(config.on_bad_row)
    rows = read_rows(Source(config.input_file, config.sub_data_name), keys=config.keys, bad_rows=bad_rows)
    counts: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    with open_together(config.output_file, stats_path) as (file, stats_file):
        for row in track(rows, desc="filtering rows", unit="row"):
            missing = _missing(row, config)
            if missing is not None:
                by_cosine = missing.endswith("similarity")
                fix = "mine again with --output_scores True" if by_cosine else "mine with --teacher"
                bad_rows.reject(row.place, f"no {missing!r}", fix=fix, reason=f"no {missing}")
                continue
            reasons = _reasons(row, config)
            refused.update(reason for reason in reasons if reason is not None)
            kept = [place for place, reason in enumerate(reasons) if reason is None]
            counts.update(rows=1, kept=len(kept), none=not kept)
            file.write(json_line(_cut(row, kept, config)) + "\n")
        numbers = {
            "rows": {
                "written": counts["rows"],
                "without_any_negative": counts["none"],
                "skipped": dict(sorted(bad_rows.counts.items())),
            },
            "negatives": {"kept": counts["kept"], "dropped": dict(refused.most_common())},
        }
        stats = {**about, **numbers}
        stats_file.write(json_document(stats))
    return Refiltered(stats)


def _missing(row: TrainRow, config: RefilterConfig) -> str | None:
    """The field that a rule needs and the row has not, or not for all its texts."""
    rule = config.score_rule
    sides = [(NEGATIVE_SIMILARITY, row.negatives)] if rule else []
    sides += [(POSITIVE_SIMILARITY, row.positives)] if rule.needs_positives else []
    for name, texts in sides:
        value = row.fields.get(name)
        if not isinstance(value, list) or len(value) != len(texts):
            return name
    if config.teacher_margin is not None:
        if row.neg_scores is None:
            return config.neg_scores_key
        if row.pos_scores is None:
            return config.pos_scores_key
    return None


def _reasons(row: TrainRow, config: RefilterConfig) -> list[str | None]:
    """Why each negative goes; None where it stays."""
    reasons: list[str | None] = [None] * len(row.negatives)
    rule = config.score_rule
    if rule:
        positives = [value for value in row.fields.get(POSITIVE_SIMILARITY, ()) if value is not None]
        lowest = min(positives, default=None)
        values = row.fields[NEGATIVE_SIMILARITY]
        reasons = [None if value is None else rule.reason(value, lowest) for value in values]
    if config.teacher_margin is not None and row.pos_scores and row.neg_scores:
        teacher = TeacherRule(config.teacher_margin)
        lowest = min(row.pos_scores)
        reasons = [
            reason or teacher.reason(score, 0.0, lowest) for reason, score in zip(reasons, row.neg_scores, strict=True)
        ]
    left = [place for place, reason in enumerate(reasons) if reason is None]
    if config.negative_number is not None and len(left) > config.negative_number:
        digests = np.array([digest(row.negatives[place]) for place in left], np.uint64)
        order = np.argsort(sampling_keys(config.seed, row.query, digests), kind="stable")
        for turn in order[config.negative_number :].tolist():
            reasons[left[turn]] = NOT_DRAWN
    return reasons


def _cut(row: TrainRow, kept: Sequence[int], config: RefilterConfig) -> Mapping[str, Any]:
    """The row with these negatives, and what goes with them."""
    record = dict(row.fields)
    record[config.positive_key] = list(row.positives)
    record[config.negative_key] = [row.negatives[place] for place in kept]
    with_negatives = [name for name in DESCRIBED if name.startswith("neg")]
    for name in (config.neg_scores_key, *with_negatives):
        value = record.get(name)
        if isinstance(value, list) and len(value) == len(row.negatives):
            record[name] = [value[place] for place in kept]
    return record


def summary(stats: Mapping[str, Any]) -> str:
    """The statistics as a few lines for a terminal."""
    rows, negatives = stats["rows"], stats["negatives"]
    skipped = sum(rows["skipped"].values())
    lines = [
        f"rows       {rows['written']:,}" + (f", {skipped:,} bad ones skipped" if skipped else ""),
        f"negatives  {negatives['kept']:,} kept",
        *(f"dropped    {count:,}: {reason}" for reason, count in negatives["dropped"].items()),
    ]
    none = rows["without_any_negative"]
    return "\n".join(lines + ([f"none left  {none:,} rows"] if none else []))
