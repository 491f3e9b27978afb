"""Asking a language model whether a passage continues a document: the prompt, and the three verdicts.

As reference system 004 judges: valid when two chained questions can be asked, the first answered by the entity in the
source segment, the second by the passage. Only the explicit marker is a "no"; a reply that is neither is undecided,
and never becomes a negative.
"""

from __future__ import annotations

import re
from typing import Literal

from sharprank.synthesis.corpus import Document
from sharprank.synthesis.entities import SEGMENT_WORDS, Entity, num_words

Verdict = Literal["valid", "invalid", "undecided"]
MARKER = "INVALID_BRIDGE_CONNECTION"

_MARKED = re.compile(rf"^[ \t*_#`\"'(\[]*{MARKER}\b", re.MULTILINE)
_HEAD = r"^[ \t*_#-]*(?:sub-?question|answer)\s*"
_FIELD = re.compile(
    rf"^[ \t*_#-]*(sub-?question|answer)\s*([12])\s*[*_]*\s*:[\s*_]*(.*?)(?={_HEAD}\d|\Z)",
    re.IGNORECASE | re.MULTILINE | re.DOTALL,
)
_THIRD = re.compile(r"^[ \t*_#-]*sub-?question\s*3\b", re.IGNORECASE | re.MULTILINE)
_SEGMENT_B = re.compile(
    r"^[ \t*_#-]*document b segments?\s*[*_]*\s*:(.*?)(?=^[ \t*_#-]*(?:reasoning path|sub-questions?\s*[*_]*:)|\Z)",
    re.IGNORECASE | re.MULTILINE | re.DOTALL,
)

PROMPT = """Two documents may be connected by the entity "{name}" ({kind}). Decide whether they can be asked about in \
two chained questions:
- Sub-question 1 is answered by document A alone, and its answer is the entity.
- Sub-question 2 names the entity and is answered by document B alone, with a fact that document A does not hold.

If document B says nothing of substance about the entity, or there is no such pair, answer with this line and a reason:
{marker}: REASON

Otherwise answer in exactly this form:
ANALYSIS:
Bridge connection: how the entity connects both documents
Document A segments: the words of A that answer sub-question 1
Document B segments: the words of B that answer sub-question 2, at least 20 words
Reasoning path: how the questions follow from each other
SUB-QUESTIONS:
Sub-question 1: ...
Answer 1: ...
Sub-question 2: ...
Answer 2: ...

Document A:
{segment}

Document B{title}:
{body}
"""


def judge_prompt(entity: Entity, passage: Document) -> str:
    """The prompt for one passage."""
    title = f" ({passage.title})" if passage.title else ""
    return PROMPT.format(
        name=entity.name, kind=entity.kind, marker=MARKER, segment=entity.segment, title=title, body=passage.body
    )


def parse_verdict(reply: str) -> Verdict:
    """The verdict in a reply."""
    fields = {(name.lower().replace("-", "")[:3], number): text.strip() for name, number, text in _FIELD.findall(reply)}
    whole = all(fields.get((name, number)) for name in ("sub", "ans") for number in "12") and not _THIRD.search(reply)
    if _MARKED.search(reply):
        return "undecided" if whole else "invalid"
    if not whole:
        return "undecided"
    segment = _SEGMENT_B.search(reply)
    if segment and segment[1].strip() and num_words(segment[1]) < SEGMENT_WORDS:
        return "undecided"
    return "valid"
