"""A teacher's scores for training data: rows and lists in, the same with raw scores out.

Batches of records are scored and kept in a journal, so that a stopped job continues; they are cut by their number, so
that it ends in the same bytes. A score that is no number is an error, never written.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from sharprank.errors import UserError
from sharprank.formats.bad_rows import BadRows
from sharprank.formats.fields import BadField, query_in, texts_in, with_lists
from sharprank.formats.groups import TEACHER_KEY, passages_key_of
from sharprank.formats.journal import Journal
from sharprank.formats.rows import RowKeys, no_rows, parse_row
from sharprank.formats.sources import Source, iter_records
from sharprank.formats.writers import check_writable, json_line, refuse_other_settings
from sharprank.metrics.pairs import pair_accuracy
from sharprank.progress import progress_bar, say
from sharprank.provenance import describe_inputs, manifest
from sharprank.records import Record
from sharprank.training.teach_config import TeachConfig

RECORDS_AT_ONCE = 64
"""Records of a batch: what a stopped job loses at most."""

DIGITS = 6
"""Decimals of a score; what a forward pass leaves open lies beyond them."""

SCALE = "raw scores (logits): their sigmoid is the probability"
FLAG_SCALE = "logit of the token Yes"


class Teacher(Protocol):
    """What scores pairs; `PairScorer` does."""

    def score(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray: ...


@dataclass(frozen=True)
class Lesson:
    """A record and the pairs to score for it.

    Attributes:
        query, texts: the pairs.
        num_positives: how many of a row's texts are positives; None for a list.
        fields: the record, to which the scores are added.
    """

    query: str
    texts: tuple[str, ...]
    num_positives: int | None
    fields: dict[str, Any]

    def taught(self, scores: Sequence[float]) -> dict[str, Any]:
        """The record with its scores."""
        if self.num_positives is None:
            return {**self.fields, TEACHER_KEY: list(scores)}
        cut = self.num_positives
        return {**self.fields, "pos_scores": list(scores[:cut]), "neg_scores": list(scores[cut:])}


@dataclass(frozen=True)
class TeachResult:
    """Where the scored data is, and what the statistics beside it say (nothing where it was done before)."""

    output_path: Path
    numbers: dict[str, Any] = field(default_factory=dict)


def teach(config: TeachConfig, *, load: Callable[[TeachConfig], Teacher] | None = None) -> TeachResult:
    """Score training data as `config` says.

    Args:
        load: gives the teacher; by default the one that `config` names.

    Raises:
        UserError: whatever the user can fix.
    """
    config.check()
    output = Path(config.output_file)
    check_writable(output)
    inputs = describe_inputs([config.input_file, config.model_name_or_path])
    settings = {**config.settings(), "inputs": inputs}
    if refuse_other_settings(output, settings, overwrite=config.overwrite) == "done":
        say(f"note: {output} was already scored with these settings; --overwrite True scores it again")
        return TeachResult(output)
    bad_rows = BadRows(config.on_bad_row)
    lessons = list(_lessons(config, bad_rows))
    journal = Journal(output, {**settings, "records_at_once": RECORDS_AT_ONCE}, parts="batches")
    _score(lessons[journal.resume() * RECORDS_AT_ONCE :], journal, lambda: (load or load_teacher)(config))
    for reason, count in bad_rows.counts.items():
        say(f"note: {count:,} records skipped: {reason}")
    about = manifest(command=["sharprank", "teach"], settings=settings, inputs=inputs)
    scale = FLAG_SCALE if config.reranker_model_class else SCALE
    numbers = {**_numbers(journal), "skipped": dict(bad_rows.counts)}
    journal.finish({**about, "scale": scale, **numbers})
    return TeachResult(output, numbers)


def load_teacher(config: TeachConfig) -> Teacher:
    """The teacher that the flags name.

    Raises:
        UserError: no such model, or one that cannot score.
    """
    if config.reranker_model_class is not None:
        from sharprank.training.flag_teacher import FlagTeacher

        return FlagTeacher(config)
    from sharprank.models.kinds import Asked
    from sharprank.models.scoring import PairScorer

    return PairScorer.load(
        config.model_name_or_path,
        max_length=config.max_length,
        dtype=config.dtype,
        device=config.device,
        trust_remote_code=config.trust_remote_code,
        asked=Asked(prompt=config.prompt, instruction=config.instruction),
    )


def _lessons(config: TeachConfig, bad_rows: BadRows) -> Iterator[Lesson]:
    keys = RowKeys.of_flags(config)
    source, found = Source(config.input_file, config.sub_data_name), False
    for record in iter_records(source, bad_rows=bad_rows):
        try:
            lesson = _lesson(record, keys, config.passages_key, bad_rows)
        except BadField as bad:
            bad_rows.reject(record.place, bad.problem, fix=bad.fix, reason=bad.reason)
            continue
        if lesson is not None:
            found = True
            yield lesson
    if not found:
        raise no_rows(source, keys, bad_rows)


def _lesson(record: Record, keys: RowKeys, passages_key: str | None, bad_rows: BadRows) -> Lesson | None:
    texts_key = passages_key_of(record.fields, passages_key)
    if keys.positives in record.fields or texts_key is None:
        row = parse_row(record, keys=keys, bad_rows=bad_rows)
        return row and Lesson(row.query, (*row.positives, *row.negatives), len(row.positives), dict(row.fields))
    fields = with_lists(record, text_keys=(texts_key,), score_keys=("labels", "scores", TEACHER_KEY))
    texts = texts_in(fields, texts_key)
    if not texts:
        raise BadField(f"{texts_key!r} holds no text", fix="give it at least one", reason="no passages")
    return Lesson(query_in(fields, keys.query), texts, None, dict(fields))


def _score(lessons: Sequence[Lesson], journal: Journal, load: Callable[[], Teacher]) -> None:
    """Score batch after batch; the teacher is loaded only if there is one."""
    teacher: Teacher | None = None
    with progress_bar(total=len(lessons), desc="teaching", unit="record") as bar:
        for start in range(0, len(lessons), RECORDS_AT_ONCE):
            batch = lessons[start : start + RECORDS_AT_ONCE]
            teacher = teacher or load()
            scores = teacher.score([(lesson.query, text) for lesson in batch for text in lesson.texts])
            _refuse_nan(scores, batch)
            parts = np.split(scores, np.cumsum([len(lesson.texts) for lesson in batch])[:-1])
            lines = [lesson.taught(_rounded(part)) for lesson, part in zip(batch, parts, strict=True)]
            journal.append(["".join(json_line(line) + "\n" for line in lines)])
            bar.update(len(batch))


def _refuse_nan(scores: np.ndarray, batch: Sequence[Lesson]) -> None:
    if not np.isfinite(scores).all():
        raise UserError(
            f"the teacher scores {int((~np.isfinite(scores)).sum())} of {len(scores)} pairs as not a number, "
            f"near query {batch[0].query[:60]!r}",
            fix="try --dtype float32; if that does not help, the teacher itself is broken",
        )


def _rounded(scores: np.ndarray) -> list[float]:
    return [round(float(score), DIGITS) for score in scores]


def _numbers(journal: Journal) -> dict[str, Any]:
    """What came out, and whether the teacher agrees with the rows: where it does not, its errors are what is taught."""
    rows = [json.loads(line) for text in journal.texts() for line in text.split("\n") if line]
    scores = [[*row["pos_scores"], *row["neg_scores"]] if "pos_scores" in row else row[TEACHER_KEY] for row in rows]
    every = np.concatenate([np.asarray(part, dtype=np.float64) for part in scores])
    agreed = [pair_accuracy(row["pos_scores"], row["neg_scores"]) for row in rows if row.get("neg_scores")]
    if len(every) > 1 and every.min() == every.max():
        say(f"warning: the teacher gives every pair the same score ({every[0]:g}); there is nothing to learn from it")
    names, at = ("min", "p05", "median", "p95", "max"), (0, 0.05, 0.5, 0.95, 1)
    return {
        "records": len(rows),
        "pairs": len(every),
        "scores": dict(zip(names, np.quantile(every, at).round(DIGITS).tolist(), strict=True)),
        "positives_above_negatives": float(np.mean(agreed)) if agreed else None,
    }
