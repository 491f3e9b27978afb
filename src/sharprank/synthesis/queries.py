"""Queries from a document's own words: its title, headings, telling sentences and key words.

The passage that answers a query is the document without what the query was taken from, so that nothing learns to look
for the query itself. What is left has to be so much of the document that mining knows it again (`filters`): otherwise
a document could become a negative of its own query, and the query is given up.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from sharprank.retrieval.filters import NEAR_DUPLICATE, fold, overlap, shingles
from sharprank.retrieval.tfidf import TfIdf
from sharprank.synthesis.corpus import Document

FEWEST_TERMS, MOST_TERMS = 2, 40
SENTENCE_TERMS = 5
"""A shorter sentence says too little to be asked for."""
NUM_SENTENCES, NUM_PHRASE_LISTS = 3, 2
WORDS_IN_PHRASES = 6
HEADING_WORDS = 10

LAST_RESORT = "phrases"
"""Key words stand in their passage word for word, so BM25 alone finds it and a reranker learns nothing it lacks."""

_LETTER = r"A-Z0-9\u00c0-\u024f\u0370-\u03ff\u0400-\u04ff"
_SENTENCE_END = re.compile(rf"(?<=[.!?])[\"')\]]*\s+(?=[\"'(\[]?[{_LETTER}])|(?<=[。！？])|\n+")
_MARKED_HEADING = re.compile(r"\s{0,3}#{1,6}\s+(.+?)\s*#*\s*$")
_LABEL = re.compile(r"^(?:[A-Z]{4,}\b[\s,/&]*(?:(?:AND|OF)\s+)?)+:?\s+(?=[A-Z])|^[A-Z][a-z]+:\s+(?=[A-Z])")
_REPEATED = re.compile(r"^(\S.{2,80}?)(?:\s+\1(?=\s))+")
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Query:
    """A query, and the passage that answers it."""

    text: str
    kind: str
    passage: str


def queries_of(document: Document, tfidf: TfIdf, kinds: Sequence[str]) -> list[Query]:
    """Every query a document gives: the best of each kind, then the second best of each, and so on; phrases last."""
    body = _without_leading_title(document)
    found = {
        kind: [query for query in _FROM[kind](document, body, tfidf) if _fits(query, document, tfidf)] for kind in kinds
    }
    last = found.pop(LAST_RESORT, [])
    most = max((len(queries) for queries in found.values()), default=0)
    rounds = [queries[number] for number in range(most) for queries in found.values() if number < len(queries)]
    first: dict[str, Query] = {}
    for query in [*rounds, *last]:
        first.setdefault(fold(query.text), query)
    return list(first.values())


def body_of(document: Document) -> str:
    """The document without its title, also where the text begins with it once more."""
    return _without_leading_title(document)


def _without_leading_title(document: Document) -> str:
    """Some corpora begin every text with its title, once or several times."""
    body, title = document.body, document.title.strip()
    while title and body[: len(title)].casefold() == title.casefold() and len(body) > len(title):
        if body[len(title)].isalnum():
            break
        body = body[len(title) :].lstrip(" \t\r\n.:-")
    return body or document.body


def _fits(query: Query, document: Document, tfidf: TfIdf) -> bool:
    num_terms = len(tfidf.terms(query.text))
    if not FEWEST_TERMS <= num_terms <= MOST_TERMS or fold(query.text) == fold(query.passage):
        return False
    return overlap(shingles(query.passage), shingles(document.text)) >= NEAR_DUPLICATE


def _titles(document: Document, body: str, tfidf: TfIdf) -> Iterator[Query]:
    if document.title:
        yield Query(document.title, "title", body)


def _headings(document: Document, body: str, tfidf: TfIdf) -> Iterator[Query]:
    """Headings, with the title before those that say little by themselves."""
    lines = body.splitlines()
    for number, line in enumerate(lines[:-1]):
        heading = _heading(line, lines[number + 1])
        if heading is not None:
            alone = len(tfidf.terms(heading)) >= 4 or not document.title
            rest = "\n".join(lines[:number] + lines[number + 1 :])
            yield Query(heading if alone else f"{document.title} {heading}", "heading", rest)


def _heading(line: str, following: str) -> str | None:
    """The heading a line is: marked with #, or short, without a full stop, before a longer line or an empty one."""
    marked = _MARKED_HEADING.fullmatch(line)
    if marked:
        return marked[1]
    words = line.split()
    short = 1 < len(words) <= HEADING_WORDS and line.strip()[-1].isalnum()
    return line.strip() if short and len(following.split()) > HEADING_WORDS else None


def _sentences(document: Document, body: str, tfidf: TfIdf) -> Iterator[Query]:
    """The sentences most like the whole document, the best first."""
    sentences = [part.strip() for part in _SENTENCE_END.split(body) if part and part.strip()]
    telling = [part for part in dict.fromkeys(sentences) if SENTENCE_TERMS <= len(tfidf.terms(part)) <= MOST_TERMS]
    if len(sentences) < 2 or not telling:
        return
    vectors = tfidf.vectors([document.text, *telling])
    likeness = vectors[1:] @ vectors[0]
    for number in sorted(range(len(telling)), key=lambda i: -likeness[i])[:NUM_SENTENCES]:
        yield Query(_asked(telling[number]), "sentence", _cut(body, telling[number]))


def _asked(sentence: str) -> str:
    """A sentence without what only a document has: "RESULTS:" before it, a name said over and over at its beginning."""
    return _REPEATED.sub(r"\1", _LABEL.sub("", sentence))


def _cut(body: str, sentence: str) -> str:
    before, _, after = body.partition(sentence)
    return f"{before.rstrip()} {after.lstrip()}".strip()


def _phrases(document: Document, body: str, tfidf: TfIdf) -> Iterator[Query]:
    """The words that say most, as people type them into a search box, in the order of the text."""
    counts: Counter[str] = Counter()
    surface: dict[str, str] = {}
    for word in _WORD.findall(body):
        for term in tfidf.terms(word):
            counts[term] += 1
            surface.setdefault(term, word if len(tfidf.terms(word)) == 1 else term)
    telling = {term: (1 + math.log(counts[term])) * tfidf.weight(term) for term in counts if _may_tell(term, tfidf)}
    ranked = sorted(telling, key=lambda term: (-telling[term], term))
    places = {term: place for place, term in enumerate(counts)}
    for number in range(NUM_PHRASE_LISTS):
        chosen = ranked[number * WORDS_IN_PHRASES : (number + 1) * WORDS_IN_PHRASES]
        if len(chosen) == WORDS_IN_PHRASES:
            yield Query(" ".join(surface[term] for term in sorted(chosen, key=places.__getitem__)), "phrases", body)


def _may_tell(term: str, tfidf: TfIdf) -> bool:
    return len(term) > 1 and not term.isdigit() and not tfidf.is_common(term)


_FROM: dict[str, Callable[[Document, str, TfIdf], Iterator[Query]]] = {
    "title": _titles,
    "heading": _headings,
    "sentence": _sentences,
    "phrases": _phrases,
}
