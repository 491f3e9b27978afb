"""The stage itself: rows and a pool in, the same rows with hard negatives out.

Read, check, embed, search, choose, write: everything that can be refused is refused before a model loads, and the
output appears whole or not at all, with its statistics beside it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sharprank.formats.collections import is_collection, iter_corpus
from sharprank.formats.pool import read_passages
from sharprank.formats.rows import BadRows, RowKeys, read_rows
from sharprank.formats.sources import Source
from sharprank.formats.writers import atomic_open, check_writable, refuse_other_settings
from sharprank.mining.candidates import Candidates, Encoder, find_candidates
from sharprank.mining.config import MineConfig, check_window
from sharprank.mining.negatives import RowMiner
from sharprank.mining.pool import Pool
from sharprank.mining.report import Tally
from sharprank.models.minilm import resolve_model
from sharprank.progress import say, track
from sharprank.provenance import describe_inputs, hash_file, manifest
from sharprank.records import TrainRow
from sharprank.retrieval.faiss_index import require_gpu

LoadEncoder = Callable[[MineConfig], Encoder]


@dataclass(frozen=True)
class MiningResult:
    """Where the mined rows are, and what is in them.

    Attributes:
        stats: what the `.stats.json` beside the output says.
        was_done: an earlier run with the same settings and inputs had already written it.
    """

    output_path: Path
    stats_path: Path
    stats: dict[str, Any]
    was_done: bool = False


def mine(config: MineConfig, *, load_encoder: LoadEncoder | None = None) -> MiningResult:
    """Mine hard negatives as `config` says.

    Args:
        config: the flags.
        load_encoder: gives the bi-encoder; by default the one that `config` names.

    Raises:
        UserError: whatever the user can fix.
    """
    config.check()
    if config.use_gpu_for_searching:
        require_gpu()
    check_writable(config.output_file)
    model_folder = resolve_model(config.model_name_or_path) if load_encoder is None else ""
    settings = _settings(config, model_folder)
    output, stats_path = Path(config.output_file), Path(f"{config.output_file}.stats.json")
    if refuse_other_settings(output, settings, overwrite=config.overwrite) == "done":
        say(f"note: {output} was already mined with these settings; --overwrite True mines it again")
        return MiningResult(output, stats_path, json.loads(stats_path.read_text(encoding="utf-8")), was_done=True)

    bad_rows = BadRows(config.on_bad_row)
    rows, pool = _read(config, bad_rows)
    encoder = (load_encoder or _load_encoder)(config)
    miner = RowMiner(config, _candidates(config, rows, pool, encoder), rows)
    described = {
        "ranks": _spoken(config.window, len(pool)),
        "seed": config.seed,
        "encoder": {**encoder.settings(), "weights_sha256": encoder.weights_sha256()},
        "pool": {"passages": len(pool), "duplicates": pool.num_read - len(pool)},
    }
    stats = manifest(command=["sharprank", "mine"], settings=settings, inputs=_inputs(config)) | described
    stats = _write(rows, miner, output, stats_path, stats, bad_rows=bad_rows, wanted=config.negative_number)
    _say_what_is_missing(stats, config)
    return MiningResult(output, stats_path, stats)


def _read(config: MineConfig, bad_rows: BadRows) -> tuple[list[TrainRow], Pool]:
    """Rows and pool, once the window is known to fit into the pool."""
    keys = RowKeys(
        query=config.query_key,
        positives=config.positive_key,
        negatives=config.negative_key,
        pos_scores=config.pos_scores_key,
        neg_scores=config.neg_scores_key,
    )
    rows = list(read_rows(Source(config.input_file, config.sub_data_name), keys=keys, bad_rows=bad_rows))
    pool = Pool.of_rows(rows) if config.candidate_pool is None else _read_pool(config.candidate_pool, bad_rows)
    check_window(config.window, config.negative_number, top_up=config.top_up == "random", pool_size=len(pool))
    low, high = config.window
    if high > len(pool):
        say(f"note: the pool holds {len(pool):,} passages: ranks {low + 1}-{len(pool)} are sampled, not up to {high}")
    return rows, pool


def _read_pool(path: str, bad_rows: BadRows) -> Pool:
    """The pool of a passages file; of a collection folder, its corpus (and not its queries)."""
    if is_collection(path):
        return Pool.of_passages(passage for passage in iter_corpus(path) if passage.text.strip())
    return Pool.of_passages(read_passages(Source(path), bad_rows=bad_rows))


def _candidates(config: MineConfig, rows: list[TrainRow], pool: Pool, encoder: Encoder) -> Candidates:
    beside: Iterator[str] = iter(())
    if config.output_scores:
        kept = config.keep_existing
        beside = (text for row in rows for text in (*row.positives, *(row.negatives if kept else ())))
    return find_candidates(
        encoder,
        pool,
        (row.query for row in rows),
        k=min(config.window[1], len(pool)),
        texts_beside=beside,
        batch_size=config.batch_size,
        search_batch_size=config.search_batch_size,
        use_gpu=config.use_gpu_for_searching,
        cache=config.embedding_cache,
    )


def _write(
    rows: list[TrainRow],
    miner: RowMiner,
    output: Path,
    stats_path: Path,
    stats: dict[str, Any],
    *,
    bad_rows: BadRows,
    wanted: int,
) -> dict[str, Any]:
    """Mine and write row by row; output and statistics appear together, complete, or not at all."""
    tally = Tally(wanted=wanted)
    with atomic_open(stats_path) as stats_file, atomic_open(output) as file:
        for row in track(rows, desc="choosing negatives", unit="row"):
            mined = miner.mine(row)
            tally.add(mined)
            file.write(json.dumps(mined.record, ensure_ascii=False) + "\n")
        stats = stats | tally.numbers()
        stats["rows"]["skipped"] = dict(sorted(bad_rows.counts.items()))
        json.dump(stats, stats_file, ensure_ascii=False, indent=1, allow_nan=False)
        stats_file.write("\n")
    return stats


def _say_what_is_missing(stats: dict[str, Any], config: MineConfig) -> None:
    rows, missing = stats["rows"], stats["negatives"]["missing"]
    if rows["with_too_few_negatives"]:
        say(
            f"note: {rows['with_too_few_negatives']:,} of {rows['written']:,} rows got fewer than "
            f"{config.negative_number} negatives ({missing:,} are missing, {rows['without_any_negative']:,} rows have "
            "none); a wider --range_for_sampling"
            + (" would find more" if config.top_up == "random" else " or --top_up random would give them more")
        )


def _load_encoder(config: MineConfig) -> Encoder:
    from sharprank.models.bi_encoder import BiEncoder

    return BiEncoder.load(
        config.model_name_or_path,
        pooling=config.pooling_method,
        query_instruction=config.query_instruction_for_retrieval,
        query_instruction_format=config.query_instruction_format_for_retrieval,
        passage_instruction=config.passage_instruction_for_retrieval,
        query_max_length=config.embedder_query_max_length,
        passage_max_length=config.embedder_passage_max_length,
        dtype=config.dtype,
        device=config.device,
        trust_remote_code=config.trust_remote_code,
        cache_dir=config.cache_dir,
    )


def _inputs(config: MineConfig) -> dict[str, str]:
    return describe_inputs(path for path in (config.input_file, config.candidate_pool) if path is not None)


def _settings(config: MineConfig, model_folder: str) -> dict[str, Any]:
    """All that decides the output; what is local counts by its contents, wherever it lies."""
    settings = config.settings()
    named = {
        "input_file": config.input_file,
        "candidate_pool": config.candidate_pool,
        "model_name_or_path": model_folder,
    }
    for name, path in named.items():
        content = _hash_of(path) if path else None
        if content is not None:
            del settings[name]
            settings[f"{name}_sha256"] = content
    return settings


def _hash_of(name: str) -> str | None:
    """One hash for a file, or for the names and contents of all files of a folder; None for what is not local."""
    path = Path(name)
    if path.is_file():
        return hash_file(path)
    hashes = {
        str(Path(file).relative_to(path)): value for file, value in describe_inputs([path]).items() if path.is_dir()
    }
    return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest() if hashes else None


def _spoken(window: tuple[int, int], pool_size: int) -> str:
    """The window in ranks as people count them: (2, 200) is "3-200"."""
    return f"{window[0] + 1}-{min(window[1], pool_size)}"
