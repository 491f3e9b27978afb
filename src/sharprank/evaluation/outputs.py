"""The files an evaluation writes: one JSON with everything, a TREC run for each model, and an HTML report.

Each says by which settings it was made (the JSON itself, or `<run>.stats.json` beside a run), and is replaced only by
the same settings or on request.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from sharprank.errors import UserError
from sharprank.evaluation.config import EvaluationConfig, model_names
from sharprank.evaluation.html_report import write_report
from sharprank.evaluation.result import EvaluationResult
from sharprank.evaluation.task import RankingTask
from sharprank.formats.html.page import check_report
from sharprank.formats.trec import check_ids, write_run
from sharprank.formats.writers import check_writable, refuse_other_inputs, refuse_other_settings, write_json
from sharprank.provenance import describe_inputs, manifest


def output_runs(config: EvaluationConfig) -> list[Path]:
    """Where each model's run goes: `--output_run` itself, or with several models one file each beside it.

    Example: `run.trec` for the models `a/x` and `b` becomes `run.x.trec` and `run.b.trec`.
    """
    if config.output_run is None:
        return []
    path = Path(config.output_run)
    if len(config.model_name_or_path) == 1:
        return [path]
    endings = [re.sub(r"[^\w.-]+", "-", name).strip("-") for name in model_names(config.model_name_or_path)]
    paths = [path.with_name(f"{path.stem}.{ending}{path.suffix}") for ending in endings]
    if len(set(paths)) < len(paths):
        raise UserError(
            f"the runs of {', '.join(config.model_name_or_path)} would go to the same file",
            fix="evaluate these models one by one, each with its own --output_run",
        )
    return paths


def check_outputs(config: EvaluationConfig) -> None:
    """Refuse outputs that cannot be written, or that something else made.

    Raises:
        UserError: naming the flag or the file.
    """
    runs = output_runs(config)
    result = [Path(config.output_file)] if config.output_file else []
    if {path.resolve() for path in runs} & {path.resolve() for path in result}:
        raise UserError(
            f"--output_file and --output_run are both {config.output_file}", fix="give them different names"
        )
    if config.report:
        if Path(config.report).resolve() in {path.resolve() for path in [*runs, *result]}:
            raise UserError(f"--report and another output are both {config.report}", fix="give them different names")
        check_report(config.report, overwrite=config.overwrite)
    for path, manifest_path in _manifests(config):
        check_writable(path, flag="--output_file" if path == manifest_path else "--output_run")
        _refuse_others(path, config, manifest_path=manifest_path)


def _manifests(config: EvaluationConfig) -> list[tuple[Path, Path]]:
    """The outputs, each with the file that says how it was made."""
    runs = [(path, _beside(path)) for path in output_runs(config)]
    return runs + ([(Path(config.output_file), Path(config.output_file))] if config.output_file else [])


def check_inputs(config: EvaluationConfig, task: RankingTask) -> None:
    """Refuse to replace what the same settings made from other data."""
    for path, manifest_path in _manifests(config):
        inputs = describe_inputs(task.input_paths)
        refuse_other_inputs(path, inputs, manifest_path=manifest_path, overwrite=config.overwrite)


def check_run_ids(config: EvaluationConfig, task: RankingTask) -> None:
    """Refuse ids with white space where a TREC run is to be written, which cannot hold them."""
    if config.output_run is None:
        return
    lists = [*task.candidates.values(), *task.tails.values()]
    names = [*task.candidates, *(passage_id for ids in lists for passage_id in ids)]
    check_ids(names, fix="use ids without white space, or no --output_run")


def write_outputs(config: EvaluationConfig, result: EvaluationResult, task: RankingTask) -> None:
    """Write what the config asks for; each file appears only when it is complete."""
    if not (config.output_file or config.output_run or config.report):
        return
    command = ["sharprank", "evaluate", *_flags(config)]
    about = manifest(command=command, settings=config.settings(), inputs=describe_inputs(task.input_paths))
    for path, model in zip(output_runs(config), result.models, strict=False):
        write_run(path, model.run, tag=model.name)
        write_json(_beside(path), {**about, "model": model.path})
    if config.output_file:
        write_json(config.output_file, {**about, **result.as_json(per_query=True)})
    if config.report:
        write_report(config.report, result, task, about=about)


def _flags(config: EvaluationConfig) -> list[str]:
    """The flags that give this config again (those that are not at their default)."""
    flags: list[str] = []
    for name, value in vars(config).items():
        if value != EvaluationConfig.__dataclass_fields__[name].default:
            flags += [f"--{name}", *(value if isinstance(value, list) else [str(value)])]
    return [shlex.quote(flag) for flag in flags]


def _beside(run: Path) -> Path:
    return run.with_name(run.name + ".stats.json")


def _refuse_others(path: Path, config: EvaluationConfig, *, manifest_path: Path) -> None:
    try:
        refuse_other_settings(path, config.settings(), manifest_path=manifest_path, overwrite=config.overwrite)
    except (ValueError, AttributeError) as error:  # not JSON, or JSON of another shape
        raise UserError(
            f"{path} exists and was not written by `sharprank evaluate`",
            fix="name another output, or pass --overwrite True",
        ) from error
