"""004's `test_reranker`: one model, rows {query, pos, neg}, one JSON file. The measuring is `evaluate`'s.

MAP, nDCG and the rest are per row over its own positives and negatives; precision, recall, F1 and AUC pool all pairs.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from sharprank.evaluation.config import EvaluationConfig, as_in_evaluate, shared_settings
from sharprank.evaluation.evaluate import Prepare, evaluate, read_task
from sharprank.evaluation.result import EvaluationResult
from sharprank.evaluation.scorers import prepare_scorer
from sharprank.formats.writers import check_writable, refuse_other_inputs, refuse_other_settings, write_json
from sharprank.provenance import describe_inputs, manifest

MEASURES = ("PairAccuracy", "Hit@1", "MRR", "MAP", "nDCG@1", "nDCG@3", "nDCG@5", "nDCG@10")


@dataclass(kw_only=True)
class RerankerTestConfig:
    """Flags of `sharprank test_reranker`."""

    model_path: str = field(metadata={"help": "the reranker: a folder, a hub id, or 'minilm'"})
    test_data: str = field(metadata={"help": "rows {query, pos, neg}: a file, a folder, a hub dataset"})
    output_file: str = field(metadata={"help": "JSON file for metrics, configuration and per-query values"})
    max_length: int | None = as_in_evaluate("max_length")
    threshold: float = as_in_evaluate("threshold")
    calibration: list[str] | None = as_in_evaluate("calibration")
    on_bad_row: Literal["error", "skip"] = as_in_evaluate("on_bad_row")
    overwrite: bool = field(default=False, metadata={"help": "replace an output that other settings made"})
    device: str | None = as_in_evaluate("device")
    dtype: str | None = as_in_evaluate("dtype")
    trust_remote_code: bool = as_in_evaluate("trust_remote_code")

    def evaluation(self) -> EvaluationConfig:
        """The same as `sharprank evaluate` would be told."""
        shared = {
            name: value for name, value in shared_settings(self).items() if name not in ("output_file", "overwrite")
        }
        return EvaluationConfig(
            model_name_or_path=[self.model_path], data=self.test_data, measures=list(MEASURES), **shared
        )


def test_reranker(config: RerankerTestConfig, *, prepare: Prepare = prepare_scorer) -> EvaluationResult:
    """Measure the model and write the JSON file.

    Raises:
        UserError: anything the user can fix, before the model loads wherever possible.
    """
    settings = {key: value for key, value in asdict(config).items() if key not in ("output_file", "overwrite")}
    config.evaluation().check()
    check_writable(config.output_file)
    refuse_other_settings(config.output_file, settings, manifest_path=config.output_file, overwrite=config.overwrite)
    inputs = describe_inputs(read_task(config.evaluation()).input_paths)
    refuse_other_inputs(config.output_file, inputs, manifest_path=config.output_file, overwrite=config.overwrite)
    result = evaluate(config.evaluation(), prepare=prepare)
    about = manifest(command=["sharprank", "test_reranker"], settings=settings, inputs=inputs)
    write_json(config.output_file, {**_content(config, result), **about})
    return result


def _content(config: RerankerTestConfig, result: EvaluationResult) -> dict[str, Any]:
    model = result.models[0]
    return {
        "model_path": config.model_path,
        "test_data": config.test_data,
        "metrics": {**model.measures, **(model.pairs or {}), **(model.mean_scores or {})},
        "chance": dict(result.chance),
        "counts": dict(result.counts),
        "config": {"max_length": config.max_length, "threshold": config.threshold, "measures": list(MEASURES)},
        "per_query": model.per_query,
    }
