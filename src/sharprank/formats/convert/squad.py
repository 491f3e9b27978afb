"""Reading comprehension to rows: the question is the query, the paragraph with its answer the positive.

SQuAD's own nested files ({data: [{paragraphs: [{context, qas}]}]}) and the flat records that hubs make of them
({question, context, answers}). Questions that their paragraph does not answer give no row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sharprank.formats.convert.tally import Row, Tally
from sharprank.formats.fields import BadField, spelled_in
from sharprank.records import Place, Record

UNANSWERED = "not answered by its paragraph"


def squad_rows(records: Iterable[Record], *, tally: Tally) -> Iterator[Row]:
    """One row for every answered question, without negatives."""
    for record in records:
        for fields in _questions(record.fields, record.place, tally):
            question = tally.text(fields, "question", record.place)
            context = tally.text(fields, "context", record.place)
            if question is None or context is None:
                continue
            try:
                answered = _is_answered(fields)
            except BadField as bad:
                tally.reject(record.place, bad.problem, fix=bad.fix, reason=bad.reason)
                continue
            if not answered:
                tally.num_read += 1
                tally.drop(UNANSWERED)
                continue
            row = tally.row(question.strip(), [context])
            if row is not None:
                yield row


def _questions(fields: Mapping[str, Any], place: Place, tally: Tally) -> Iterator[Mapping[str, Any]]:
    """Flat records {question, context, answers, ...}, whatever they are nested in."""
    for inner, more in (("data", ()), ("paragraphs", ()), ("qas", ("context",))):
        if inner not in fields:
            continue
        items = fields[inner]
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            tally.reject(place, f"{inner!r} is no list of objects", fix="write it as SQuAD does", reason="not SQuAD")
            return
        for item in items:
            yield from _questions({**{key: fields.get(key) for key in more}, **item}, place, tally)
        return
    yield fields


def _is_answered(fields: Mapping[str, Any]) -> bool:
    """Records that say nothing about answers are taken to be answered."""
    if fields.get("is_impossible") in (True, "True", "true"):
        return False
    if "answers" not in fields:
        return True
    answers = fields["answers"]
    if isinstance(answers, str):  # a table's cell, or the answer itself
        spelled = spelled_in(answers)
        answers = spelled if isinstance(spelled, (Mapping, list)) else answers.strip()
    return bool(answers.get("text") if isinstance(answers, Mapping) else answers)
