"""Test collections as folders: `corpus.jsonl`, `queries.jsonl` and judgements in `qrels/SPLIT.tsv` or `qrels.tsv`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from sharprank.errors import UserError
from sharprank.formats.bad_rows import BadRows
from sharprank.formats.pool import find_table, passage_id, passage_text, why_no_text
from sharprank.formats.sources import Source, iter_records
from sharprank.formats.trec import read_qrels
from sharprank.progress import say
from sharprank.records import Collection, Passage, Qrels

_QRELS_NAME = re.compile(r"[^.].*\.(tsv|txt|qrels|trec)(\.gz)?", re.IGNORECASE)


def is_collection(path: str | Path) -> bool:
    """Whether a folder holds a corpus, queries and judgements."""
    folder = Path(path)
    if not os.path.isdir(folder):  # says no, rather than fail, where it may not look
        return False
    tables = [find_table(folder, stem) for stem in ("corpus", "queries")]
    return None not in tables and bool(_qrels_files(folder))


def pool_path(path: str | None) -> str | None:
    """What is read of a pool: of a collection folder its corpus alone, so that its runs may come and go."""
    table = find_table(Path(path).expanduser(), "corpus") if path is not None and is_collection(path) else None
    return path if table is None else str(table)


def text_paths(path: str | Path) -> list[str]:
    """The files of a collection's texts that are read, as far as they are there: its corpus and its queries."""
    tables = [find_table(Path(path).expanduser(), stem) for stem in ("corpus", "queries")]
    return [str(table) for table in tables if table is not None]


def collection_paths(path: str | Path, *, split: str | None = None) -> list[str]:
    """The files that `read_collection` reads, so that all others in the folder may come and go."""
    return [*text_paths(path), str(judgements_path(path, split=split))]


def _qrels_files(folder: Path) -> dict[str, Path]:
    """Judgement files by split; a lone `qrels.tsv` belongs to no split."""
    files = {
        Path(path.name.removesuffix(".gz")).stem: path
        for path in sorted((folder / "qrels").glob("*"))
        if path.is_file() and _QRELS_NAME.fullmatch(path.name)
    }
    lone = [path for path in sorted(folder.glob("qrels.*")) if path.is_file() and _QRELS_NAME.fullmatch(path.name)]
    return files or dict(zip([""], lone, strict=False))


def read_collection(path: str | Path, *, split: str | None = None) -> Collection:
    """Read a collection folder.

    Args:
        split: whose judgements; default "test", or the only one there is.

    Raises:
        UserError: an unknown split, an id twice, a query or passage without id, a judged query without text.
    """
    folder = Path(path).expanduser()
    queries, qrels, name = read_judged(folder, split=split)
    passages = {passage.passage_id or "": passage.text for passage in iter_corpus(folder)}
    return Collection(passages, queries, qrels, name)


def read_judged(path: str | Path, *, split: str | None = None) -> tuple[dict[str, str], Qrels, str]:
    """A collection without its corpus: queries by id, judgements, name of the split.

    Raises:
        UserError: an unknown split, an id twice, a query without id, a judged query without text.
    """
    folder = Path(path).expanduser()
    qrels_path, name = _qrels_of(folder, split)
    qrels, queries = read_qrels(qrels_path), read_queries(folder)
    missing = [query_id for query_id in qrels if query_id not in queries]
    if missing:
        raise UserError(
            f"{qrels_path}: {len(missing)} judged queries have no text in {folder}, first: {missing[0]}",
            fix="add them to queries.jsonl, or remove their judgements",
        )
    return queries, qrels, name


def judgements_path(path: str | Path, *, split: str | None = None) -> Path:
    """The file of judgements that `read_collection` reads."""
    return _qrels_of(Path(path).expanduser(), split)[0]


def _qrels_of(folder: Path, split: str | None) -> tuple[Path, str]:
    files = _qrels_files(folder)
    if not files:
        raise UserError(f"{folder} holds no judgements", fix="add qrels/test.tsv")
    if split is None:
        split = "test" if "test" in files else next(iter(files)) if len(files) == 1 else None
    if split is None or split not in files:
        wanted = "which of its splits?" if split is None else f"no split {split!r}"
        named = ", ".join(files) or f"none, {files[''].name} belongs to no split: leave the split out"
        raise UserError(f"{folder}: {wanted}", fix=f"use one of: {named}")
    return files[split], split or "all"


def iter_corpus(path: str | Path, *, refuse_twins: bool = True) -> Iterator[Passage]:
    """The passages of a collection, each with its id; texts are title and text joined by a space.

    A passage without any text stays, as its judgements do: it can be ranked, if badly.

    Args:
        refuse_twins: hold all ids in memory to see one that stands twice; else that is the caller's to do.

    Raises:
        UserError: a passage without id or without a text field, an id twice, no passage at all.
    """
    table = find_table(Path(path).expanduser(), "corpus")
    if table is None:
        raise UserError(f"{path} holds no corpus", fix="add corpus.jsonl with _id, title and text")
    seen: set[str] = set()
    num_read = num_empty = 0
    for record in iter_records(Source(str(table)), bad_rows=BadRows(skip_hint=None)):
        found, text = passage_id(record.fields), passage_text(record.fields)
        if found is None or text is None:
            missing = "_id" if found is None else "text"
            problem = "no '_id'" if found is None else why_no_text(record.fields)
            raise UserError(f"{record.place}: {problem}", fix=f"give every passage its {missing!r}")
        if found in seen:
            raise UserError(f"{record.place}: id {found} a second time", fix="keep one of them")
        if refuse_twins:
            seen.add(found)
        num_read += 1
        num_empty += not text
        yield Passage(text, found, record.place)
    if num_empty:
        say(f"note: {table}: {num_empty:,} of {num_read:,} passages are empty")


def read_queries(path: str | Path) -> dict[str, str]:
    """The queries of a collection by id.

    Raises:
        UserError: a query without id or text, an id twice, no queries at all.
    """
    table = find_table(Path(path).expanduser(), "queries")
    if table is None:
        raise UserError(f"{path} holds no queries", fix="add queries.jsonl with _id and text")
    queries: dict[str, str] = {}
    for record in iter_records(Source(str(table)), bad_rows=BadRows(skip_hint=None)):
        query_id = passage_id(record.fields)
        text = record.fields.get("text", record.fields.get("query"))
        if query_id is None or not isinstance(text, str) or not text.strip():
            missing = "_id" if query_id is None else "text"
            raise UserError(f"{record.place}: a query without {missing!r}", fix=f"give every query its {missing!r}")
        if query_id in queries:
            raise UserError(f"{record.place}: id {query_id} a second time", fix="keep one of them")
        queries[query_id] = text
    return queries
