"""The candidate pool: every passage that may become a negative, once, in an order that never changes.

The pool is a store of texts on disk (`sharprank.formats.text_store`): `pool[number]` is a passage, `pool.find(text)`
its number. A pool read from a file keeps the file's order. A pool gathered from the rows themselves is ordered by a
hash of each text, so that the order of the rows decides nothing. Two passages are the same when they differ only in
white space.

Knows nothing of models and scores.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from sharprank.errors import UserError
from sharprank.formats.text_store import TextStore, TextWriter
from sharprank.records import Passage

Pool = TextStore


def write_pool(
    folder: Path, passages: Iterable[Passage], *, skipped: Mapping[str, int], ids_of: str | None = None
) -> Pool:
    """The pool of a passages file, in its order, written to `folder`.

    Args:
        skipped: read when all passages are: how many could not be used, by reason.
        ids_of: the collection they are of, whose ids must be distinct; None: ids may repeat.

    Raises:
        UserError: an id stands twice, or the folder cannot be written.
    """
    with TextWriter(folder) as writer:
        for passage in passages:
            writer.add(passage.text, passage_id=passage.passage_id)
        writer.about["skipped"] = dict(skipped)
    pool = TextStore(folder)
    twin = pool.ids.repeated_key() if ids_of is not None and pool.ids is not None else None
    if twin is not None:
        shutil.rmtree(folder)
        raise UserError(f"{ids_of}: id {twin} stands there twice", fix="keep one of the two passages")
    return pool
