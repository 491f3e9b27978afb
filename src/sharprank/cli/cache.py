"""`sharprank cache ls|rm`: what the cache holds, and how to free it."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sharprank.cli.options import run_command
from sharprank.errors import UserError
from sharprank.formats.cache import Entry, cache_folder, clear_abandoned, entries, remove
from sharprank.progress import say, spoken_bytes

PROG = "sharprank cache"
DESCRIPTION = (
    "Show or free the cache of texts, vectors and hits (SHARPRANK_CACHE, or sharprank in your cache folder). Whatever "
    "is freed is computed again when it is needed."
)
_WORDS_SHOWN = ("model", "source", "stored_as", "kind", "k", "index_factory")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return run_command(lambda: _cache(argv))


def _cache(argv: Sequence[str] | None) -> None:
    parser = argparse.ArgumentParser(prog=PROG, description=DESCRIPTION)
    parser.add_argument("action", choices=("ls", "rm"), help="ls: list the entries, the largest first; rm: delete some")
    parser.add_argument("names", nargs="*", metavar="NAME", help="rm: entries as `ls` names them, or their beginnings")
    parser.add_argument("--all", action="store_true", help="rm: all entries")
    parser.add_argument("--unused_days", type=float, metavar="DAYS", help="rm: what was not used for so many days")
    parser.add_argument("--embedding_cache", metavar="FOLDER", help="another cache than the default one")
    options = parser.parse_args(argv)
    root = Path(options.embedding_cache).expanduser() if options.embedding_cache else cache_folder()
    found = list(entries(root))
    if options.action == "ls":
        _list(root, found)
    else:
        _remove(root, _chosen(found, options))


def _list(root: Path, found: Sequence[Entry]) -> None:
    for entry in sorted(found, key=lambda entry: -entry.num_bytes):
        days = (time.time() - entry.used) / 86_400
        print(f"{spoken_bytes(entry.num_bytes):>10}  {days:5.1f} days  {entry.folder.name}  {_words(entry.about)}")
    print(f"{spoken_bytes(sum(entry.num_bytes for entry in found)):>10}  in {len(found)} entries of {root}")


def _chosen(found: Sequence[Entry], options: argparse.Namespace) -> list[Entry]:
    """The entries that `rm` names.

    Raises:
        UserError: none is named, or a name fits none.
    """
    if not (options.names or options.all or options.unused_days is not None):
        raise UserError(
            f"{PROG} rm: what?", fix="name entries (see `sharprank cache ls`), or use --all or --unused_days N"
        )
    for name in options.names:
        if not any(entry.folder.name.startswith(name) for entry in found):
            raise UserError(f"the cache has no entry {name!r}", fix="see `sharprank cache ls`")
    before = time.time() - 86_400 * (options.unused_days or 0)
    return [
        entry
        for entry in found
        if options.all
        or any(entry.folder.name.startswith(name) for name in options.names)
        or (options.unused_days is not None and entry.used < before)
    ]


def _remove(root: Path, chosen: Sequence[Entry]) -> None:
    for entry in chosen:
        remove(entry)
        say(f"deleted {entry.folder.name} ({spoken_bytes(entry.num_bytes)})")
    clear_abandoned(root)
    print(f"{spoken_bytes(sum(entry.num_bytes for entry in chosen))} freed")


def _words(about: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {about[name]}" for name in _WORDS_SHOWN if about.get(name) is not None)
