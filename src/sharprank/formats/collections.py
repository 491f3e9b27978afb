"""Test collections as folders: `corpus.jsonl`, `queries.jsonl` and judgements in `qrels/SPLIT.tsv` or `qrels.tsv`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sharprank.errors import UserError
from sharprank.formats.pool import passage_id, read_passages
from sharprank.formats.readers import READERS
from sharprank.formats.sources import Source, iter_records
from sharprank.formats.trec import read_qrels
from sharprank.records import Collection, Passage


def is_collection(path: str | Path) -> bool:
    """Whether a folder holds a corpus, queries and judgements."""
    folder = Path(path)
    if not folder.is_dir():
        return False
    return _table(folder, "corpus") is not None and _table(folder, "queries") is not None and bool(_qrels_files(folder))


def _table(folder: Path, stem: str) -> Path | None:
    names = [f"{stem}{suffix}{packed}" for suffix in READERS for packed in ("", ".gz")]
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _qrels_files(folder: Path) -> dict[str, Path]:
    """Judgement files by split; a lone `qrels.tsv` belongs to no split."""
    files = {
        path.name.split(".", 1)[0] if path.suffix in (".gz",) else path.stem: path
        for path in sorted((folder / "qrels").glob("*"))
        if path.is_file() and path.name.removesuffix(".gz").endswith((".tsv", ".txt", ".qrels", ".trec"))
    }
    lone = next((folder / name for name in ("qrels.tsv", "qrels.txt") if (folder / name).is_file()), None)
    return files or ({"": lone} if lone else {})


def read_collection(path: str | Path, *, split: str | None = None) -> Collection:
    """Read a collection folder.

    Args:
        split: whose judgements; default "test", or the only one there is.

    Raises:
        UserError: an unknown split, an id twice, a query or passage without id, a judged query without text.
    """
    folder = Path(path)
    qrels_path, name = _qrels_of(folder, split)
    qrels = read_qrels(qrels_path)
    passages = {passage.passage_id or "": passage.text for passage in iter_corpus(folder)}
    queries = _queries(folder)
    missing = [query_id for query_id in qrels if query_id not in queries]
    if missing:
        raise UserError(
            f"{qrels_path}: {len(missing)} judged queries have no text in {folder}, first: {missing[0]}",
            fix="add them to queries.jsonl, or remove their judgements",
        )
    return Collection(passages, queries, qrels, name)


def _qrels_of(folder: Path, split: str | None) -> tuple[Path, str]:
    files = _qrels_files(folder)
    if not files:
        raise UserError(f"{folder} holds no judgements", fix="add qrels/test.tsv")
    if split is None:
        split = "test" if "test" in files else next(iter(files)) if len(files) == 1 else None
    if split is None or split not in files:
        wanted = "no split was named" if split is None else f"no split {split!r}"
        raise UserError(f"{folder}: {wanted}", fix=f"use one of: {', '.join(files)}")
    return files[split], split or "all"


def iter_corpus(path: str | Path) -> Iterator[Passage]:
    """The passages of a collection, each with its id; texts are title and text joined by a space.

    Raises:
        UserError: a passage without id, or an id twice.
    """
    table = _table(Path(path), "corpus")
    if table is None:
        raise UserError(f"{path} holds no corpus", fix="add corpus.jsonl with _id, title and text")
    seen: set[str] = set()
    for passage in read_passages(Source(str(table))):
        if passage.passage_id is None:
            raise UserError(f"{passage.place}: no id", fix="give every passage an '_id'")
        if passage.passage_id in seen:
            raise UserError(f"{passage.place}: id {passage.passage_id} a second time", fix="keep one of them")
        seen.add(passage.passage_id)
        yield passage


def _queries(folder: Path) -> dict[str, str]:
    table = _table(folder, "queries")
    if table is None:
        raise UserError(f"{folder} holds no queries", fix="add queries.jsonl with _id and text")
    queries: dict[str, str] = {}
    for record in iter_records(Source(str(table))):
        query_id = passage_id(record.fields)
        text = record.fields.get("text", record.fields.get("query"))
        if query_id is None or not isinstance(text, str) or not text.strip():
            raise UserError(f"{record.place}: a query without id or text", fix="give it '_id' and 'text'")
        if query_id in queries:
            raise UserError(f"{record.place}: id {query_id} a second time", fix="keep one of them")
        queries[query_id] = text
    return queries
