"""The documents that rows are made from, and the order in which they are tried.

Loads no model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sharprank.errors import UserError
from sharprank.formats.bad_rows import BadRows
from sharprank.formats.pool import TEXT_KEYS, find_table, passage_id, passage_text, why_no_text
from sharprank.formats.sources import Source, iter_records
from sharprank.progress import say


@dataclass(frozen=True)
class Document:
    """One document.

    Attributes:
        title: may be empty.
        body: everything else.
    """

    doc_id: str
    title: str
    body: str

    @property
    def text(self) -> str:
        """Title and body, as a passage."""
        return f"{self.title} {self.body}" if self.title.strip() else self.body


def read_corpus(path: str) -> dict[str, Document]:
    """The documents by id (as text, numbers too); those without a body are left out, and said.

    Raises:
        UserError: a document without id or text, an id twice, no document at all.
    """
    corpus: dict[str, Document] = {}
    seen: set[str] = set()
    source = Source(corpus_place(path))
    for record in iter_records(source, default_split=None, bad_rows=BadRows(skip_hint=None)):
        doc_id, fields = passage_id(record.fields), record.fields
        if doc_id is None:
            raise UserError(f"{record.place}: a document without id", fix="give every document its 'id'")
        if doc_id in seen:
            raise UserError(f"{record.place}: id {doc_id} a second time", fix="keep one of them")
        seen.add(doc_id)
        if passage_text(fields) is None:
            raise UserError(f"{record.place}: {why_no_text(fields)}", fix="give every document its 'text'")
        body = next(fields[key] for key in TEXT_KEYS if fields.get(key) is not None).strip()
        if body:
            corpus[doc_id] = Document(doc_id, (fields.get("title") or "").strip(), body)
    if not corpus:
        raise UserError(f"{path} holds no document with a text", fix="name documents {id, title, text}")
    if len(corpus) < len(seen):
        say(f"note: {path}: {len(seen) - len(corpus):,} of {len(seen):,} documents are empty")
    return corpus


def corpus_place(path: str) -> str:
    """The file or folder that `read_corpus` reads, of a collection the file with its corpus; other names stay."""
    folder = Path(path).expanduser()
    table = find_table(folder, "corpus") if folder.is_dir() else None
    return str(table or folder) if folder.exists() else path


def read_doc_ids(path: str | None, corpus: Mapping[str, Document]) -> list[str]:
    """The ids in a file, one a line.

    Raises:
        UserError: an id that the corpus does not have, an empty or unreadable file.
    """
    if path is None:
        return []
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--doc_ids_file {path} cannot be read: {error}", fix="name a text file of ids") from error
    doc_ids = [line.strip() for line in lines if line.strip()]
    unknown = [doc_id for doc_id in doc_ids if doc_id not in corpus]
    if unknown or not doc_ids:
        problem = f"{len(unknown)} ids are not in the corpus, first: {unknown[0]}" if unknown else "no id in it"
        raise UserError(f"--doc_ids_file {path}: {problem}", fix="write ids of the corpus, one a line")
    return list(dict.fromkeys(doc_ids))


def eligible(corpus: Mapping[str, Document], min_length: int) -> list[str]:
    """Ids of the documents that are long enough to be drawn.

    Raises:
        UserError: none is.
    """
    long_enough = [doc_id for doc_id, document in corpus.items() if len(document.body) >= min_length]
    if not long_enough:
        longest = max(len(document.body) for document in corpus.values())
        raise UserError(
            f"no document has {min_length} characters; the longest has {longest}",
            fix=f"use --min_length {longest} or less",
        )
    return long_enough


def turns(listed: Sequence[str], drawn: Sequence[str], *, seed: int) -> Iterator[tuple[int, str]]:
    """(turn, document id) without end: the listed ones, then the others in random order; and all of them again.

    Args:
        listed: in their order, short ones too.
        drawn: those long enough.
    """
    rest = [doc_id for doc_id in sorted(drawn) if doc_id not in set(listed)]
    order = np.random.default_rng(seed).permutation(len(rest)).tolist()
    one_pass = [*listed, *(rest[i] for i in order)]
    turn = 0
    while True:
        yield from ((turn, doc_id) for doc_id in one_pass)
        turn += 1
