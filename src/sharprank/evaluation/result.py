"""What an evaluation found: plain records, and the same as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from sharprank.metrics.calibration import Calibration
from sharprank.metrics.compare import Comparison
from sharprank.metrics.ranking import PerQuery, average
from sharprank.records import Run


@dataclass(frozen=True, kw_only=True)
class ModelResult:
    """One model's figures.

    Attributes:
        name, path: how tables call it, and what the user gave.
        pairs: pooled precision, recall, F1, AUC; None for a collection.
        why_no_auc: the reason where AUC is nan.
        mean_scores: mean raw score of positive and negative pairs; None for a collection.
        calibration: the one stored with the model, or named for it.
        at_fitted_threshold: threshold, precision, recall and F1 by it.
        per_query: {measure: {query_id: value}}.
        comparisons: against the first stage, one a measure; empty without one.
        depths: {depth: first measure if only so many passages had been re-ranked}; empty for rows.
        run: the re-ranked run.
        scores: the model's raw scores of the re-ranked candidates, whatever `run` adds to them.
        num_pairs, seconds: what was scored, and how long it took (without loading), all queries together.
        latencies: seconds of single queries, each scored alone; empty where none was timed.
    """

    name: str
    path: str
    per_query: PerQuery
    run: Run
    num_pairs: int
    seconds: float
    pairs: Mapping[str, float] | None = None
    why_no_auc: str | None = None
    mean_scores: Mapping[str, float] | None = None
    scores: Run = field(default_factory=dict)
    calibration: Calibration | None = None
    at_fitted_threshold: Mapping[str, float] | None = None
    comparisons: Sequence[Comparison] = ()
    depths: Mapping[int, float] = field(default_factory=dict)
    latencies: Sequence[float] = ()

    @property
    def latency(self) -> dict[str, float]:
        """Milliseconds that one query takes: half of them at most `p50_ms`, nine of ten at most `p90_ms`."""
        if not self.latencies:
            return {}
        ms = 1000 * np.asarray(self.latencies)
        return {"p50_ms": float(np.quantile(ms, 0.5)), "p90_ms": float(np.quantile(ms, 0.9)), "max_ms": float(ms.max())}

    @property
    def measures(self) -> dict[str, float]:
        """Each measure's mean over the queries."""
        return average(self.per_query)

    def as_json(self, *, per_query: bool) -> dict[str, Any]:
        data: dict[str, Any] = {"name": self.name, "path": self.path, "measures": self.measures}
        if self.pairs is not None:
            data |= {"pairs": dict(self.pairs), "why_no_auc": self.why_no_auc, "mean_scores": self.mean_scores}
        if self.at_fitted_threshold is not None:
            data["at_fitted_threshold"] = dict(self.at_fitted_threshold)
        if self.comparisons:
            data["against_first_stage"] = [
                {**asdict(c), "difference": c.difference, "verdict": c.verdict} for c in self.comparisons
            ]
        if self.depths:
            data["by_depth"] = dict(self.depths)
        data |= {"num_pairs": self.num_pairs, "seconds": round(self.seconds, 3)}
        if self.latencies:
            data["latency"] = {"queries": len(self.latencies), **{k: round(v, 3) for k, v in self.latency.items()}}
        return {**data, "per_query": self.per_query} if per_query else data


@dataclass(frozen=True, kw_only=True)
class EvaluationResult:
    """All models' figures on one set of queries.

    Attributes:
        title: what was ranked.
        measures: names, in the order asked for; the first is the headline.
        chance: expected value of each measure under a random order of the re-ranked candidates.
        first_stage_name, first_stage: the run the candidates came from; None for rows.
        hardware: what it ran on, where it was timed.
        counts, notes: what was left out or is missing.
        data_hash: of the judged queries' texts and their judgements.
    """

    title: str
    measures: Sequence[str]
    chance: Mapping[str, float]
    models: Sequence[ModelResult]
    first_stage_name: str = ""
    first_stage: PerQuery | None = None
    hardware: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    notes: Sequence[str] = ()
    data_hash: str = ""

    def as_json(self, *, per_query: bool = False) -> dict[str, Any]:
        """Plain data; nan becomes null."""
        first: dict[str, Any] | None = None
        if self.first_stage is not None:
            first = {"name": self.first_stage_name, "measures": average(self.first_stage)}
            if per_query:
                first["per_query"] = self.first_stage
        return _without_nan(
            {
                "data": {
                    "title": self.title,
                    "hash": self.data_hash,
                    "counts": dict(self.counts),
                    "notes": list(self.notes),
                },
                "measures": list(self.measures),
                "chance": dict(self.chance),
                "first_stage": first,
                **({"hardware": self.hardware} if self.hardware else {}),
                "models": [model.as_json(per_query=per_query) for model in self.models],
            }
        )


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
