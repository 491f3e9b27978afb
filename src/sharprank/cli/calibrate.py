"""`sharprank calibrate`: parse the flags, fit, store beside the model, print the figures on stdout."""

from __future__ import annotations

import json

from sharprank.cli.options import parse, run_command
from sharprank.evaluation.calibrate_config import CalibrateConfig

PROG = "sharprank calibrate"
DESCRIPTION = (
    "Make a reranker's scores probabilities: fit a temperature and a bias on validation data, find a threshold, store "
    "them beside the model. `compute_score(normalize=True)` and `sharprank rerank` then use them."
)


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return run_command(lambda: _calibrate(argv))


def _calibrate(argv: list[str] | None) -> None:
    config = parse(CalibrateConfig, argv, prog=PROG, description=DESCRIPTION)
    from sharprank.evaluation.calibrate import calibrate
    from sharprank.evaluation.calibrate_report import render_calibration

    result = calibrate(config)
    if config.output_format == "json":
        print(json.dumps(result.as_json(), ensure_ascii=False, indent=2))
    else:
        print(render_calibration(result))
