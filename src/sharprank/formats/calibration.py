"""A calibration's file: temperature, bias and threshold, and the weights they were fitted on.

`sharprank_calibration.json` in a model's folder is found by itself. For a model of the hub, whose folder is a cache,
the file is anywhere, and named.
"""

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


def read_calibration(folder: str | Path | None, *, file: str | Path | None = None) -> Calibration | None:
    """The calibration stored with a model, or in a file that was named for it.

    Args:
        folder: the model's; None for one whose folder is not known.
        file: in the place of the model's own; it has to belong to these weights.

    Returns:
        None without one, or when the weights have changed since the model's own was fitted (which is said).

    Raises:
        UserError: it is damaged; a named file is missing or belongs to other weights.
    """
    if file is None and (folder is None or not (Path(folder) / CALIBRATION_FILE).is_file()):
        return None
    path = Path(file) if file is not None else Path(folder or "") / CALIBRATION_FILE
    calibration, weights = _read(path)
    if weights == (fingerprint(folder) if folder is not None else None):
        return calibration
    if file is not None:
        raise UserError(
            f"calibration {path} was fitted on other weights than this model's",
            fix="name the model's own, or run `sharprank calibrate` again",
        )
    say(f"note: {path} was fitted on other weights and is not used; run `sharprank calibrate` again")
    return None


def check_calibration(path: str | Path) -> None:
    """Refuse a file that is no calibration, before any model loads.

    Raises:
        UserError: naming it.
    """
    _read(Path(path))


def _read(path: Path) -> tuple[Calibration, str]:
    """The calibration in a file, and the fingerprint of the weights that it was fitted on."""
    again = "remove it, or run `sharprank calibrate` again"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        numbers = [float(content[name]) for name in ("temperature", "bias", "threshold")]
        weights = str(content["weights"])
    except OSError as error:
        raise UserError(
            f"calibration {path} cannot be read: {error.strerror}", fix="name a file of `sharprank calibrate`"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged: {error!r}", fix=again) from error
    if not all(map(math.isfinite, numbers)) or numbers[0] <= 0:
        raise UserError(f"{path} is damaged: temperature {numbers[0]}, bias {numbers[1]}", fix=again)
    return Calibration(*numbers), weights


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
