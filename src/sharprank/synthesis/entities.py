"""Asking a language model for a query: the prompt, and what counts as an answer.

As reference system 004 asks: one bridge entity that is not the document's subject, a self-contained segment about it,
and a query for what other documents say about it. The reply is three records in that system's notation; unlike there,
no character inside a field can cut it short.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sharprank.retrieval.filters import fold
from sharprank.synthesis.corpus import Document

SEGMENT_WORDS = 20
"""A segment with fewer words is no segment."""

_WITHOUT_SPACES = (
    (re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]"), 2),  # Chinese, Japanese
    (re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]"), 4),  # Thai, Lao, Burmese, Khmer
)
"""Scripts without spaces, and how many of their characters make about a word."""

_HEAD = r"\(\s*\"?(?:bridge_entity|relevant_segments|query)\"?\s*<\|>"
_RECORD = re.compile(
    rf"\(\s*\"?(bridge_entity|relevant_segments|query)\"?\s*<\|>(.*?)\)?\s*(?=(?:##)?\s*{_HEAD}|<\|COMPLETE\|>|\Z)",
    re.DOTALL,
)

PROMPT = """You connect documents through the things they mention. Read the document and choose ONE bridge entity in \
it: a person, place, organisation, work, event or concept with a name of its own, which other documents could describe \
in more depth. It must not be the subject of the document, which its title names.

Answer with exactly three records and nothing else:
("bridge_entity"<|>NAME<|>TYPE)
##
("relevant_segments"<|>NAME<|>SEGMENT)
##
("query"<|>NAME<|>QUERY)
<|COMPLETE|>

NAME is the entity as the document spells it; TYPE is one word. SEGMENT is the part of the document about the entity, \
50 to 200 words, understandable by itself. QUERY has 10 to 20 words, names the entity, and asks for what the document \
does NOT say about it, in the document's language.

Title: {title}
Document:
{body}
"""


@dataclass(frozen=True)
class Entity:
    """What connects a document with others."""

    name: str
    kind: str
    segment: str
    query: str


def entity_prompt(document: Document) -> str:
    """The prompt for one document."""
    return PROMPT.format(title=document.title or "(none)", body=document.body)


def parse_entity(reply: str, document: Document) -> Entity | None:
    """The entity in a reply; None when it is not a whole one, or is the document's own title."""
    records: dict[str, list[str]] = {}
    for name, fields in _RECORD.findall(reply):
        records.setdefault(name, [part.strip().strip('"').strip() for part in fields.split("<|>")])
    if any(len(records.get(name, ())) < 2 for name in ("bridge_entity", "relevant_segments", "query")):
        return None
    name, kind = records["bridge_entity"][:2]
    segment, query = records["relevant_segments"][-1], records["query"][-1]
    if not name or not query or fold(name) == fold(document.title) or num_words(segment) < SEGMENT_WORDS:
        return None
    return Entity(name, kind, segment, query)


def num_words(text: str) -> int:
    """Words of a text; in scripts without spaces so many characters count as one."""
    num = 0
    for characters, per_word in _WITHOUT_SPACES:
        text, count = characters.subn(" ", text)
        num += count // per_word
    return num + len(text.split())
