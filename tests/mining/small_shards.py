"""`sharprank mine` with shards and pieces so small that a tiny pool has many; run by test_processes.

    python small_shards.py FLAGS

DIE_AT (an environment variable, "RANK:SHARDS") kills a rank for good once it has encoded so many shards.
"""

from __future__ import annotations

import os
import signal
import sys

from sharprank.cli.main import main
from sharprank.models.bi_encoder import BiEncoder
from sharprank.retrieval import embeddings, table

embeddings.SHARD_TEXTS = 32
table.JOINED_ROWS = 64


def die_at(rank: str, shards: str) -> None:
    """Kill this process at its so manieth shard if it is that rank."""
    encode, left = BiEncoder.encode, int(shards)

    def counting(self, *args, **options):
        nonlocal left
        left -= 1
        if left < 0 and os.environ.get("RANK", "0") == rank:
            os.kill(os.getpid(), signal.SIGKILL)
        return encode(self, *args, **options)

    BiEncoder.encode = counting


if "DIE_AT" in os.environ:
    die_at(*os.environ["DIE_AT"].split(":"))
raise SystemExit(main(["mine", *sys.argv[1:]]))
