"""What is compared: systems with one value a query and measure, from evaluation files or from TREC runs.

Refuses files that were made from other data: their query ids may be alike and mean something else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

from sharprank.errors import UserError
from sharprank.evaluation.compare_config import CompareConfig
from sharprank.formats.collections import collection_paths, is_collection, read_collection
from sharprank.formats.trec import read_qrels, read_run
from sharprank.metrics.ranking import DEFAULT_MEASURES, PerQuery, measure_run
from sharprank.progress import say
from sharprank.records import Qrels, Run


@dataclass(frozen=True, kw_only=True)
class System:
    """One column of the comparison.

    Attributes:
        per_query: {measure: {query_id: value}}.
        run: its ranking, if it was read from a run.
        is_first_stage: it is what others re-rank, by its own file's word.
        first_stage: name of the system that this one re-ranks, by its own file's word.
    """

    name: str
    per_query: PerQuery
    run: Run | None = None
    is_first_stage: bool = False
    first_stage: str | None = None


@dataclass(frozen=True, kw_only=True)
class Contestants:
    """Everything a comparison needs to know.

    Attributes:
        queries, passages: texts by id, where they are known.
        qrels: judgements, where they are known.
    """

    systems: Sequence[System]
    qrels: Qrels = field(default_factory=dict)
    queries: Mapping[str, str] = field(default_factory=dict)
    passages: Mapping[str, str] = field(default_factory=dict)


def read_contestants(config: CompareConfig) -> Contestants:
    """Read every system that the flags name.

    Raises:
        UserError: a file of neither kind, runs without judgements, data that do not fit, fewer than two systems.
    """
    documents = {path: _evaluation(path) for path in config.systems}
    _refuse_other_data({path: document for path, document in documents.items() if document is not None})
    known = _judgements(config, [path for path, document in documents.items() if document is None])
    systems: list[System] = []
    for path, document in documents.items():
        found = [_of_run(path, known, config)] if document is None else _of_evaluation(path, document, config)
        _add(systems, found)
    if len(systems) < 2:
        raise UserError(
            f"{', '.join(config.systems)} holds one system; a comparison needs two",
            fix="name a second file: sharprank compare A B",
        )
    return replace(known, systems=systems)


def input_paths(config: CompareConfig) -> list[str]:
    """The files that `read_contestants` reads."""
    judged = [config.qrels] if config.qrels else []
    if config.data is not None and is_collection(config.data):
        judged = collection_paths(config.data, split=config.split)
    return [*config.systems, *judged]


def _evaluation(path: str) -> dict[str, Any] | None:
    """The content of an evaluation's JSON file; None for what is not JSON."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        return None
    except OSError as error:
        raise UserError(
            f"{path} cannot be read: {error.strerror}", fix="name an evaluation's JSON, or a run"
        ) from error
    if not text.lstrip().startswith("{"):
        return None
    try:
        document = json.loads(text)
        complete = all(isinstance(model["per_query"], dict) for model in document["models"])
    except (ValueError, KeyError, TypeError):
        complete = False
    if not complete:
        raise UserError(
            f"{path} is no evaluation with per-query values",
            fix="write it with: sharprank evaluate ... --output_file FILE",
        )
    return document


def _refuse_other_data(documents: Mapping[str, dict[str, Any]]) -> None:
    first = next(iter(documents), "")
    for path, document in documents.items():
        if not _is_of_one_data(documents[first], document):
            raise UserError(
                f"{path} was made from other data than {first}", fix="compare evaluations of the same queries"
            )


def _is_of_one_data(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two evaluations judged the same queries alike; a file without a hash is told by its inputs."""
    hashes = [(document.get("data") or {}).get("hash") for document in (one, other)]
    if all(hashes):
        return hashes[0] == hashes[1]
    mine, others = _inputs(one), _inputs(other)
    names = ("sub_data_name", "split") if mine and others else ("data", "sub_data_name", "split")
    if any(_setting(one, name) != _setting(other, name) for name in names):
        return False
    if shared := mine.keys() & others.keys():
        return all(mine[name] == others[name] for name in shared)
    return mine == others or bool(set().union(*mine.values()) & set().union(*others.values()))


def _setting(document: Mapping[str, Any], name: str) -> Any:
    return (document.get("settings") or {}).get(name)


def _inputs(document: Mapping[str, Any]) -> dict[str, set[str]]:
    """Hashes of the data files by their names; the first stage's run may be another."""
    found: dict[str, set[str]] = {}
    for path, value in (document.get("inputs") or {}).items():
        if path != _setting(document, "run"):
            found.setdefault(Path(path).name, set()).add(value)
    return found


def _judgements(config: CompareConfig, runs: Sequence[str]) -> Contestants:
    if not runs:
        return Contestants(systems=())
    if config.qrels is not None:
        return Contestants(systems=(), qrels=read_qrels(config.qrels))
    if config.data is None:
        raise UserError(f"run {runs[0]} needs judgements", fix="add --data COLLECTION_FOLDER, or --qrels FILE")
    if not is_collection(config.data):
        raise UserError(f"--data {config.data} is no collection folder", fix="name one, or use --qrels FILE")
    collection = read_collection(config.data, split=config.split)
    return Contestants(systems=(), qrels=collection.qrels, queries=collection.queries, passages=collection.passages)


def _of_run(path: str, known: Contestants, config: CompareConfig) -> System:
    run = read_run(path)
    _check_run(path, run, known)
    measures = tuple(dict.fromkeys(config.measures or DEFAULT_MEASURES))
    return System(name=Path(path).stem, per_query=measure_run(known.qrels, run, measures), run=run)


def _check_run(path: str, run: Run, known: Contestants) -> None:
    judged = [query_id for query_id in known.qrels if query_id in run]
    if not judged:
        raise UserError(f"run {path} holds none of the judged queries", fix="name the run of this collection and split")
    if known.passages:
        for query_id in judged:
            unknown = next((name for name in run[query_id] if name not in known.passages), None)
            if unknown is not None:
                problem = (
                    f"run {path}: query {query_id!r} lists passage {unknown!r}, which the collection does not have"
                )
                raise UserError(problem, fix="name a run made on this collection")
    num_absent = len(known.qrels) - len(judged)
    if num_absent:
        say(f"note: {path} lacks {num_absent:,} of {len(known.qrels):,} judged queries: each counts 0")
    constant = sum(len(run[query_id]) > 1 and len(set(run[query_id].values())) == 1 for query_id in judged)
    if constant:
        say(
            f"note: {path} scores all passages alike for {constant:,} of {len(judged):,} queries: ties count against it"
        )


def _of_evaluation(path: str, document: dict[str, Any], config: CompareConfig) -> list[System]:
    systems = []
    first = document.get("first_stage")
    if first and first.get("per_query"):
        systems.append(System(name=first["name"], per_query=first["per_query"], is_first_stage=True))
    systems += [System(name=model["name"], per_query=model["per_query"]) for model in document["models"]]
    return [replace(system, per_query=_chosen(system.per_query, config.measures, path)) for system in systems]


def _chosen(per_query: Mapping[str, Any], measures: Sequence[str] | None, path: str) -> PerQuery:
    missing = [name for name in measures or () if name not in per_query]
    if missing:
        raise UserError(
            f"{path} has no measure {missing[0]} (it has {', '.join(per_query)})", fix="evaluate again with --measures"
        )
    names = list(dict.fromkeys(measures or per_query))
    return {name: {q: value for q, value in per_query[name].items() if value is not None} for name in names}


def _add(systems: list[System], found: Sequence[System]) -> None:
    """Add the systems of one file, each under a name of its own; a first stage that is there already stays one."""
    first_stage: str | None = None
    for system in found:
        twins = [s for s in systems if s.is_first_stage and s.per_query == system.per_query and system.is_first_stage]
        if not twins:
            systems.append(replace(system, name=_distinct(system.name, systems), first_stage=first_stage))
        if system.is_first_stage:
            first_stage = (twins or systems)[-1].name


def _distinct(name: str, systems: Sequence[System]) -> str:
    taken = {system.name for system in systems}
    names = (name if again == 1 else f"{name} ({again})" for again in count(1))
    return next(one for one in names if one not in taken)
