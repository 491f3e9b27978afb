"""The stage itself: rows and a pool in, the same rows with hard negatives out.

Read, check, embed, search, choose, write: everything that can be refused is refused before a model loads, and the
output appears whole or not at all, with its statistics beside it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sharprank.formats.writers import atomic_open, check_writable, refuse_other_settings
from sharprank.mining.candidates import Candidates, Encoder, find_candidates
from sharprank.mining.config import MineConfig
from sharprank.mining.inputs import Inputs, describe, read_inputs, settings_with_contents
from sharprank.mining.negatives import RowMiner
from sharprank.mining.report import Tally
from sharprank.models.minilm import resolve_model
from sharprank.progress import say, track
from sharprank.provenance import manifest
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
    settings = settings_with_contents(config, resolve_model(config.model_name_or_path) if load_encoder is None else "")
    output, stats_path = Path(config.output_file), Path(f"{config.output_file}.stats.json")
    if refuse_other_settings(output, settings, overwrite=config.overwrite) == "done":
        say(f"note: {output} was already mined with these settings; --overwrite True mines it again")
        return MiningResult(output, stats_path, json.loads(stats_path.read_text(encoding="utf-8")), was_done=True)

    inputs = read_inputs(config)
    encoder = (load_encoder or _load_encoder)(config)
    about_encoder = {**encoder.settings(), "weights_sha256": encoder.weights_sha256()}
    miner = RowMiner(config, _candidates(config, inputs, encoder, about_encoder), inputs.rows)
    stats = {
        **manifest(command=["sharprank", "mine"], settings=settings, inputs=describe(config)),
        "seed": config.seed,
        "ranks": _spoken(config.window, len(inputs.pool)),
        "encoder": about_encoder,
    }
    stats = _write(inputs, miner, output, stats_path, stats=stats, wanted=config.negative_number)
    _say_what_is_missing(stats, config)
    return MiningResult(output, stats_path, stats)


def _candidates(config: MineConfig, inputs: Inputs, encoder: Encoder, about_encoder: dict[str, Any]) -> Candidates:
    beside: Iterator[str] = iter(())
    if config.output_scores:
        kept = config.keep_existing
        beside = (text for row in inputs.rows for text in (*row.positives, *(row.negatives if kept else ())))
    return find_candidates(
        encoder,
        inputs.pool,
        (row.query for row in inputs.rows),
        k=min(config.window[1], len(inputs.pool)),
        texts_beside=beside,
        batch_size=config.batch_size,
        search_batch_size=config.search_batch_size,
        use_gpu=config.use_gpu_for_searching,
        cache=config.embedding_cache,
        about_encoder=about_encoder,
    )


def _write(
    inputs: Inputs, miner: RowMiner, output: Path, stats_path: Path, *, stats: dict[str, Any], wanted: int
) -> dict[str, Any]:
    """Mine and write row by row; output and statistics appear together, complete, or not at all."""
    tally = Tally(wanted=wanted)
    with atomic_open(stats_path) as stats_file, atomic_open(output) as file:
        for row in track(inputs.rows, desc="choosing negatives", unit="row"):
            mined = miner.mine(row)
            tally.add(mined)
            file.write(json.dumps(mined.record, ensure_ascii=False) + "\n")
        stats = stats | tally.numbers() | {"pool": _about_pool(inputs)}
        stats["rows"]["skipped"] = dict(sorted(inputs.skipped_rows.items()))
        json.dump(stats, stats_file, ensure_ascii=False, indent=1, allow_nan=False)
        stats_file.write("\n")
    return stats


def _about_pool(inputs: Inputs) -> dict[str, Any]:
    pool = inputs.pool
    return {
        "passages": len(pool),
        "duplicates": pool.num_read - len(pool),
        "skipped": dict(sorted(inputs.skipped_passages.items())),
    }


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


def _spoken(window: tuple[int, int], pool_size: int) -> str:
    """The window in ranks as people count them: (2, 200) is "3-200"."""
    return f"{window[0] + 1}-{min(window[1], pool_size)}"
