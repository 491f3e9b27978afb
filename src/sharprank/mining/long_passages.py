"""Passages longer than the encoder, read whole: their windows are embedded and searched, the best one counts.

The windows are a store of texts of their own; a passage ranks where its best window does. Shapes: W windows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from sharprank.formats.cache import entry_folder, key_of
from sharprank.formats.text_store import TextStore, TextWriter
from sharprank.mining.candidates import Candidates, Encoder, Searching, find_candidates
from sharprank.mining.pool import Pool
from sharprank.models.windows import WindowRule
from sharprank.progress import say, track
from sharprank.retrieval.stored import Shard, load_array, save_array

WINDOWS_A_PASSAGE = 4
"""Windows searched for each candidate wanted: passages whose windows rank side by side take more than one."""

_TEXTS_AT_ONCE = 512

Cut = Callable[[Sequence[str]], "list[list[str]]"]
"""Texts -> the windows of each."""


@dataclass(frozen=True)
class Windows:
    """The windows of many texts.

    Attributes:
        texts: W windows, those of one text one after the other.
        owners: int64 [W], the number of the text that each is of.
    """

    texts: TextStore
    owners: Shard


class SplitCandidates:
    """Candidates by their best windows.

    Args:
        found: the windows' ranking.
        k: candidates of a query.
    """

    def __init__(self, found: Candidates, owners: Shard, cut: Cut, *, k: int) -> None:
        self._found, self._owners, self._k = found, owners, k
        self._cut = lru_cache(maxsize=4096)(lambda text: tuple(cut([text])[0]))
        self._last: tuple[str, np.ndarray] | None = None
        self.recall = found.recall

    def ranked(self, query: str) -> np.ndarray:
        """Numbers int64 [K] of the query's candidates, best first."""
        if self._last is None or self._last[0] != query:
            owners = np.asarray(self._owners[self._found.ranked(query)])
            firsts = np.sort(np.unique(owners, return_index=True)[1])[: self._k]
            self._last = query, owners[firsts]
        return self._last[1]

    def similarities(self, query: str, texts: Sequence[str]) -> list[float | None]:
        """The cosine of the query with each text's best window; None where a text was never embedded."""
        windows = [self._cut(text) for text in texts]
        values = iter(self._found.similarities(query, [window for own in windows for window in own]))
        best = ([value for value in islice(values, len(own)) if value is not None] for own in windows)
        return [max(known, default=None) for known in best]


def find_split_candidates(
    encoder: Encoder,
    pool: Pool,
    queries: TextStore,
    how: Searching,
    *,
    about_encoder: Mapping[str, Any],
    overlap: int,
    beside: TextStore | None = None,
) -> SplitCandidates:
    """As `find_candidates`, with passages that do not fit read in windows.

    Args:
        overlap: tokens that neighbouring windows share.

    Raises:
        UserError: see `find_candidates`; or a tokenizer that cannot tell where its tokens stand.
    """
    rule = WindowRule(overlap=overlap)

    def cut(texts: Sequence[str]) -> list[list[str]]:
        return encoder.windows(texts, rule)

    about = {**about_encoder, "windows": vars(rule)}
    windows = _windows(pool, cut, how, about, name="splitting passages")
    beside_windows = _windows(beside, cut, how, about, name="splitting positives").texts if beside is not None else None
    say(f"note: {len(pool):,} passages are read in {len(windows.texts):,} windows")
    wide = replace(how, k=min(len(windows.texts), how.k * WINDOWS_A_PASSAGE))
    found = find_candidates(encoder, windows.texts, queries, wide, about_encoder=about_encoder, beside=beside_windows)
    return SplitCandidates(found, windows.owners, cut, k=how.k)


def _windows(texts: TextStore, cut: Cut, how: Searching, about: Mapping[str, Any], *, name: str) -> Windows:
    """The windows of a store of texts, made once."""
    content = {**about, "texts": how.ranks.agree(lambda: _hash(texts))}
    folder = entry_folder(how.cache, "windows", key_of(content), content)
    how.ranks.agree(lambda: _write(texts, cut, folder, name))
    owners = load_array(folder / "owners.npy")
    if owners is None:
        raise OSError(f"{folder / 'owners.npy'} could not be read back after it was written")
    return Windows(TextStore(folder / "texts"), owners)


def _hash(texts: TextStore) -> str:
    state = hashlib.sha256()
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        state.update(len(data).to_bytes(8, "little"))
        state.update(data)
    return state.hexdigest()


def _write(texts: TextStore, cut: Cut, folder: Path, name: str) -> None:
    if load_array(folder / "owners.npy") is not None and TextStore.find_in(folder / "texts") is not None:
        return
    owners: list[np.ndarray] = []
    with TextWriter(folder / "texts", distinct=False) as writer:
        for start, windows in _blocks(track(range(0, len(texts), _TEXTS_AT_ONCE), desc=name, unit="block"), texts, cut):
            for own in windows:
                for window in own:
                    writer.add(window)
            counts = [len(own) for own in windows]
            owners.append(np.repeat(np.arange(start, start + len(windows)), counts))
    save_array(folder / "owners.npy", np.concatenate([np.empty(0, np.int64), *owners]))


def _blocks(starts: Iterator[int], texts: TextStore, cut: Cut) -> Iterator[tuple[int, list[list[str]]]]:
    for start in starts:
        yield start, cut(texts[start : start + _TEXTS_AT_ONCE])
