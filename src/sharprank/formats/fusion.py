"""`fusion.json` beside a reranker: how much the first stage's score should count beside it, and what says so."""

from __future__ import annotations

import json
from pathlib import Path

from sharprank.errors import UserError
from sharprank.formats.writers import write_json
from sharprank.metrics.verdict import Verdict

FUSION_FILE = "fusion.json"


def write_fusion(folder: str | Path, verdict: Verdict, *, first_stage: str) -> None:
    """Write a verdict into a reranker's folder.

    Args:
        first_stage: what was fused with, in words: a weight holds for that one alone.
    """
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
