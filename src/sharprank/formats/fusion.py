"""`fusion.json` beside a reranker: how much the first stage's score should count beside it, and what says so."""

from __future__ import annotations

import json
import math
from pathlib import Path

from sharprank.errors import UserError
from sharprank.formats.writers import write_json
from sharprank.metrics.verdict import Verdict
from sharprank.progress import say

FUSION_FILE = "fusion.json"
AUTO = "auto"


def write_fusion(folder: str | Path, verdict: Verdict | None, *, first_stage: str) -> None:
    """Write a verdict into a reranker's folder; without a decision there is no weight, so an older file goes.

    Args:
        verdict: None, or an undecided one, leaves no file.
        first_stage: what was fused with, in words: a weight holds for that one alone.
    """
    if verdict is None or verdict.weight is None:
        (Path(folder) / FUSION_FILE).unlink(missing_ok=True)
        return
    best = verdict.best
    record = {
        "use": verdict.use,
        "weight": verdict.weight,
        "first_stage": first_stage,
        "num_queries": best.num_queries,
        "measure": verdict.fit.measure,
        "values": {
            "first stage": best.first,
            "reranker": verdict.alone[0].reranked,
            "fused": verdict.fused[0].reranked,
        },
        "p": best.p,
        "fitted_weight": verdict.fit.weight,
        "by_weight": {f"{weight:g}": value for weight, value in verdict.fit.by_weight.items()},
    }
    write_json(Path(folder) / FUSION_FILE, record)


def check_weight(asked: str | None) -> None:
    """Refuse what is neither a share nor `auto`, before anything is read.

    Raises:
        UserError: naming the flag.
    """
    if asked in (None, AUTO):
        return
    try:
        weight = float(str(asked))
    except ValueError:
        weight = math.nan
    if not 0 <= weight <= 1:
        raise UserError(f"--first_stage_weight {asked} is no share", fix="use a number from 0 to 1, or auto")


def weight_beside(model: str, folder: str | Path | None, *, asked: str) -> float:
    """The weight asked for; with `auto` the one stored beside the model, and it is said what it was fitted with.

    Args:
        model: as the user calls it.
        folder: where its files lie; None where they are not here.

    Raises:
        UserError: nothing is stored.
    """
    if asked != AUTO:
        return float(asked)
    weight, first_stage = read_fusion(folder or model)
    say(f"note: the first stage counts {weight:g} beside {model}, as fitted with {first_stage}")
    return weight


def stored_weight(folder: str | Path | None) -> float | None:
    """The weight stored in a reranker's folder; None where there is none.

    Raises:
        UserError: it is damaged.
    """
    return read_fusion(folder)[0] if folder is not None and (Path(folder) / FUSION_FILE).is_file() else None


def read_fusion(folder: str | Path) -> tuple[float, str]:
    """(weight of the first stage, the first stage it was fitted for) as stored beside a reranker.

    Raises:
        UserError: there is none, or it is damaged.
    """
    path = Path(folder) / FUSION_FILE
    fix = "name the weight: --first_stage_weight 0.3"
    if not path.is_file():
        raise UserError(f"{folder} holds no {FUSION_FILE} with a fitted weight", fix=fix)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        weight, first_stage = float(record["weight"]), str(record["first_stage"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged", fix=fix) from error
    if not 0 <= weight <= 1:
        raise UserError(f"{path}: weight {weight} is not between 0 and 1", fix=fix)
    return weight, first_stage
