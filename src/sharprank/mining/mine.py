"""The stage itself: rows and a pool in, the same rows with hard negatives out.

Read, check, embed, search, choose, write: everything that can be refused is refused before a model loads, and the
output appears whole or not at all, with its statistics beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sharprank.errors import UserError
from sharprank.formats.pool import read_passages
from sharprank.formats.rows import BadRows, RowKeys, read_rows
from sharprank.formats.sources import Source, source_files
from sharprank.formats.writers import check_writable, refuse_other_settings, write_json, write_jsonl
from sharprank.mining.candidates import Candidates, Encoder, find_candidates
from sharprank.mining.config import MineConfig, check_window
from sharprank.mining.negatives import RowMiner
from sharprank.mining.pool import Pool
from sharprank.mining.report import Tally
from sharprank.progress import say, track
from sharprank.provenance import describe_inputs, hash_file, manifest
from sharprank.records import TrainRow

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
        load_encoder: gives the bi-encoder; by default the one that `config` names.

    Raises:
        UserError: whatever the user can fix.
    """
    config.check()
