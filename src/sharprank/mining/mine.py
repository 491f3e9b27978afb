"""The stage itself: rows and a pool in, the same rows with hard negatives out.

Read, check, embed, search, choose, write: everything that can be refused is refused before a model loads, and the
output appears whole or not at all, with its statistics beside it.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sharprank.formats.cache import cache_folder, check_cache
from sharprank.formats.html.page import check_report
from sharprank.formats.writers import check_writable, open_together, refuse_other_settings
from sharprank.mining.candidates import Encoder, Searching
from sharprank.mining.config import MineConfig
from sharprank.mining.html_report import Gallery, write_report
from sharprank.mining.inputs import Inputs, describe, read_inputs, settings_with_contents
from sharprank.mining.near_queries import NearQueries
from sharprank.mining.negatives import RowMiner
from sharprank.mining.offers import Searches, contents_of_sources, search_all, sources_of
from sharprank.mining.record import MinedRow, RecordMaker
from sharprank.mining.report import Tally
from sharprank.mining.rows import QueryPositives
from sharprank.mining.sources import DENSE
from sharprank.mining.teacher import load_teacher
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
    outputs = _Outputs.of(config)
    outputs.check(overwrite=config.overwrite)
    check_cache(cache)
    settings = ranks.agree(lambda: _settings(config, resolve=load_encoder is None))
    if ranks.agree(lambda: outputs.are_done(settings, overwrite=config.overwrite)):
        say(f"note: {outputs.rows} was already mined with these settings; --overwrite True mines it again")
        return MiningResult(outputs.rows, outputs.stats, _read_stats(outputs.stats), was_done=True)

    inputs = read_inputs(config, settings, cache, ranks)
    teacher = load_teacher(config, cache, ranks)
    how = _searching(config, cache, pool_size=len(inputs.pool), backend=backend, ranks=ranks)
    searches = search_all(config, inputs, load_encoder or partial(encoder_of, ranks=ranks), how)
    if ranks.number == 0 or teacher is not None:  # with a teacher all ranks choose, so that each can score its share
        sources = sources_of(config, inputs, searches, k=how.k)
        if teacher is not None:
            pairs = len(inputs.rows) * (config.number + 1)
            say(f"to do: the teacher scores {pairs:,} pairs or more, and others for those it refuses")
        positives = QueryPositives(inputs.rows)
        miner = RowMiner(
            config,
            inputs.pool,
            sources,
            yardstick=searches.yardstick,
            positives=positives,
            near_positives=NearQueries(inputs.queries, positives, threshold=config.near_duplicate),
            teacher=teacher and teacher[0],
        )
        mined = track(miner.mine(inputs.rows), total=len(inputs.rows), desc="choosing negatives", unit="row")
        if ranks.number == 0:
            maker = RecordMaker(config, inputs.pool, sources, searches.yardstick)
            stats = {
                **manifest(command=["sharprank", "mine"], settings=settings, inputs=describe(config)),
                "seed": config.seed,
                **_about(config, inputs, searches),
                "teacher": teacher and teacher[1],
            }
            _write(
                mined, maker, outputs, Tally(wanted=config.number, neg_scores_key=config.neg_scores_key), stats=stats
            )
        else:
            deque(mined, maxlen=0)
    ranks.wait()
    stats = _read_stats(outputs.stats)
    _say_what_is_missing(stats, config)
    return MiningResult(outputs.rows, outputs.stats, stats)


def _settings(config: MineConfig, *, resolve: bool) -> dict[str, Any]:
    """All that decides the output, contents included."""
    names_dense = any(spec.name == DENSE for spec in config.source_specs)
    model = resolve_model(config.model_name_or_path) if resolve and names_dense else ""
    return settings_with_contents(config, model) | contents_of_sources(config)


def _about(config: MineConfig, inputs: Inputs, searches: Searches) -> dict[str, Any]:
    recalls = {name: found.recall for name, found in searches.candidates.items()}
    return {
        "ranks": ", ".join(_spoken((window.low, window.high), len(inputs.pool)) for window in config.windows),
        "encoder": next(iter(searches.about.values()), None),
        "encoders": searches.about,
        "search": {"index_factory": config.index_factory, "recall": next(iter(recalls.values()), None)},
        "pool": _about_pool(inputs),
        "skipped_rows": dict(sorted(inputs.skipped_rows.items())),
    }


@dataclass(frozen=True)
class _Outputs:
    """The files of a run."""

    rows: Path
    stats: Path
    candidates: Path | None
    report: str | None

    @classmethod
    def of(cls, config: MineConfig) -> _Outputs:
        candidates = None if config.output_candidates is None else Path(config.output_candidates)
        return cls(Path(config.output_file), Path(f"{config.output_file}.stats.json"), candidates, config.report)

    def check(self, *, overwrite: bool) -> None:
        """Refuse what cannot be written.

        Raises:
            UserError: naming the path.
        """
        check_writable(self.rows)
        if self.candidates is not None:
            check_writable(self.candidates, flag="--output_candidates")
        if self.report is not None:
            check_report(self.report, overwrite=overwrite)

    def are_done(self, settings: Mapping[str, Any], *, overwrite: bool) -> bool:
        """Whether an earlier run with these settings wrote all of them.

        Raises:
            UserError: other settings made the output.
        """
        done = refuse_other_settings(self.rows, settings, overwrite=overwrite) == "done"
        return done and all(Path(path).exists() for path in (self.candidates, self.report) if path is not None)


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
    mined: Iterable[MinedRow], maker: RecordMaker, outputs: _Outputs, tally: Tally, *, stats: dict[str, Any]
) -> None:
    """Write row by row; every file appears complete or not at all, the output last.

    A kill before that leaves the others without an output, and then the rows are mined again.
    """
    gallery = Gallery(maker.text_of, wanted=tally.wanted)
    others = [outputs.stats] if outputs.candidates is None else [outputs.candidates, outputs.stats]
    with open_together(outputs.rows, *others) as (file, *candidates, stats_file):
        for one in mined:
            tally.add(one)
            file.write(json.dumps(maker.record(one), ensure_ascii=False) + "\n")
            for candidates_file in candidates:
                candidates_file.write(json.dumps(maker.candidates(one), ensure_ascii=False) + "\n")
            if outputs.report is not None:
                gallery.add(one)
        numbers = tally.numbers()
        numbers["rows"]["skipped"] = stats.pop("skipped_rows")
        stats = {**stats, **numbers}
        json.dump(stats, stats_file, ensure_ascii=False, indent=1, allow_nan=False)
        stats_file.write("\n")
        if outputs.report is not None:
            write_report(outputs.report, tally, gallery, stats=stats)


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
            f"{config.number} negatives ({missing:,} are missing, {rows['without_any_negative']:,} rows have "
            "none); a wider --range_for_sampling"
            + (" would find more" if config.top_up == "random" else " or --top_up random would give them more")
        )


def encoder_of(config: MineConfig, *, ranks: Ranks = ALONE) -> Any:
    """The `BiEncoder` that the flags name, reading texts as they say.

    Raises:
        UserError: see `BiEncoder.load`.
    """
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
