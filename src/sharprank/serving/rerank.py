"""The rerank stage: requests in, answers out, a batch of queries at a time, so that input of any size fits in memory.

Knows models only by `score_lists` and `probabilities`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TextIO

from sharprank.errors import UserError
from sharprank.formats.bad_rows import BadRows
from sharprank.formats.collections import text_paths
from sharprank.formats.fusion import weight_beside
from sharprank.formats.journal import Journal
from sharprank.formats.writers import check_writable, is_made
from sharprank.metrics.fusion import fuse_scores
from sharprank.models.windows import WindowRule
from sharprank.progress import progress_bar, say
from sharprank.provenance import describe_inputs, manifest
from sharprank.serving.answers import answer
from sharprank.serving.config import STDIN, RerankConfig
from sharprank.serving.requests import Request, read_requests

PAIRS_AT_ONCE = 4096
"""Pairs of a batch: enough to fill the device, few enough to lose little when the job is killed."""


class ListScorer(Protocol):
    """What scores lists of passages; `Reranker` does."""

    def score_lists(self, queries: Any, passages: Any, *, windows: WindowRule | None) -> Any: ...

    def probabilities(self, scores: Any) -> Any: ...


Load = Callable[[RerankConfig], ListScorer]


def load_reranker(config: RerankConfig) -> ListScorer:
    """The model that the flags name.

    Raises:
        UserError: what is wrong with it.
    """
    from sharprank.serving.reranker import Reranker

    return Reranker.from_pretrained(
        config.model_name_or_path,
        max_length=config.max_length,
        dtype=config.dtype,
        device=_device(config.device),
        calibration=config.calibration,
        trust_remote_code=config.trust_remote_code,
    )


def _device(device: str | None) -> str | None:
    """The device asked for; `cuda` on a machine without falls back to the CPU, aloud."""
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        say("note: no CUDA device here; using the CPU")
        return "cpu"
    return device


def rerank(
    config: RerankConfig, *, load: Load = load_reranker, stdin: BinaryIO | None = None, stdout: TextIO | None = None
) -> int:
    """Answer every request, to the output file or to stdout; returns the number of queries answered.

    Raises:
        UserError: anything the user can fix.
    """
    config.check()
    bad_rows = BadRows(config.on_bad_row)
    if config.output_file:
        done = _to_file(config, bad_rows, load)
    else:
        out = stdout or sys.stdout
        done = 0
        for texts in _answers(config, _requests(config, bad_rows, stdin), load):
            out.write("".join(texts))
            out.flush()
            done += len(texts)
    for reason, count in bad_rows.counts.items():
        say(f"note: {count:,} objects skipped: {reason}")
    return done


def _to_file(config: RerankConfig, bad_rows: BadRows, load: Load) -> int:
    output = Path(config.output_file or "")
    check_writable(output)
    texts = [config.data] if config.run is None else text_paths(config.data)
    files = [*texts, config.run, config.calibration, config.model_name_or_path]
    inputs = describe_inputs([path for path in files if path])
    settings = {**config.settings(), "inputs": inputs}
    if is_made(output, settings, overwrite=config.overwrite):
        return 0
    journal = Journal(output, settings)
    done = journal.resume()
    requests = islice(_requests(config, bad_rows, None), done, None)
    for texts in _answers(config, requests, load):
        journal.append(texts)
        done += len(texts)
    about = manifest(command=["sharprank", "rerank"], settings=settings, inputs=inputs)
    journal.finish({**about, "queries": done, "skipped": dict(bad_rows.counts)})
    return done


def _requests(config: RerankConfig, bad_rows: BadRows, stdin: BinaryIO | None) -> Iterator[Request]:
    """The requests; where queries are told apart by their id, an id twice is refused."""
    seen: set[str] = set()
    for request in read_requests(config, bad_rows, stdin=stdin):
        if config.format == "trec":
            if request.query_id in seen:
                raise UserError(
                    f"{config.data}: query id {request.query_id!r} a second time, which a TREC run cannot hold",
                    fix="give every query its own id",
                )
            seen.add(request.query_id)
        yield request


def _answers(config: RerankConfig, requests: Iterable[Request], load: Load) -> Iterator[list[str]]:
    """The texts of one batch after the other; the model is loaded when the first request has been read."""
    scorer: ListScorer | None = None
    windows = WindowRule(config.overlap, config.max_windows) if config.long_passages == "split" else None
    weight = _first_stage_weight(config)
    tag = Path(config.model_name_or_path).name or "sharprank"
    with progress_bar(total=None, desc="re-ranking", unit="query") as bar:
        for batch in _batches(requests, 1 if config.data == STDIN else PAIRS_AT_ONCE):
            scorer = scorer or load(config)
            lists = scorer.score_lists(
                [request.query for request in batch],
                [request.passages for request in batch],
                windows=windows,
            )
            bar.update(len(batch))
            fused = [_fused(request, scores, weight) for request, scores in zip(batch, lists, strict=True)]
            shown = [
                scorer.probabilities(scores).tolist() if config.gives_probabilities else scores for scores in fused
            ]
            yield [
                answer(*one, output_format=config.format, top_k=config.top_k, tag=tag)
                for one in zip(batch, fused, shown, strict=True)
            ]


def _first_stage_weight(config: RerankConfig) -> float | None:
    """What the run's scores count, if they do."""
    if config.first_stage_weight is None:
        return None
    from sharprank.models.minilm import weights_folder

    model = config.model_name_or_path
    return weight_beside(model, weights_folder(model), asked=config.first_stage_weight)


def _fused(request: Request, scores: Sequence[float], weight: float | None) -> Sequence[float]:
    if weight is None:
        return scores
    return fuse_scores([request.first_scores[one] for one in request.passage_ids], scores, weight)


def _batches(requests: Iterable[Request], num_pairs: int) -> Iterator[list[Request]]:
    """Consecutive requests until they hold so many pairs; at least one."""
    batch: list[Request] = []
    held = 0
    for request in requests:
        batch.append(request)
        held += max(1, len(request.passages))
        if held >= num_pairs:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch
