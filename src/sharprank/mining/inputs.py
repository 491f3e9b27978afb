"""What mining reads: rows and pool, checked against the rank window, and what they and the settings are known by.

Loads no model.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sharprank.formats.collections import is_collection, iter_corpus
from sharprank.formats.pool import find_table, read_passages
from sharprank.formats.rows import BadRows, RowKeys, read_rows
from sharprank.formats.sources import Source
from sharprank.mining.config import MineConfig, check_window
from sharprank.mining.pool import Pool
from sharprank.progress import say
from sharprank.provenance import describe_inputs, hash_file
from sharprank.records import TrainRow


@dataclass(frozen=True)
class Inputs:
    """Rows to mine for, and where from.

    Attributes:
        skipped_rows: how many rows could not be used, by reason.
        skipped_passages: how many passages of the pool could not be used, by reason.
    """

    rows: list[TrainRow]
    pool: Pool
    skipped_rows: Counter[str]
    skipped_passages: Counter[str]


def read_inputs(config: MineConfig) -> Inputs:
    """Read rows and pool.

    Raises:
        UserError: a bad row or passage (unless they are skipped), or a pool that the window does not fit.
    """
    bad_rows, bad_passages = BadRows(config.on_bad_row), BadRows(config.on_bad_row)
    keys = RowKeys(
        query=config.query_key,
        positives=config.positive_key,
        negatives=config.negative_key,
        pos_scores=config.pos_scores_key,
        neg_scores=config.neg_scores_key,
    )
    rows = list(read_rows(Source(config.input_file, config.sub_data_name), keys=keys, bad_rows=bad_rows))
    pool = Pool.of_rows(rows) if config.candidate_pool is None else _read_pool(config.candidate_pool, bad_passages)
    check_window(config.window, config.negative_number, top_up=config.top_up == "random", pool_size=len(pool))
    low, high = config.window
    if high > len(pool):
        say(f"note: the pool holds {len(pool):,} passages: ranks {low + 1}-{len(pool)} are sampled, not up to {high}")
    return Inputs(rows, pool, bad_rows.counts, bad_passages.counts)


def _read_pool(path: str, bad_rows: BadRows) -> Pool:
    """The pool of a passages file; of a collection folder, its corpus (and not its queries)."""
    if is_collection(path):
        return Pool.of_passages(passage for passage in iter_corpus(path) if passage.text.strip())
    return Pool.of_passages(read_passages(Source(path), bad_rows=bad_rows))


def settings_with_contents(config: MineConfig, model_folder: str) -> dict[str, Any]:
    """All that decides the output; what is local counts by its contents, wherever it lies."""
    settings = config.settings()
    named = {
        "input_file": config.input_file,
        "candidate_pool": _pool_path(config.candidate_pool),
        "model_name_or_path": model_folder,
    }
    for name, path in named.items():
        content = _hash_of(path) if path else None
        if content is not None:
            del settings[name]
            settings[f"{name}_sha256"] = content
    return settings


def _pool_path(path: str | None) -> str | None:
    """What is read of a pool: of a collection folder its corpus alone, so that its runs may come and go."""
    table = find_table(Path(path).expanduser(), "corpus") if path is not None and is_collection(path) else None
    return path if table is None else str(table)


def _hash_of(name: str) -> str | None:
    """One hash for a file, or for the names and contents of all files of a folder; None for what is not local."""
    path = Path(name)
    if path.is_file():
        return hash_file(path)
    hashes = {
        str(Path(file).relative_to(path)): value for file, value in describe_inputs([path]).items() if path.is_dir()
    }
    return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest() if hashes else None


def describe(config: MineConfig) -> dict[str, str]:
    """{path: sha256} of all files that are read."""
    return describe_inputs(path for path in (config.input_file, _pool_path(config.candidate_pool)) if path is not None)
