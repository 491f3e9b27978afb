"""The main job in order: data, mining, training, the first stage, two evaluations. Every stage skips what is done.

Each stage is called as its own command would call it, with words on its command line, so that a run here and the
same commands typed by hand do the same. A stage's own file (--mine_config, --train_config) counts more than the
defaults of this command and less than what was said to it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sharprank.cli.options import flags_in_file, parse
from sharprank.errors import UserError
from sharprank.formats.collections import collection_paths
from sharprank.formats.fusion import FUSION_FILE, write_fusion
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


@dataclass(frozen=True, slots=True)
class StageWords:
    """The words after a stage's command, by what they count against the stage's own file.

    Attributes:
        file: that file, if there is one.
        fixed: flags that the file may not set.
        said: words that count more than the file, which is named among them.
        beneath: words that count less: what `run` has as a default and was not told.
    """

    file: str | None
    fixed: frozenset[str]
    said: list[str]
    beneath: list[str]


_KEYS = ("query_key", "positive_key", "negative_key")


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
    rank_first_stage(config, plan.mine, plan.data.collection, plan.data.split, path=plan.first_stage)
    rank_first_stage(config, plan.mine, *plan.data.validation, path=Path(plan.validation.run))
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
    data = plan_data(config)
    mined, reranker = config.folder / "mined.jsonl", config.folder / "reranker"
    first_stage = config.folder / f"{config.first_stage}.trec"
    mine = parse_stage(MineConfig, mine_words(config, data, mined), "sharprank mine")
    training = (ModelOptions, DataOptions, RerankTrainingArguments)
    options, rows, args = parse_stage(training, train_words(config, mined, reranker), "sharprank train")
    _check_models(config, mine, options, rows)
    # The validation queries are apart already, with the first stage's whole lists: no more are kept from training.
    train = (options, replace(rows, validation_split=rows.validation_split or 0.0), args)
    scoring = {"max_length": rows.max_len, "trust_remote_code": options.trust_remote_code or None}
    evaluations = tuple(
        _parse(
            EvaluationConfig,
            evaluate_words(config, data, model=model, scoring=scoring, run=first_stage, output=output),
            "sharprank evaluate",
        )
        for model, output in (
            (options.model_name_or_path, config.folder / "untrained.json"),
            (str(reranker), config.folder / "trained.json"),
        )
    )
    folder, split = data.validation
    words = evaluate_words(
        config,
        replace(data, collection=folder, split=split),
        model=str(reranker),
        scoring=scoring,
        run=config.folder / f"{config.first_stage}.validation.trec",
        output=config.folder / "validation.json",
    )
    validation = _parse(EvaluationConfig, words, "sharprank evaluate")
    for stage in (mine, train[1], *evaluations, validation):
        stage.check()
    return Plan(data, mine, train, first_stage, (evaluations[0], evaluations[1]), validation)


def _check_models(config: RunConfig, mine: Any, options: Any, rows: Any) -> None:
    """All models are there, and the pair length fits the reranker: known now, not after an hour of mining."""
    from sharprank.mining.offers import encoder_configs

    own = [mine] if config.first_stage == "dense" else []
    for bi_encoder in [*own, *(flags for _, flags in encoder_configs(mine))]:
        _check_bi_encoder(bi_encoder)
    options.open().pair_tokenizer(rows.max_len)


def _check_bi_encoder(mine: Any) -> None:
    from sharprank.models.encoder_config import read_encoder_config
    from sharprank.models.minilm import resolve_model

    folder = resolve_model(mine.model_name_or_path)
    try:
        read_encoder_config(
            folder,
            name=mine.model_name_or_path,
            pooling=mine.pooling_method,
            query_instruction=mine.query_instruction_for_retrieval,
            query_format=mine.query_instruction_format_for_retrieval,
            passage_instruction=mine.passage_instruction_for_retrieval,
            cache_dir=mine.cache_dir,
        )
    except UserError as error:
        raise UserError(error.problem, fix=f"{error.fix}; flags of mining go into the file of --mine_config") from error


def _report(config: RunConfig, plan: Plan) -> str:
    """Measure the model before and after training, unless the report on just these and its weight are there."""
    from sharprank.evaluation.evaluate import evaluate, read_task
    from sharprank.evaluation.fusion import fused
    from sharprank.evaluation.scorers import prepare_checkpoint

    path, about = config.folder / "report.txt", config.folder / "report.json"
    weights = sorted(plan.reranker.glob("*.safetensors"))
    judged = [(plan.data.collection, plan.data.split), plan.data.validation]
    read = [path for folder, split in judged for path in collection_paths(folder, split=split)]
    inputs = describe_inputs([plan.first_stage, plan.validation.run, *weights, *read])
    start = plan.train[0]
    used = {**asdict(start.asked()), "config_name": start.config_name, "tokenizer_name": start.tokenizer_name}
    settings = {"untrained": {**plan.evaluations[0].settings(), **used}, "inputs": inputs}
    if not config.overwrite and path.is_file() and _is_about(about, {"settings": settings, **_fusion_file(plan)}):
        say(f"{path}: done before")
        return path.read_text(encoding="utf-8").rstrip("\n")
    verdict = _verdict(config, plan)
    untrained = evaluate(plan.evaluations[0], prepare=lambda _, one: prepare_checkpoint(start.open(), one))
    trained = evaluate(plan.evaluations[1])
    together = fused(read_task(plan.evaluations[1]), trained.models[0], weight=verdict.fit.weight, seed=config.seed)
    text = render(untrained, trained, together) + "\n" + recommend(verdict)
    with atomic_open(path) as file:
        file.write(text + "\n")
    write_json(about, {**manifest(command=["run"], settings=settings, inputs=inputs), **_fusion_file(plan)})
    return text


def _is_about(about: Path, expected: Mapping[str, Any]) -> bool:
    if not about.is_file():
        return False
    record = json.loads(about.read_text(encoding="utf-8"))
    return all(record.get(name) == value for name, value in expected.items())


def _fusion_file(plan: Plan) -> dict[str, Any]:
    """The weight beside the reranker as it is now: training may have left its own there, or removed ours."""
    return {"fusion": describe_inputs([plan.reranker / FUSION_FILE])}


def _verdict(config: RunConfig, plan: Plan) -> Verdict:
    """What the validation queries say, written beside the reranker."""
    from sharprank.evaluation.evaluate import evaluate, read_task
    from sharprank.evaluation.fusion import verdict_on

    result = evaluate(plan.validation)
    verdict = verdict_on(read_task(plan.validation), result.models[0], seed=config.seed)
    write_fusion(plan.reranker, verdict, first_stage=f"{config.first_stage}, top {config.depth}")
    return verdict


def mine_words(config: RunConfig, data: RunData, output: Path) -> StageWords:
    """The words after `sharprank mine`."""
    return _stage_words(
        config,
        config.mine_config,
        fixed={
            "input_file": data.train_data,
            "sub_data_name": None,
            "candidate_pool": data.candidate_pool,
            "output_file": output,
            **config.settings(*_KEYS),
        },
        chosen={
            "model_name_or_path": ("embedder_name_or_path", config.embedder_name_or_path),
            "embedding_cache": ("", embedding_cache(config)),
            **_same(
                config, "range_for_sampling", "negative_number", "top_up", "on_bad_row", "device", "dtype", "seed",
                "overwrite",
            ),
        },
    )  # fmt: skip


def train_words(config: RunConfig, mined: Path, output: Path) -> StageWords:
    """The words after `sharprank train`."""
    bf16 = {"auto": None, "bfloat16": True, "float32": False}[config.dtype]
    return _stage_words(
        config,
        config.train_config,
        fixed={"train_data": mined, "output_dir": output, **config.settings(*_KEYS)},
        chosen={
            "overwrite_output_dir": ("overwrite", config.overwrite),
            "use_cpu": ("device", _on_cpu(config) or None),
            "report_to": ("", "none"),
            "bf16": ("dtype", bf16),
            **_same(
                config, "model_name_or_path", "train_group_size", "per_device_train_batch_size", "num_train_epochs",
                "max_steps", "learning_rate", "distillation_weight", "max_len", "dropout", "seed",
            ),
        },
    )  # fmt: skip


def _on_cpu(config: RunConfig) -> bool:
    """Said aloud, because TrainingArguments takes --bf16 on a CPU only together with --use_cpu."""
    from sharprank.models.devices import choose_device

    return choose_device(config.device).type == "cpu"


def evaluate_words(
    config: RunConfig, data: RunData, *, model: str, scoring: Mapping[str, Any], run: Path, output: Path
) -> list[str]:
    """The words after `sharprank evaluate`; `scoring` says how pairs are read, which is as in training."""
    return _words(
        data=data.collection,
        split=data.split,
        run=run,
        output_file=output,
        overwrite=True,
        **scoring,
        **config.settings("depth", "measures", "device", "dtype", "seed"),
        model_name_or_path=[model],
    )


def _same(config: RunConfig, *names: str) -> dict[str, tuple[str, Any]]:
    """Flags that a stage and `run` call the same, as `_stage_words` takes them."""
    return {name: (name, value) for name, value in config.settings(*names).items()}


def _stage_words(
    config: RunConfig, file: str | None, *, fixed: Mapping[str, Any], chosen: Mapping[str, tuple[str, Any]]
) -> StageWords:
    """A stage's words from its own file, from what `run` was given and from what `run` has as a default.

    Args:
        fixed: flags of the stage on which other stages build.
        chosen: the stage's other flags: {name: (flag of `run` that it follows, or "" for none, value)}.
    """
    given = {name: value for name, (source, value) in chosen.items() if source in config.given}
    left = {name: value for name, (_, value) in chosen.items() if name not in given}
    return StageWords(file, frozenset(fixed), _words(config=file, **fixed, **given), _words(**left))


def parse_stage(config_class: Any, words: StageWords, prog: str) -> Any:
    """A stage's settings.

    Raises:
        UserError: what cannot be parsed; or its file says what only `run` can say, because other stages build on it.
    """
    if words.file is not None:
        taken = sorted(words.fixed & flags_in_file(config_class, words.file, prog=prog))
        if taken:
            raise UserError(
                f"{words.file}: {taken[0]} is for `sharprank run` to set, since other stages build on it",
                fix="leave it out there; `sharprank run --help` lists what run itself is told",
            )
    return parse(config_class, words.said, prog=prog, description="", beneath=words.beneath)


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
