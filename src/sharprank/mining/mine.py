"""The stage itself: rows and a pool in, the same rows with hard negatives out.

Read, check, embed, search, choose, write: everything that can be refused is refused before a model loads, and the
output appears whole or not at all, with its statistics beside it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sharprank.formats.cache import cache_folder, check_cache
from sharprank.formats.writers import atomic_open, check_writable, refuse_other_settings
from sharprank.mining.candidates import Encoder, Searching, find_candidates
from sharprank.mining.config import MineConfig
from sharprank.mining.inputs import Inputs, describe, read_inputs, settings_with_contents
from sharprank.mining.negatives import RowMiner
from sharprank.mining.report import Tally
from sharprank.mining.rows import QueryPositives
from sharprank.models.minilm import resolve_model
from sharprank.progress import say, track
from sharprank.provenance import manifest
from sharprank.ranks import ALONE, Ranks, all_ranks
from sharprank.retrieval.faiss_index import Backend, gpu_backend

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
    with all_ranks() as ranks:
        return _mine(config, load_encoder, ranks)


def _mine(config: MineConfig, load_encoder: LoadEncoder | None, ranks: Ranks) -> MiningResult:
    local_rank = ranks.local if ranks.count > 1 else None
    backend = gpu_backend(local_rank) if config.use_gpu_for_searching else None
    cache = Path(config.embedding_cache).expanduser() if config.embedding_cache else cache_folder()
    check_writable(config.output_file)
    check_cache(cache)
    model = resolve_model(config.model_name_or_path) if load_encoder is None else ""
    settings = ranks.agree(lambda: settings_with_contents(config, model))
    output, stats_path = Path(config.output_file), Path(f"{config.output_file}.stats.json")
    if ranks.agree(lambda: refuse_other_settings(output, settings, overwrite=config.overwrite)) == "done":
        say(f"note: {output} was already mined with these settings; --overwrite True mines it again")
        return MiningResult(output, stats_path, _read_stats(stats_path), was_done=True)

    inputs = read_inputs(config, settings, cache, ranks)
    encoder = (load_encoder or partial(_load_encoder, ranks=ranks))(config)
    about_encoder = {**encoder.settings(), "weights_sha256": encoder.weights_sha256()}
    how = _searching(config, cache, pool_size=len(inputs.pool), backend=backend, ranks=ranks)
    beside = None
    if config.output_scores:
        beside = inputs.texts_beside(negatives=config.keep_existing, ranks=ranks)
    candidates = find_candidates(encoder, inputs.pool, inputs.queries, how, about_encoder=about_encoder, beside=beside)
    if ranks.number == 0:
        stats = {
            **manifest(command=["sharprank", "mine"], settings=settings, inputs=describe(config)),
            "seed": config.seed,
            "ranks": _spoken(config.window, len(inputs.pool)),
            "encoder": about_encoder,
            "search": {"index_factory": config.index_factory, "recall": candidates.recall},
        }
        miner = RowMiner(config, candidates, QueryPositives(inputs.rows))
        _write(inputs, miner, output, stats_path, stats=stats, wanted=config.negative_number)
    ranks.wait()
    stats = _read_stats(stats_path)
    _say_what_is_missing(stats, config)
    return MiningResult(output, stats_path, stats)


def _searching(config: MineConfig, cache: Path, *, pool_size: int, backend: Backend | None, ranks: Ranks) -> Searching:
    return Searching(
        k=min(config.window[1], pool_size),
        cache=cache,
        dtype=config.embedding_dtype,
        batch_size=config.batch_size,
        query_block=config.search_batch_size,
        backend=backend,
        index_factory=config.index_factory,
        index_parameters=config.index_parameters,
        ranks=ranks,
    )


def _read_stats(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def _write(
    inputs: Inputs, miner: RowMiner, output: Path, stats_path: Path, *, stats: dict[str, Any], wanted: int
) -> None:
    """Mine and write row by row; both files appear complete or not at all, the output last.

    A kill between the two leaves statistics without an output, and then the rows are mined again.
    """
    tally = Tally(wanted=wanted)
    with atomic_open(output) as file, atomic_open(stats_path) as stats_file:
        for row in track(inputs.rows, total=len(inputs.rows), desc="choosing negatives", unit="row"):
            mined = miner.mine(row)
            tally.add(mined)
            file.write(json.dumps(mined.record, ensure_ascii=False) + "\n")
        stats = stats | tally.numbers() | {"pool": _about_pool(inputs)}
        stats["rows"]["skipped"] = dict(sorted(inputs.skipped_rows.items()))
        json.dump(stats, stats_file, ensure_ascii=False, indent=1, allow_nan=False)
        stats_file.write("\n")
        output.resolve().unlink(missing_ok=True)  # an old one must not stand beside the new statistics


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


def _load_encoder(config: MineConfig, *, ranks: Ranks = ALONE) -> Encoder:
    from sharprank.models.bi_encoder import BiEncoder
    from sharprank.models.devices import device_of_rank

    return BiEncoder.load(
        config.model_name_or_path,
        pooling=config.pooling_method,
        query_instruction=config.query_instruction_for_retrieval,
        query_instruction_format=config.query_instruction_format_for_retrieval,
        passage_instruction=config.passage_instruction_for_retrieval,
        query_max_length=config.embedder_query_max_length,
        passage_max_length=config.embedder_passage_max_length,
        dtype=config.dtype,
        device=device_of_rank(config.device, ranks.local) if ranks.count > 1 else config.device,
        trust_remote_code=config.trust_remote_code,
        cache_dir=config.cache_dir,
    )


def _spoken(window: tuple[int, int], pool_size: int) -> str:
    """The window in ranks as people count them: (2, 200) is "3-200"."""
    return f"{window[0] + 1}-{min(window[1], pool_size)}"
