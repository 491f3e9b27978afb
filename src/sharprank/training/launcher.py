"""What accelerate's launcher tells a process about the run, by way of its environment."""

from __future__ import annotations

import os

FSDP, DEEPSPEED = "FSDP", "DEEPSPEED"


def launched_with(engine: str) -> bool:
    """Whether the launcher was told to run this engine, FSDP or DEEPSPEED."""
    return os.environ.get(f"ACCELERATE_USE_{engine}", "false").lower() == "true"


def launcher_decides_precision() -> bool:
    """Whether the launcher was told a precision, or brings DeepSpeed and its file."""
    return os.environ.get("ACCELERATE_MIXED_PRECISION", "no") != "no" or launched_with(DEEPSPEED)
