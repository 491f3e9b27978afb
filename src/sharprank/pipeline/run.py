"""The main job in order: data, mining, training, the first stage, two evaluations. Every stage skips what is done.

Each stage is called as its own command would call it, with words on its command line, so that a run here and the
same commands typed by hand do the same.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sharprank.cli.options import parse
from sharprank.formats.fusion import write_fusion
from sharprank.formats.writers import atomic_open, write_json
from sharprank.metrics.verdict import Verdict, recommend
from sharprank.pipeline.config import RunConfig
from sharprank.pipeline.data import RunData, plan_data, prepare_data
from sharprank.pipeline.first_stage import embedding_cache, rank_first_stage
from sharprank.pipeline.report import render
from sharprank.progress import say
from sharprank.provenance import describe_inputs, manifest


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is going to happen, checked before any of it does."""

    data: RunData
    mine: Any
    train: tuple[Any, Any, Any]
    first_stage: Path
    evaluations: tuple[Any, Any]
    validation: Any

    @property
    def reranker(self) -> Path:
        """The folder of the trained model."""
        return Path(self.train[2].output_dir)


def run(config: RunConfig) -> str:
    """Do the main job on the user's data; returns the report.

    Raises:
        UserError: whatever the user can fix.
    """
    from sharprank.mining.mine import mine
    from sharprank.training.train import train

    plan = make_plan(config)
    say("1/5 data")
    prepare_data(config, plan.data)
    say("2/5 mining hard negatives")
    mine(plan.mine)
    say("3/5 training")
    train(*plan.train)
    say("4/5 first stage")
    rank_first_stage(config, plan.data.collection, plan.data.split, path=plan.first_stage)
    rank_first_stage(config, *plan.data.validation, path=Path(plan.validation.run))
    say("5/5 evaluating")
    return _report(config, plan)


def make_plan(config: RunConfig) -> Plan:
    """Parse and check the settings of every stage.

    Raises:
        UserError: a setting of any stage that cannot work.
    """
    from sharprank.evaluation.config import EvaluationConfig
    from sharprank.mining.config import MineConfig
    from sharprank.training.config import DataOptions, ModelOptions, RerankTrainingArguments

    config.check()
    _check_models(config)
    data = plan_data(config)
    mined, reranker = config.folder / "mined.jsonl", config.folder / "reranker"
    first_stage = config.folder / f"{config.first_stage}.trec"
    mine = _parse(MineConfig, mine_words(config, data, mined), "sharprank mine")
    training = (ModelOptions, DataOptions, RerankTrainingArguments)
    options, rows, args = _parse(training, train_words(config, mined, reranker), "sharprank train")
    # The validation queries are apart already, with the first stage's whole lists: no more are kept from training.
    train = (options, replace(rows, validation_split=rows.validation_split or 0.0), args)
    evaluations = tuple(
        _parse(
            EvaluationConfig,
            evaluate_words(config, data, model=model, run=first_stage, output=output),
            "sharprank evaluate",
        )
        for model, output in (
            (config.model_name_or_path, config.folder / "untrained.json"),
            (str(reranker), config.folder / "trained.json"),
        )
    )
    folder, split = data.validation
    words = evaluate_words(
        config,
        replace(data, collection=folder, split=split),
        model=str(reranker),
        run=config.folder / f"{config.first_stage}.validation.trec",
        output=config.folder / "validation.json",
    )
    validation = _parse(EvaluationConfig, words, "sharprank evaluate")
    for stage in (mine, train[1], *evaluations, validation):
        stage.check()
    return Plan(data, mine, train, first_stage, (evaluations[0], evaluations[1]), validation)


def _check_models(config: RunConfig) -> None:
    """Both models are there, and the pair length fits the reranker: known now, not after an hour of mining."""
    from sharprank.models.checkpoint import open_reranker
    from sharprank.models.minilm import resolve_model

    resolve_model(config.embedder_name_or_path)
    open_reranker(config.model_name_or_path).pair_tokenizer(config.max_len)


def _report(config: RunConfig, plan: Plan) -> str:
    """Measure the model before and after training, unless the report on just these is there."""
    from sharprank.evaluation.evaluate import evaluate, read_task
    from sharprank.evaluation.fusion import fused

    path, about = config.folder / "report.txt", config.folder / "report.json"
    weights = sorted(plan.reranker.glob("*.safetensors"))
    inputs = describe_inputs([plan.first_stage, plan.validation.run, *weights, plan.data.collection])
    settings = {"untrained": plan.evaluations[0].settings(), "inputs": inputs}
    if path.is_file() and about.is_file() and json.loads(about.read_text(encoding="utf-8"))["settings"] == settings:
        say(f"{path}: done before")
        return path.read_text(encoding="utf-8").rstrip("\n")
    verdict = _verdict(config, plan)
    untrained, trained = (evaluate(evaluation) for evaluation in plan.evaluations)
    together = fused(read_task(plan.evaluations[1]), trained.models[0], weight=verdict.fit.weight, seed=config.seed)
    text = render(untrained, trained, together) + "\n" + recommend(verdict)
    with atomic_open(path) as file:
        file.write(text + "\n")
    write_json(about, manifest(command=["run"], settings=settings, inputs=inputs))
    return text


def _verdict(config: RunConfig, plan: Plan) -> Verdict:
    """What the validation queries say, written beside the reranker."""
    from sharprank.evaluation.evaluate import evaluate, read_task
    from sharprank.evaluation.fusion import verdict_on

    result = evaluate(plan.validation)
    verdict = verdict_on(read_task(plan.validation), result.models[0], seed=config.seed)
    write_fusion(plan.reranker, verdict, first_stage=f"{config.first_stage}, top {config.depth}")
    return verdict


def mine_words(config: RunConfig, data: RunData, output: Path) -> list[str]:
    """The words after `sharprank mine`."""
    return _words(
        config=config.mine_config,
        input_file=data.train_data,
        sub_data_name=data.sub_data_name,
        candidate_pool=data.candidate_pool,
        output_file=output,
        model_name_or_path=config.embedder_name_or_path,
        embedding_cache=embedding_cache(config),
        **config.settings(
            "range_for_sampling", "negative_number", "top_up", "on_bad_row", "query_key", "positive_key",
            "negative_key", "device", "dtype", "seed", "overwrite",
        ),
    )  # fmt: skip


def train_words(config: RunConfig, mined: Path, output: Path) -> list[str]:
    """The words after `sharprank train`."""
    return _words(
        config=config.train_config,
        train_data=mined,
        output_dir=output,
        overwrite_output_dir=config.overwrite,
        use_cpu=_on_cpu(config) or None,
        report_to="none" if config.train_config is None else None,
        bf16={"auto": None, "bfloat16": True, "float32": False}[config.dtype],
        **config.settings(
            "model_name_or_path", "train_group_size", "per_device_train_batch_size", "num_train_epochs", "max_steps",
            "learning_rate", "distillation_weight", "max_len", "dropout", "query_key", "positive_key", "negative_key",
            "seed",
        ),
    )  # fmt: skip


def _on_cpu(config: RunConfig) -> bool:
    """Said aloud, because TrainingArguments takes --bf16 on a CPU only together with --use_cpu."""
    from sharprank.models.devices import choose_device

    return choose_device(config.device).type == "cpu"


def evaluate_words(config: RunConfig, data: RunData, *, model: str, run: Path, output: Path) -> list[str]:
    """The words after `sharprank evaluate`."""
    return _words(
        data=data.collection,
        split=data.split,
        run=run,
        output_file=output,
        overwrite=True,
        max_length=config.max_len,
        **config.settings("depth", "measures", "device", "dtype", "seed"),
        model_name_or_path=[model],
    )


def _words(**flags: object) -> list[str]:
    """Flags as words; None is left to the command's default."""
    words: list[str] = []
    for name, value in flags.items():
        if isinstance(value, list):
            words += [f"--{name}", *map(str, value)]
        elif value is not None:
            words.append(f"--{name}={value}")
    return words


def _parse(config_class: Any, words: Sequence[str], prog: str) -> Any:
    return parse(config_class, words, prog=prog, description="")
