"""The collections, each brought into one shape: rows to train on, a pool, and splits with a first stage to re-rank.

Everything behind this file reads the prepared folder alone: `corpus.jsonl`, `queries.jsonl`, `train.jsonl`,
`qrels/SPLIT.tsv` and `runs/SPLIT.trec` (the first stage's DEPTH best). Queries of `validation` are in no training row.
"""

from __future__ import annotations

import random
import re
import sysconfig
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from sharprank.errors import UserError
from sharprank.formats.collections import read_collection
from sharprank.formats.holdout import fold, hold_out
from sharprank.formats.python_docs import read_doc_pairs, write_python_docs
from sharprank.formats.rows import read_rows
from sharprank.formats.sources import Source, iter_records
from sharprank.formats.trec import read_run, write_run
from sharprank.formats.writers import atomic_open, write_json, write_jsonl
from sharprank.metrics.orders import best_first
from sharprank.mining.config import MineConfig
from sharprank.pipeline.config import RunConfig
from sharprank.pipeline.first_stage import rank_first_stage
from sharprank.records import Collection, Qrels, Run

DEPTH = 20
VALIDATION, TEST = "validation", "test"
VALIDATION_QUERIES = 100
"""Validation queries scored at most; they fit one number, the fusion weight."""
HELD_OUT_QUERIES = 80
"""Training queries held out from training where a collection has no validation split of its own."""
_SPLIT_SEED = 0


@dataclass(frozen=True)
class Given:
    """How a collection comes.

    Attributes:
        measured: its test splits; the first one's queries are scored, the others are subsets of it.
        run_name: file of the first stage's run of a split, in `runs`.
        validation: its validation split; None: training queries are held out.
    """

    measured: tuple[str, ...]
    run_name: str
    validation: str | None = None


GIVEN: dict[str, Given] = {
    "scifact": Given((TEST, "test_unseen"), "bm25s_top100.{}.trec"),
    "mediqa2019": Given((TEST,), "chiqa.{}.trec", validation="dev"),
}
PYTHON_DOCS = "python_docs"
PYTHON_PACKAGES = "python_packages"
"""The queries and first stages of `python_docs`, with twenty times its training rows."""
COLLECTIONS = (*GIVEN, PYTHON_DOCS)
ALL_COLLECTIONS = (*COLLECTIONS, PYTHON_PACKAGES)
CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"


@dataclass(frozen=True)
class Prepared:
    """A prepared collection."""

    name: str
    folder: Path

    @property
    def train_path(self) -> Path:
        return self.folder / "train.jsonl"

    @property
    def corpus_path(self) -> Path:
        return self.folder / "corpus.jsonl"

    @property
    def measured(self) -> tuple[str, ...]:
        """Its test splits; the queries of those after the first are among the first's."""
        return GIVEN[self.name].measured if self.name in GIVEN else (TEST,)

    def read(self, split: str) -> Collection:
        """Texts, and the judgements of a split."""
        return read_collection(self.folder, split=split)

    def first_stage(self, split: str) -> Run:
        """What is re-ranked."""
        scored = split if split == VALIDATION else TEST
        return read_run(self.folder / "runs" / f"{scored}.trec")


def prepare(name: str, data: Path | None, folder: Path) -> Prepared:
    """Write the prepared folder of a collection unless it is there.

    Args:
        data: the folder that holds the given collections, each in a folder of its name.

    Raises:
        UserError: a given collection without `data`.
    """
    prepared = Prepared(name, folder)
    about = folder / "prepared.json"
    if not about.exists():
        if name in GIVEN:
            if data is None or not (data / name).is_dir():
                raise UserError(f"collection {name} is not in {data}", fix="name the folder that holds it with --data")
            found = _given(data / name, GIVEN[name], folder)
        else:
            found = _python_packages(folder) if name == PYTHON_PACKAGES else _python_docs(folder)
        write_json(about, {"collection": name, "depth": DEPTH, **found})
    return prepared


def _given(source: Path, given: Given, folder: Path) -> dict[str, int]:
    rows = list(read_rows(Source(str(source / "train.jsonl"))))
    whole = read_collection(source, split=given.measured[0])
    splits = {split: read_collection(source, split=split).qrels for split in given.measured}
    if given.validation is None:
        rows, held_out = hold_out(rows, share=HELD_OUT_QUERIES / len({fold(r.query) for r in rows}), seed=_SPLIT_SEED)
        kept_apart = {fold(row.query) for row in held_out}
        train = read_collection(source, split="train").qrels
        splits[VALIDATION] = {q: judged for q, judged in train.items() if fold(whole.queries[q]) in kept_apart}
    else:
        splits[VALIDATION] = read_collection(source, split=given.validation).qrels
    names = {TEST: given.measured[0], VALIDATION: given.validation or "train"}
    runs = {split: read_run(source / "runs" / given.run_name.format(name)) for split, name in names.items()}
    return _write(folder, (dict(row.fields) for row in rows), whole, splits, runs)


def _python_docs(folder: Path) -> dict[str, int]:
    source = folder / "source"
    write_python_docs(source, seed=_SPLIT_SEED)
    config = RunConfig(train_data="", output_dir=str(source))
    mine = MineConfig(input_file="", output_file="", model_name_or_path="minilm", dtype="auto")
    mine.embedding_cache = str(source / "embeddings")
    for split in (VALIDATION, TEST):
        rank_first_stage(config, mine, str(source), split, path=source / f"{split}.trec")
    whole = read_collection(source, split=TEST)
    splits = {split: read_collection(source, split=split).qrels for split in (VALIDATION, TEST)}
    rows = (dict(row.fields) for row in read_rows(Source(str(source / "train.jsonl"))))
    runs = {split: read_run(source / f"{split}.trec") for split in (VALIDATION, TEST)}
    return _write(folder, rows, whole, splits, runs)


def _python_packages(folder: Path) -> dict[str, int]:
    """The documentation of the packages of constraints.txt that are installed, to train on; measured as python_docs."""
    docs = prepare(PYTHON_DOCS, None, folder.parents[1] / PYTHON_DOCS / "prepared")
    whole = read_collection(docs.folder / "source", split=TEST)
    known = {fold(text) for texts in (whole.queries, whole.passages) for text in texts.values()}
    pairs = read_doc_pairs(Path(sysconfig.get_path("purelib")), modules=_pinned_modules())
    pairs = [pair for pair in pairs if not {fold(pair.query), fold(pair.passage)} & known]
    rows = [*read_lines(docs.train_path), *({"query": pair.query, "pos": [pair.passage]} for pair in pairs)]
    passages = {**whole.passages, **{pair.name: pair.passage for pair in pairs}}
    splits = {split: docs.read(split).qrels for split in (VALIDATION, TEST)}
    runs = {split: docs.first_stage(split) for split in splits}
    return _write(folder, rows, Collection(passages, whole.queries, {}, TEST), splits, runs)


def _pinned_modules() -> set[str]:
    """Top-level modules of the installed packages whose version constraints.txt names."""
    lines = CONSTRAINTS.read_text(encoding="utf-8").splitlines()
    pinned = {_normal(found[1]) for line in lines if (found := re.match(r"([\w.-]+)==", line))}
    packages = metadata.packages_distributions()
    return {module for module, names in packages.items() if pinned & {_normal(name) for name in names}}


def _normal(package: str) -> str:
    """A package's name as indexes compare it.

    >>> _normal("Ruamel.yaml_clib")
    'ruamel-yaml-clib'
    """
    return re.sub(r"[-_.]+", "-", package).lower()


def _write(
    folder: Path,
    rows: Iterable[Mapping[str, Any]],
    whole: Collection,
    splits: Mapping[str, Qrels],
    runs: Mapping[str, Run],
) -> dict[str, int]:
    splits = {**splits, VALIDATION: some_queries(splits[VALIDATION], VALIDATION_QUERIES)}
    write_jsonl(folder / "corpus.jsonl", ({"_id": p, "title": "", "text": t} for p, t in whole.passages.items()))
    judged = {query_id for qrels in splits.values() for query_id in qrels}
    write_jsonl(folder / "queries.jsonl", ({"_id": q, "text": t} for q, t in whole.queries.items() if q in judged))
    for split, qrels in splits.items():
        with atomic_open(folder / "qrels" / f"{split}.tsv") as file:
            file.write("query-id\tcorpus-id\tscore\n")
            file.writelines(f"{q}\t{p}\t{value}\n" for q, judged in qrels.items() for p, value in judged.items())
    for split, run in runs.items():
        kept = {q: {p: run[q][p] for p in best_first(run[q])[:DEPTH]} for q in splits[split] if q in run}
        write_run(folder / "runs" / f"{split}.trec", kept, tag="first_stage")
    num_rows = write_jsonl(folder / "train.jsonl", rows)
    return {"rows": num_rows, "passages": len(whole.passages), **{split: len(qrels) for split, qrels in splits.items()}}


def some_queries(qrels: Qrels, most: int) -> Qrels:
    """At most so many of the queries, the same ones each time."""
    kept = set(random.Random(_SPLIT_SEED).sample(sorted(qrels), min(most, len(qrels))))
    return {query_id: judged for query_id, judged in qrels.items() if query_id in kept}


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a .jsonl file."""
    return [dict(record.fields) for record in iter_records(Source(str(path)))]
