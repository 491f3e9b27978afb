"""A test collection as a ranking task: the judged queries, the first stage's passages, the best of them re-ranked.

The first stage is a TREC run, BM25 or a bi-encoder. Passages beyond `depth` keep their place behind the re-ranked
ones, so re-ranking changes no recall at or beyond the depth. Queries without judgements are left out; judged queries
without candidates stay and count 0. What is within the depth is decided by score, then by id: never by relevance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from sharprank.errors import UserError
from sharprank.evaluation.config import EvaluationConfig
from sharprank.evaluation.task import RankingTask
from sharprank.formats.collections import collection_paths, is_collection, read_collection
from sharprank.formats.trec import read_run
from sharprank.metrics.orders import best_first
from sharprank.records import Collection, Run
from sharprank.retrieval.bm25 import BM25

FIRST_STAGE_DEPTH = 1000
"""Passages BM25 or a bi-encoder retrieves, so that its own figures do not depend on --depth."""


def collection_folder(config: EvaluationConfig) -> str | None:
    """The collection folder that `-d` (and `-sd`, a sub-folder) name, or None if they name rows."""
    if config.sub_data_name and is_collection(str(Path(config.data) / config.sub_data_name)):
        return str(Path(config.data) / config.sub_data_name)
    if not is_collection(config.data):
        return None
    if config.sub_data_name:
        raise UserError(
            f"collection {config.data} has no subset {config.sub_data_name!r}",
            fix="choose its judgements with --split, or name the collection's own folder with -d",
        )
    return config.data


def read_collection_task(config: EvaluationConfig, folder: str) -> RankingTask:
    """Read the collection and its first stage.

    Raises:
        UserError: a judged query without text, a run that does not belong to the collection.
    """
    collection = read_collection(folder, split=config.split)
    if config.run is None and config.first_stage == "bm25":
        first_stage, name = _bm25(collection, max(config.depth, FIRST_STAGE_DEPTH)), "BM25"
    elif config.run is None:
        first_stage, name = _dense(collection, config), Path(config.first_stage).name
    else:
        first_stage, name = read_run(config.run), Path(config.run).name
        _check_run(collection, first_stage, config.run)
    task = collection_task(collection, first_stage, depth=config.depth, first_stage_name=name)
    title = f"{folder}, split {collection.split}: {task.title}"
    files = collection_paths(folder, split=config.split)
    return replace(task, title=title, input_paths=[*files, config.run] if config.run else files)


def collection_task(collection: Collection, first_stage: Run, *, depth: int, first_stage_name: str) -> RankingTask:
    """Cut each judged query's list at `depth`: the head is re-ranked, the tail keeps its order."""
    judged = {query_id: first_stage[query_id] for query_id in collection.qrels if first_stage.get(query_id)}
    lists = {query_id: best_first(scores) for query_id, scores in judged.items()}
    counts = _counts(collection, first_stage, judged)
    return RankingTask(
        title=f"{len(collection.qrels):,} judged queries, {len(collection.passages):,} passages, "
        f"first stage {first_stage_name}, re-ranked to depth {depth}",
        queries=collection.queries,
        passages=collection.passages,
        candidates={query_id: ids[:depth] for query_id, ids in lists.items()},
        qrels=collection.qrels,
        first_stage=judged,
        first_stage_name=first_stage_name,
        tails={query_id: ids[depth:] for query_id, ids in lists.items()},
        counts=counts,
        notes=_notes(counts),
    )


def _bm25(collection: Collection, depth: int) -> Run:
    queries = {query_id: collection.queries[query_id] for query_id in collection.qrels}
    return BM25(collection.passages).search(queries, depth)


def _dense(collection: Collection, config: EvaluationConfig) -> Run:
    from sharprank.models.bi_encoder import BiEncoder
    from sharprank.retrieval.dense import dense_run, passage_store

    encoder = BiEncoder.load(
        config.first_stage, device=config.device, dtype=config.dtype, trust_remote_code=config.trust_remote_code
    )
    queries = {query_id: collection.queries[query_id] for query_id in collection.qrels}
    store = passage_store(encoder, config.embedding_cache)
    return dense_run(encoder, collection.passages, queries, max(config.depth, FIRST_STAGE_DEPTH), store=store)


def _check_run(collection: Collection, run: Run, path: str) -> None:
    if not any(run.get(query_id) for query_id in collection.qrels):
        first = next(iter(run), None)
        raise UserError(
            f"--run {path} holds none of the {len(collection.qrels)} judged queries of split {collection.split} "
            f"(its first query is {first!r})",
            fix="name the run of this collection and split",
        )
    for query_id in collection.qrels:
        for passage_id in run.get(query_id, {}):
            if passage_id not in collection.passages:
                raise UserError(
                    f"--run {path}: query {query_id!r} lists passage {passage_id!r}, which corpus.jsonl does not have",
                    fix="name a run made on this collection",
                )


def _counts(collection: Collection, first_stage: Run, judged: Run) -> dict[str, int]:
    named = {passage_id for relevances in collection.qrels.values() for passage_id in relevances}
    return {
        "judged queries": len(collection.qrels),
        "queries without judgements": len({*collection.queries, *first_stage} - set(collection.qrels)),
        "judged queries without candidates": len(collection.qrels) - len(judged),
        "judged queries without a relevant passage": sum(
            max(relevances.values(), default=0) < 1 for relevances in collection.qrels.values()
        ),
        "judged passages without text": sum(passage_id not in collection.passages for passage_id in named),
    }


def _notes(counts: Mapping[str, int]) -> list[str]:
    sentences = {
        "queries without judgements": "{} queries have no judgements in this split and are left out",
        "judged queries without candidates": "{} judged queries have no candidates from the first stage: each counts 0",
        "judged queries without a relevant passage": "{} judged queries have no relevant passage: each counts 0",
        "judged passages without text": "{} judged passages are not in corpus.jsonl: they count as never found",
    }
    return [text.format(f"{counts[name]:,}") for name, text in sentences.items() if counts[name]]
