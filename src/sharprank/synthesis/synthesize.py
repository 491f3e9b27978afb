"""The stage: documents in, rows {query, pos, neg} out, one by one, until there are enough.

Attempts are written down in their order however many run at a time, so the same seed and replies give the same bytes;
the same command again continues after any stop, and does nothing when all is done.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

from sharprank.errors import UserError
from sharprank.formats.encoding import open_bytes, readable
from sharprank.formats.writers import check_apart, check_writable, json_line, write_json, write_jsonl
from sharprank.progress import progress_bar
from sharprank.provenance import describe_inputs, manifest
from sharprank.retrieval.diverse import Retriever
from sharprank.retrieval.tfidf import TfIdf
from sharprank.synthesis.chat import Chat
from sharprank.synthesis.config import SynthesizeConfig
from sharprank.synthesis.corpus import Document, corpus_place, eligible, read_corpus, read_doc_ids, turns
from sharprank.synthesis.endpoint import EndpointConfig
from sharprank.synthesis.extractive import ExtractiveGenerator
from sharprank.synthesis.journal import Journal
from sharprank.synthesis.llm import LlmGenerator
from sharprank.synthesis.outcome import Generator, Outcome, Stop
from sharprank.synthesis.queries import body_of
from sharprank.synthesis.space import open_space


@dataclass(frozen=True)
class SynthesisResult:
    """What was made.

    Attributes:
        report: the contents of the summary file.
    """

    output_path: Path
    summary_path: Path
    report: dict[str, Any]


def synthesize(config: SynthesizeConfig, endpoint: EndpointConfig) -> SynthesisResult:
    """Make rows until there are enough of them, or the attempts are used up.

    Raises:
        UserError: anything the user can fix, before money is spent; `Stop` when the endpoint gives out, what was made
            is then kept and summed up.
    """
    config.check()
    by_model = config.generator == "llm"
    if by_model:
        endpoint.check()
    _check_files(config, cache_path=endpoint.cache_path(config.output_file) if by_model else None)
    output = Path(config.output_file)
    corpus = read_corpus(config.corpus_path)
    listed, drawn = read_doc_ids(config.doc_ids_file, corpus), eligible(corpus, config.min_length)
    inputs = describe_inputs(path for path in (corpus_place(config.corpus_path), config.doc_ids_file) if path)
    settings = {**config.settings(), **(endpoint.settings() if by_model else {}), "inputs": list(inputs.values())}
    pool = config.output_pool
    if pool and not config.overwrite and _is_written(pool, _passages(corpus)):
        pool = None
    chat = endpoint.open(config.output_file) if by_model else None
    journal = Journal(output, settings, overwrite=config.overwrite)
    if pool:
        write_jsonl(pool, _passages(corpus))
    work = _Work(config, endpoint, corpus, journal, chat=chat)
    started = time.monotonic()
    try:
        stopped = work.run(turns(listed, drawn, seed=config.seed), one_pass=len({*listed, *drawn}))
    except (Stop, KeyboardInterrupt) as error:
        why = error.problem if isinstance(error, Stop) else "stopped by the keyboard"
        work.write_summary(inputs, settings, why, seconds=time.monotonic() - started, complete=False)
        if isinstance(error, Stop):
            kept = f"{error.problem}; {journal.num_rows} rows are kept in {output}"
            raise Stop(kept, fix=error.fix) from error
        raise
    seconds = time.monotonic() - started
    return SynthesisResult(
        output, work.summary_path, work.write_summary(inputs, settings, stopped, seconds=seconds, complete=True)
    )


def _check_files(config: SynthesizeConfig, *, cache_path: Path | None) -> None:
    """Refuse outputs that cannot be written, or are an input or each other.

    Raises:
        UserError: naming the flags.
    """
    outputs = {"output_file": config.output_file, "output_pool": config.output_pool}
    outputs |= {"summary_file": config.summary_path, "cache_file": cache_path}
    check_apart(outputs, [("--corpus_path", corpus_place(config.corpus_path)), ("--doc_ids_file", config.doc_ids_file)])
    for flag, path in outputs.items():
        if path is not None:
            check_writable(path, flag=f"--{flag}")


def _passages(corpus: Mapping[str, Document]) -> Iterator[dict[str, str]]:
    return ({"_id": doc_id, "text": body_of(document)} for doc_id, document in corpus.items())


def _is_written(pool: str, passages: Iterator[dict[str, str]]) -> bool:
    """Whether the pool is there, with these passages.

    Raises:
        UserError: a file of this name holds something else.
    """
    path = Path(pool)
    if not path.exists():
        return False
    lines = (f"{json_line(passage)}\n".encode() for passage in passages)
    with readable(path), open_bytes(path) as file:
        if all(there == line for there, line in zip_longest(file, lines)):
            return True
    raise UserError(
        f"--output_pool {pool} exists and holds other passages, or none",
        fix="name another file, or pass --overwrite True",
    )


class _Work:
    def __init__(
        self,
        config: SynthesizeConfig,
        endpoint: EndpointConfig,
        corpus: Mapping[str, Document],
        journal: Journal,
        *,
        chat: Chat | None,
    ) -> None:
        self._config, self._endpoint, self._corpus, self._journal, self._chat = config, endpoint, corpus, journal, chat
        self.summary_path = config.summary_path

    def run(self, order: Iterator[tuple[int, str]], *, one_pass: int) -> str:
        """Try documents in this order, going on behind those tried before; returns why it ended."""
        tried = len(self._journal.attempts)
        if (ended := self._ended(one_pass)) is not None:
            return ended
        generator = self._generator()
        todo = islice(order, tried, self._config.attempts)
        with progress_bar(total=self._config.num_examples, desc="making rows", unit="row") as bar:
            bar.update(self._journal.num_rows)
            for turn, doc_id, outcome in _in_order(generator, self._corpus, todo, self._most_at_once, self._interrupt):
                self._journal.add(doc_id, turn, outcome)
                bar.update(outcome.row is not None)
                if (ended := self._ended(one_pass)) is not None:
                    return ended
        return "all attempts used"

    def _most_at_once(self) -> int:
        """Attempts in work at a time: never more than rows are missing, so that none is paid for and not used."""
        missing = self._config.num_examples - self._journal.num_rows
        return min(self._endpoint.concurrency if self._chat else 1, missing)

    def _interrupt(self) -> None:
        if self._chat is not None:
            self._chat.stop()

    def _ended(self, one_pass: int) -> str | None:
        attempts = self._journal.attempts
        if self._journal.num_rows >= self._config.num_examples:
            return "enough rows"
        if len(attempts) >= self._config.attempts:
            return "all attempts used"
        if len(attempts) % one_pass == 0 and attempts and all(a["row"] is None for a in attempts[-one_pass:]):
            return "no document gives a further row"
        return None

    def _generator(self) -> Generator:
        config = self._config
        texts = {doc_id: document.text for doc_id, document in self._corpus.items()}
        tfidf = TfIdf(texts.values())
        retriever = Retriever(
            open_space(config.retriever, texts, tfidf, device=config.device, cache=config.embedding_cache),
            weights=config.weights,
        )
        if self._chat is not None:
            return LlmGenerator(
                self._corpus,
                retriever,
                self._chat,
                models=self._endpoint.models,
                num_candidates=config.max_doc_candidates,
                max_tries=self._endpoint.max_tries,
            )
        return ExtractiveGenerator(
            self._corpus,
            retriever,
            tfidf,
            kinds=config.query_kinds,
            num_candidates=config.max_doc_candidates,
            max_source_rank=config.max_source_rank,
            seed=config.seed,
        )

    def write_summary(
        self, inputs: Mapping[str, str], settings: Mapping[str, Any], ended: str, *, seconds: float, complete: bool
    ) -> dict[str, Any]:
        """Write the summary file, and give back what it says."""
        journal = self._journal
        num_attempts, num_rows = len(journal.attempts), journal.num_rows
        report: dict[str, Any] = {
            "summary": {
                "total_attempts": num_attempts,
                "successful_examples": num_rows,
                "failed_attempts": num_attempts - num_rows,
                "success_rate": num_rows / num_attempts if num_attempts else 0.0,
                "execution_time": round(seconds, 3),
                "output_path": str(journal.output),
            },
            "complete": complete,
            "ended": ended,
            "failures": journal.reasons(),
            "verdicts": journal.verdicts(),
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            **manifest(command=["sharprank", "synthesize"], settings=settings, inputs=inputs),
        }
        if self._chat is not None:
            report["endpoint"] = self._endpoint.spent(self._chat)
        write_json(self.summary_path, report)
        return report


def _in_order(
    generator: Generator,
    corpus: Mapping[str, Document],
    todo: Iterator[tuple[int, str]],
    most_at_once: Callable[[], int],
    interrupt: Callable[[], None],
) -> Iterator[tuple[int, str, Outcome]]:
    """The outcomes in the order of `todo`, up to `most_at_once()` of them in work at a time, asked before each."""
    pool = ThreadPoolExecutor(most_at_once())
    waiting: deque[tuple[int, str, Future[Outcome]]] = deque()
    try:
        while True:
            for turn, doc_id in islice(todo, max(0, most_at_once() - len(waiting))):
                waiting.append((turn, doc_id, pool.submit(generator.attempt, corpus[doc_id], turn)))
            if not waiting:
                return
            turn, doc_id, future = waiting.popleft()
            yield turn, doc_id, future.result()
    except KeyboardInterrupt:
        interrupt()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
