"""From the user's rows and pool to what the stages read: rows to train on, and a collection to measure on.

Queries are held out whole, see `formats.holdout`. A query that is measured on is never trained on, whoever named it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path

from sharprank.errors import UserError
from sharprank.formats.collections import collection_paths, is_collection, iter_corpus, pool_path, read_judged
from sharprank.formats.holdout import fold, hold_out
from sharprank.formats.pool import read_passages
from sharprank.formats.rows import BadRows, RowKeys, read_rows
from sharprank.formats.sources import Source
from sharprank.formats.trec import check_ids
from sharprank.formats.writers import atomic_open, refuse_other_settings, write_json, write_jsonl
from sharprank.pipeline.config import RunConfig
from sharprank.progress import say
from sharprank.provenance import describe_inputs, manifest
from sharprank.records import TrainRow


@dataclass(frozen=True, slots=True)
class RunData:
    """What the stages are given.

    Attributes:
        train_data: rows to mine for and to train on; none asks what is measured.
        candidate_pool: passages to mine from; None: those of the rows.
        collection: folder to measure on; `split` of its judgements (None: its own default).
        validation: (collection, split) that the reranker is weighed on; never measured on.
    """

    train_data: str
    candidate_pool: str | None
    collection: str
    split: str | None
    validation: tuple[str, str]


def plan_data(config: RunConfig) -> RunData:
    """Where the data will be; reads nothing."""
    folder = _folder(config)
    train = str(folder / "train.jsonl")
    if _has_its_own_validation(config):
        collection, validation = str(config.eval_data), str(config.validation_split)
        return RunData(train, config.candidate_pool, collection, config.eval_split, (collection, validation))
    pool = config.candidate_pool or str(folder / "corpus.jsonl")
    measured = (config.eval_data, config.eval_split) if _measures_on_a_collection(config) else (str(folder), "test")
    return RunData(train, pool, str(measured[0]), measured[1], (str(folder), "validation"))


def _measures_on_a_collection(config: RunConfig) -> bool:
    return config.eval_data is not None and is_collection(config.eval_data)


def _has_its_own_validation(config: RunConfig) -> bool:
    if config.validation_split is None:
        return False
    if not _measures_on_a_collection(config):
        raise UserError(
            f"--validation_split {config.validation_split} names a split of a collection, and --eval_data is none",
            fix="leave it out: a share of the training queries is used (--validation_share)",
        )
    return True


def prepare_data(config: RunConfig, data: RunData) -> None:
    """Keep training apart from what is measured, hold out queries, turn evaluation rows into a collection.

    Raises:
        UserError: bad rows, too few queries to hold some out, a collection that the first stage could not rank.
    """
    folder = _folder(config)
    settings = _settings(config)
    about = folder / "data.json"
    only_trains = data.validation[0] != str(folder)
    last = folder / ("train.jsonl" if only_trains else "corpus.jsonl")
    if refuse_other_settings(last, settings, manifest_path=about, overwrite=config.overwrite) == "done":
        say(f"{folder}: done before")
        return
    if _measures_on_a_collection(config):
        check_ids(passage.passage_id or "" for passage in iter_corpus(data.collection))
    write_json(about, manifest(command=["run"], settings=settings, inputs=settings["inputs"]))
    if only_trains:
        _write_training_rows(config, data)
    else:
        _write(config, folder)


def _folder(config: RunConfig) -> Path:
    return config.folder / "data"


def _settings(config: RunConfig) -> dict:
    names = ("train_data", "sub_data_name", "candidate_pool", "eval_data", "query_key", "positive_key", "negative_key")
    paths = [path for path in (config.train_data, pool_path(config.candidate_pool), *_measured_paths(config)) if path]
    splits = ("eval_split", "validation_split") if _measures_on_a_collection(config) or config.eval_split else ()
    shares = ("validation_share", "seed", *(("held_out_share",) if config.eval_data is None else ()))
    chosen = config.settings(*names, "on_bad_row", *(shares if config.validation_split is None else ()), *splits)
    return {**chosen, "inputs": describe_inputs(paths)}


def _measured_paths(config: RunConfig) -> list[str]:
    """What is read of --eval_data."""
    if not _measures_on_a_collection(config):
        return [config.eval_data] if config.eval_data else []
    splits = [config.eval_split, *([config.validation_split] if config.validation_split else [])]
    return [path for split in splits for path in collection_paths(str(config.eval_data), split=split)]


def _write_training_rows(config: RunConfig, data: RunData) -> None:
    """Write the rows to train on, one by one, where there is a collection with all that is measured."""
    measured = {*_judged(data.collection, data.split), *_judged(*data.validation)}
    rows = _kept_apart(_rows(config, config.train_data, config.sub_data_name, split="train"), measured)
    num_rows = write_jsonl(_folder(config) / "train.jsonl", (dict(row.fields) for row in rows))
    say(f"{num_rows:,} rows to train on")


def _judged(folder: str, split: str | None) -> set[str]:
    """The queries, folded, that a collection's split judges; the first stage is going to rank for each."""
    queries, judged, _ = read_judged(folder, split=split)
    check_ids(judged)
    return {fold(queries[query_id]) for query_id in judged}


def _kept_apart(rows: Iterable[TrainRow], measured: Set[str]) -> Iterator[TrainRow]:
    """The rows whose queries are not measured on, in their order; at the end it is said what was left out.

    Args:
        measured: folded queries.

    Raises:
        UserError: at the end, when nothing was kept.
    """
    both: set[str] = set()
    num_kept = num_left_out = 0
    for row in rows:
        query = fold(row.query)
        if query in measured:
            both.add(query)
            num_left_out += 1
        else:
            num_kept += 1
            yield row
    left_out = f"{len(both):,} queries of --train_data ({num_left_out:,} rows) are measured on in --eval_data as well"
    if both and not num_kept:
        raise UserError(f"all {left_out}", fix="train on other queries, or leave --eval_data out: a share is held out")
    if both:
        say(f"note: {left_out} and are left out of training")


def _write(config: RunConfig, folder: Path) -> None:
    rows = _rows(config, config.train_data, config.sub_data_name, split="train")
    splits: dict[str, list[TrainRow]] = {}
    if config.eval_data is None:
        rows, splits["test"] = hold_out(rows, share=config.held_out_share, seed=config.seed)
    elif _measures_on_a_collection(config):
        rows = _kept_apart(rows, _judged(str(config.eval_data), config.eval_split))
    else:
        splits["test"] = list(_rows(config, config.eval_data, None, split="test", named=config.eval_split))
        rows = _kept_apart(rows, {fold(row.query) for row in splits["test"]})
    rows, splits["validation"] = hold_out(rows, share=config.validation_share, seed=config.seed)
    write_jsonl(folder / "train.jsonl", (dict(row.fields) for row in rows))
    held_out = [row for part in splits.values() for row in part]
    num_passages = _write_collection(folder, splits, _texts(config, rows, held_out))
    parts = ", ".join(f"{len({fold(row.query) for row in part}):,} {name}" for name, part in splits.items())
    say(f"{len(rows):,} rows to train on; queries kept apart: {parts}; {num_passages:,} passages")


def _rows(
    config: RunConfig, path: str, subset: str | None, *, split: str, named: str | None = None
) -> Iterator[TrainRow]:
    keys = RowKeys.of_flags(config)
    bad_rows = BadRows(config.on_bad_row)
    yield from read_rows(Source(path, subset, named), keys=keys, bad_rows=bad_rows, default_split=split)
    for reason, count in sorted(bad_rows.counts.items()):
        say(f"note: {count} rows of {path} skipped: {reason}")


def _texts(config: RunConfig, rows: list[TrainRow], measured: list[TrainRow]) -> Iterator[str]:
    """The pool, or the rows' own texts; then what has to be findable because it is judged."""
    if config.candidate_pool:
        bad_rows = BadRows(config.on_bad_row)
        yield from (passage.text for passage in read_passages(Source(config.candidate_pool), bad_rows=bad_rows))
    else:
        yield from (text for row in rows for text in (*row.positives, *row.negatives))
    yield from (text for row in measured for text in (*row.positives, *row.negatives))


def _write_collection(folder: Path, splits: Mapping[str, list[TrainRow]], texts: Iterable[str]) -> int:
    """Write qrels and queries, then the corpus, whose presence says that all is there; returns its passages."""
    ids: dict[str, str] = {}
    passages = [{"_id": ids.setdefault(text, f"p{len(ids)}"), "text": text} for text in texts if text not in ids]
    queries: dict[str, tuple[str, str]] = {}
    for rows in splits.values():
        for row in rows:
            queries.setdefault(fold(row.query), (f"q{len(queries)}", row.query))
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    for split, rows in splits.items():
        _write_qrels(folder / "qrels" / f"{split}.tsv", rows, queries, ids)
    write_jsonl(folder / "queries.jsonl", ({"_id": query_id, "text": text} for query_id, text in queries.values()))
    write_jsonl(folder / "corpus.jsonl", passages)
    return len(passages)


def _write_qrels(
    path: Path, rows: Iterable[TrainRow], queries: Mapping[str, tuple[str, str]], ids: Mapping[str, str]
) -> None:
    judged = dict.fromkeys((queries[fold(row.query)][0], ids[text]) for row in rows for text in row.positives)
    with atomic_open(path) as file:
        file.write("query-id\tcorpus-id\tscore\n")
        file.writelines(f"{query_id}\t{passage_id}\t1\n" for query_id, passage_id in judged)
