"""What mining reads: rows and pool, checked against the rank window, and what they and the settings are known by.

Both are read once, as streams, into stores on disk that a later run on the same files finds again. Loads no model.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sharprank.formats.cache import entry_folder, key_of
from sharprank.formats.collections import is_collection, iter_corpus, pool_path
from sharprank.formats.pool import read_passages
from sharprank.formats.readers import known_suffix
from sharprank.formats.rows import BadRows, RowKeys, read_rows
from sharprank.formats.sources import Source
from sharprank.formats.text_store import TextStore, TextWriter
from sharprank.mining.config import MineConfig
from sharprank.mining.pool import Pool, write_pool
from sharprank.mining.rows import RowWriter, StoredRows
from sharprank.progress import say, track
from sharprank.provenance import describe_inputs, hash_file
from sharprank.ranks import ALONE, Ranks

_LAYOUT = 1
"""Of the stores: another number, and older ones are made again."""


@dataclass(frozen=True)
class Inputs:
    """Rows to mine for, and where from.

    Attributes:
        queries: the distinct queries of the rows, found by themselves (`key`).
        rows_folder: the entry of the cache that holds the rows and may hold what is made of them.
    """

    rows: StoredRows
    queries: TextStore
    pool: Pool
    rows_folder: Path

    @property
    def skipped_rows(self) -> Counter[str]:
        """How many rows could not be used, by reason."""
        return Counter(self.rows.about["skipped"])

    @property
    def skipped_passages(self) -> Counter[str]:
        """How many passages of the pool could not be used, by reason."""
        return Counter(self.pool.about.get("skipped", {}))

    def texts_beside(self, *, negatives: bool, ranks: Ranks = ALONE) -> TextStore:
        """The positives of the rows (and their negatives) that are not in the pool."""
        folder = self.rows_folder / f"beside-{key_of([str(self.pool.folder.resolve()), negatives])}"
        ranks.agree(lambda: self._write_texts_beside(folder, negatives=negatives))
        return TextStore(folder)

    def _write_texts_beside(self, folder: Path, *, negatives: bool) -> None:
        with TextWriter(folder, by_key=True) as writer:
            for row in self.rows:
                for text in (*row.positives, *(row.negatives if negatives else ())):
                    if self.pool.find(text) is None:
                        writer.add(text)


def read_inputs(config: MineConfig, settings: Mapping[str, Any], root: Path, ranks: Ranks = ALONE) -> Inputs:
    """Read rows and pool.

    Args:
        settings: as `settings_with_contents` gives them: what the stores are found by.
        root: the cache that keeps them.
        ranks: the first reads, the others open what it wrote.

    Raises:
        UserError: a bad row or passage (unless they are skipped), or a pool that the window does not fit.
    """
    keys = RowKeys.of_flags(config)
    about_pool = {name: settings[name] for name in settings if name.startswith("candidate_pool")}
    about_rows = {name: settings[name] for name in settings if name.startswith(("input_file", "sub_data"))}
    common = {"layout": _LAYOUT, "on_bad_row": config.on_bad_row}
    about_rows |= common | {"keys": vars(keys), "pool": config.candidate_pool is None}
    rows_folder = entry_folder(root, "rows", key_of(about_rows), {"source": config.input_file, **about_rows})
    pool_folder = rows_folder / "pool"
    if config.candidate_pool is not None:
        about_pool |= common
        pool_entry = entry_folder(root, "pool", key_of(about_pool), {"source": config.candidate_pool, **about_pool})
        pool_folder = pool_entry / "passages"

    def read() -> None:
        if not ("input_file_sha256" in about_rows and _are_there(_row_stores(rows_folder, pool_folder))):
            _read_rows(config, keys, rows_folder)
        if config.candidate_pool is None:
            return
        if not ("candidate_pool_sha256" in about_pool and _are_there([pool_folder])):
            _read_pool(config.candidate_pool, BadRows(config.on_bad_row), pool_folder)

    ranks.agree(read)
    pool = TextStore(pool_folder)
    config.check_windows(len(pool))
    low, high = config.window
    if high > len(pool):
        say(f"note: the pool holds {len(pool):,} passages: ranks {low + 1}-{len(pool)} are sampled, not up to {high}")
    rows, queries = (TextStore(rows_folder / name) for name in ("rows", "queries"))
    return Inputs(StoredRows(rows, keys), queries, pool, rows_folder)


def _row_stores(rows_folder: Path, pool_folder: Path) -> list[Path]:
    own = [rows_folder / "rows", rows_folder / "queries"]
    return [*own, pool_folder] if pool_folder.parent == rows_folder else own


def _are_there(folders: Iterable[Path]) -> bool:
    return all(TextStore.find_in(folder) is not None for folder in folders)


def _read_rows(config: MineConfig, keys: RowKeys, folder: Path) -> None:
    """Write the rows, their distinct queries and, where there is no other, the pool of their texts."""
    bad_rows = BadRows(config.on_bad_row)
    with ExitStack() as stack:
        rows = stack.enter_context(RowWriter(folder / "rows"))
        queries = stack.enter_context(TextWriter(folder / "queries", by_key=True))
        pool = None
        if config.candidate_pool is None:
            pool = stack.enter_context(TextWriter(folder / "pool", by_key=True))
        source = Source(config.input_file, config.sub_data_name)
        for row in track(read_rows(source, keys=keys, bad_rows=bad_rows), desc="reading rows", unit="row"):
            rows.add(row)
            queries.add(row.query, key=row.query)
            for text in (*row.positives, *row.negatives) if pool is not None else ():
                pool.add(text)  # type: ignore[union-attr]
        rows.about["skipped"] = dict(bad_rows.counts)


def _read_pool(path: str, bad_rows: BadRows, folder: Path) -> None:
    """Write the pool of a passages file; of a collection folder, of its corpus (and not its queries)."""
    collection = is_collection(path)
    if collection:
        passages = (passage for passage in iter_corpus(path, refuse_twins=False) if passage.text.strip())
    else:
        passages = read_passages(Source(path), bad_rows=bad_rows)
    counted = track(passages, desc="reading passages", unit="passage")
    write_pool(folder, counted, skipped=bad_rows.counts, ids_of=path if collection else None)


def settings_with_contents(config: MineConfig, model_folder: str) -> dict[str, Any]:
    """All that decides the output, `by_contents`."""
    named = {
        "input_file": config.input_file,
        "candidate_pool": pool_path(config.candidate_pool),
        "model_name_or_path": model_folder,
    }
    return by_contents(config.settings(), named)


def by_contents(settings: Mapping[str, Any], named: Mapping[str, str | None]) -> dict[str, Any]:
    """Settings in which what is local counts by its contents and format, wherever it lies.

    Args:
        named: {setting: the path it names}.
    """
    settings = dict(settings)
    for name, path in named.items():
        content = hash_of(path) if path else None
        if path is not None and content is not None:
            del settings[name]
            settings[f"{name}_sha256"] = content
            if Path(path).is_file():
                settings[f"{name}_is_read_as"] = known_suffix(Path(path)) or "lines"
    return settings


def hash_of(name: str) -> str | None:
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
    return describe_inputs(path for path in (config.input_file, pool_path(config.candidate_pool)) if path is not None)
