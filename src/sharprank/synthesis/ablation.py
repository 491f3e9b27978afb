"""The stage: which way of retrieving finds what is looked for, and how early. Same attempts, same verdicts for all."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sharprank.errors import UserError
from sharprank.formats.collections import is_collection, read_collection
from sharprank.formats.writers import atomic_open, check_apart, check_writable, is_made, write_json
from sharprank.progress import progress_bar, say
from sharprank.provenance import describe_inputs, manifest
from sharprank.retrieval.diverse import Retriever
from sharprank.retrieval.tfidf import TfIdf
from sharprank.synthesis.ablation_config import TYPES, AblateConfig
from sharprank.synthesis.ablation_report import Measured, numbers_of, paired_tests, picture
from sharprank.synthesis.attempts import Attempt, Judge, LlmJudge, QrelsJudge
from sharprank.synthesis.chat import Chat
from sharprank.synthesis.corpus import corpus_place, eligible, read_corpus, read_doc_ids, turns
from sharprank.synthesis.endpoint import EndpointConfig
from sharprank.synthesis.llm import LlmGenerator
from sharprank.synthesis.space import open_space

Each = Callable[[Callable[[Any], Any], Sequence[Any], str], list[Any]]
"""(work, items, words for the progress bar) -> the result of each item, in order."""

Score = Callable[[str, Sequence[tuple[str, str]]], Sequence[float]]
"""(model, pairs) -> one score a pair."""


@dataclass(frozen=True)
class _Setting:
    texts: Mapping[str, str]
    retriever: Retriever
    judge: Judge
    attempts: list[Attempt]


def ablate(config: AblateConfig, endpoint: EndpointConfig, *, score: Score | None = None) -> dict[str, Any]:
    """Measure every type whose models are named; returns what the output file holds.

    Args:
        score: for tests: scores pairs in the place of loading the model.

    Raises:
        UserError: anything the user can fix, before money is spent; `Stop` when the endpoint gives out.
    """
    config.check()
    by_model = config.judge == "llm"
    if by_model:
        endpoint.check()
    outputs = {"output_file": config.output_file}
    outputs |= {"cache_file": endpoint.cache_path(config.output_file)} if by_model else {}
    check_apart(outputs, [("--corpus_path", corpus_place(config.corpus_path)), ("--doc_ids", config.doc_ids)])
    check_writable(config.output_file)
    inputs = describe_inputs(path for path in (corpus_place(config.corpus_path), config.doc_ids) if path)
    settings = {**config.settings(), **(endpoint.settings() if by_model else {}), "inputs": list(inputs.values())}
    output = Path(config.output_file)
    if is_made(output, settings, manifest_path=output, overwrite=config.overwrite):
        return json.loads(output.read_text(encoding="utf-8"))
    _check_models(config)
    chat = endpoint.open(config.output_file) if by_model else None
    each = _threads(endpoint.concurrency if by_model else 1, chat)
    setting = _by_qrels(config) if chat is None else _by_model(config, endpoint, chat, each)
    results = {
        name: _measured(name, model, config, setting, each=each, score=score) for name, model in config.models.items()
    }
    report = _report(config, setting, results)
    if chat is not None:
        report["endpoint"] = endpoint.spent(chat)
    report |= manifest(command=["sharprank", "ablate"], settings=settings, inputs=inputs)
    with atomic_open(output.with_suffix(".svg")) as file:
        file.write(picture(report["results"]))
    write_json(output, report)
    return report


def _check_models(config: AblateConfig) -> None:
    """Models that are not there are found out before a question is asked."""
    from sharprank.models.minilm import resolve_model

    for model in dict.fromkeys(filter(None, config.models.values())):
        resolve_model(model)
    left_out = [name for name in TYPES if name not in config.models]
    if left_out and config.single is None:
        say(f"note: left out for want of --zero_shot_model or --fine_tuned_model: {', '.join(left_out)}")


def _by_qrels(config: AblateConfig) -> _Setting:
    if not is_collection(config.corpus_path):
        raise UserError(
            f"{config.corpus_path} is no collection, and --judge qrels needs judgements",
            fix="name a folder with corpus.jsonl, queries.jsonl and qrels/, or use --judge llm",
        )
    collection = read_collection(config.corpus_path, split=config.split)
    judge = QrelsJudge(collection)
    texts = {name: text for name, text in collection.passages.items() if text.strip()}
    return _Setting(texts, _retriever(config, texts), judge, judge.attempts(config.num, seed=config.seed))


def _by_model(config: AblateConfig, endpoint: EndpointConfig, chat: Chat, each: Each) -> _Setting:
    corpus = read_corpus(config.corpus_path)
    listed, drawn = read_doc_ids(config.doc_ids, corpus), eligible(corpus, config.min_length)
    texts = {doc_id: document.text for doc_id, document in corpus.items()}
    retriever = _retriever(config, texts)
    generator = LlmGenerator(
        corpus,
        retriever,
        chat,
        models=endpoint.models,
        num_candidates=config.candidates,
        max_tries=endpoint.max_tries,
    )
    judge = LlmJudge(generator, corpus)
    starts = list(judge.attempts(turns(listed, drawn, seed=config.seed), config.num))
    return _Setting(texts, retriever, judge, each(judge.begin, starts, "extracting entities"))


def _retriever(config: AblateConfig, texts: Mapping[str, str]) -> Retriever:
    space = open_space(
        config.retriever, texts, TfIdf(texts.values()), device=config.device, cache=config.embedding_cache
    )
    return Retriever(space, weights=config.weights)


def _measured(
    name: str, model: str, config: AblateConfig, setting: _Setting, *, each: Each, score: Score | None
) -> Measured:
    started = time.monotonic()
    find = setting.retriever.diverse if name.startswith("diverse") else setting.retriever.standard
    reached = [attempt for attempt in setting.attempts if attempt.query is not None]
    found = [list(find(attempt.query or "", config.candidates, source_id=attempt.source_id)) for attempt in reached]
    if model:
        found = _reranked(reached, found, setting.texts, score or _scorer(config), model)
    pairs = list(zip(reached, found, strict=True))
    judged = each(lambda pair: _first_success(pair[0], pair[1], setting.judge), pairs, name)
    places = iter(judged)
    positions = [None if attempt.query is None else next(places)[0] for attempt in setting.attempts]
    return Measured(positions, sum(undecided for _, undecided in judged), time.monotonic() - started)


def _first_success(attempt: Attempt, passage_ids: Iterable[str], judge: Judge) -> tuple[int, int]:
    """(1-based place of the first valid passage, 0 for none; undecided verdicts before it)."""
    undecided = 0
    for place, passage_id in enumerate(passage_ids, start=1):
        verdict = judge.verdict(attempt, passage_id)
        if verdict == "valid":
            return place, undecided
        undecided += verdict == "undecided"
    return 0, undecided


def _reranked(
    attempts: Sequence[Attempt], found: Sequence[list[str]], texts: Mapping[str, str], score: Score, model: str
) -> list[list[str]]:
    """The same passages, best score first; equal scores stay in their order."""
    pairs = [
        (attempt.query or "", texts[name]) for attempt, names in zip(attempts, found, strict=True) for name in names
    ]
    scores = iter(score(model, pairs))
    return [
        [name for _, name in sorted(((-next(scores), name) for name in names), key=lambda p: p[0])] for names in found
    ]


def _scorer(config: AblateConfig) -> Score:
    def score(model: str, pairs: Sequence[tuple[str, str]]) -> Sequence[float]:
        from sharprank.models.scoring import PairScorer

        scorer = PairScorer.load(model, max_length=config.max_length, device=config.device)
        return scorer.score(pairs, progress="reranking").tolist()

    return score


def _threads(num: int, chat: Chat | None) -> Each:
    """Do something with each item, `num` at a time, results in order."""

    def each(work: Callable[[Any], Any], items: Sequence[Any], words: str) -> list[Any]:
        with ThreadPoolExecutor(num) as pool, progress_bar(total=len(items), desc=words, unit="attempt") as bar:
            results = []
            try:
                for result in pool.map(work, items):
                    results.append(result)
                    bar.update(1)
            except BaseException as error:
                if chat is not None and isinstance(error, KeyboardInterrupt):
                    chat.stop()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
            return results

    return each


def _report(config: AblateConfig, setting: _Setting, results: Mapping[str, Measured]) -> dict[str, Any]:
    numbers = {name: numbers_of(name, measured) for name, measured in results.items()}
    per_attempt = [
        {"id": attempt.name, "query": attempt.query, "source_id": attempt.source_id, "lost": attempt.reason}
        | {"positions": {name: measured.positions[number] for name, measured in results.items()}}
        for number, attempt in enumerate(setting.attempts)
    ]
    return {
        "num_examples": config.num,
        "min_length": config.min_length,
        "max_doc_candidates": config.candidates,
        "doc_ids_file": config.doc_ids,
        "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "results": numbers,
        "summary_table": {
            "retrievers": [TYPES[name] for name in numbers],
            "success_rates": [found["success_rate"] for found in numbers.values()],
            "avg_attempts": [found["avg_attempts_per_success"] for found in numbers.values()],
        },
        "tests": paired_tests(results, seed=config.seed),
        "attempts": per_attempt,
    }
