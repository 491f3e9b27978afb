"""`sharprank_calibration.json` beside a model: temperature, bias and threshold, and the weights they were fitted on."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

from sharprank.errors import UserError
from sharprank.metrics.calibration import Calibration
from sharprank.progress import say

CALIBRATION_FILE = "sharprank_calibration.json"
_NUM_BLOCKS = 64
_BLOCK_BYTES = 4096


def read_calibration(folder: str | Path) -> Calibration | None:
    """The calibration stored with a model; None without one, or when the weights have changed since (which is said).

    Raises:
        UserError: the file is damaged.
    """
    path = Path(folder) / CALIBRATION_FILE
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        numbers = [float(content[name]) for name in ("temperature", "bias", "threshold")]
        weights = content["weights"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged: {error!r}", fix="remove it, or run `sharprank calibrate` again") from error
    if not all(map(math.isfinite, numbers)) or numbers[0] <= 0:
        raise UserError(
            f"{path} is damaged: temperature {numbers[0]}, bias {numbers[1]}",
            fix="remove it, or run `sharprank calibrate` again",
        )
    if weights != fingerprint(folder):
        say(f"note: {path} was fitted on other weights and is not used; run `sharprank calibrate` again")
        return None
    return Calibration(*numbers)


def fingerprint(folder: str | Path) -> str:
    """sha256 of the names and sizes of a model's weight files and of blocks spread over each: cheap, and enough to
    tell one training from another."""
    digest = hashlib.sha256()
    for path in sorted(Path(folder).glob("*.safetensors")):
        size = path.stat().st_size
        digest.update(f"{path.name} {size}\n".encode())
        with open(path, "rb") as file:
            for block in range(_NUM_BLOCKS):
                file.seek(block * max(0, size - _BLOCK_BYTES) // (_NUM_BLOCKS - 1))
                digest.update(file.read(_BLOCK_BYTES))
    return digest.hexdigest()


def calibration_content(calibration: Calibration, folder: str | Path) -> dict[str, Any]:
    """What `read_calibration` needs to find in the file."""
    return {
        "temperature": calibration.temperature,
        "bias": calibration.bias,
        "threshold": calibration.threshold,
        "weights": fingerprint(folder),
    }
