"""The training stage from settings to a saved reranker, in the order it happens.

Rows are read and checked first, then the output folder, then the model is loaded; the arithmetic is said aloud
before the first step. The same command run again continues from the last checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accelerate.utils import broadcast_object_list
from transformers import EarlyStoppingCallback, set_seed

from sharprank.errors import UserError
from sharprank.formats.rows import BadRows, RowKeys, read_rows
from sharprank.formats.sources import Source
from sharprank.losses.catalog import LOSSES
from sharprank.models.checkpoint import LOADS_WITH, Checkpoint, open_reranker
from sharprank.models.cross_encoder import save_cross_encoder
from sharprank.models.devices import bf16_is_fast, token_budget
from sharprank.models.dropout import set_dropout, use_byte_dropout
from sharprank.models.loading import quiet_transformers
from sharprank.progress import say
from sharprank.provenance import describe_inputs, versions
from sharprank.records import TrainRow
from sharprank.training.card import write_card
from sharprank.training.config import DataOptions, ModelOptions, RerankTrainingArguments
from sharprank.training.engines import whole_weights
from sharprank.training.groups import GroupDataset
from sharprank.training.ranking import RankingEvaluation
from sharprank.training.resume import RunState, find_run, prepare_folder, write_run
from sharprank.training.trainer import RerankTrainer

# What may change between two runs of the same training without changing its result.
_DECIDING = (
    "learning_rate",
    "num_train_epochs",
    "max_steps",
    "gradient_accumulation_steps",
    "warmup_steps",
    "lr_scheduler_type",
    "weight_decay",
    "max_grad_norm",
    "adam_beta1",
    "adam_beta2",
    "adam_epsilon",
    "optim",
    "seed",
    "data_seed",
    "bf16",
    "fp16",
    "dataloader_drop_last",
    "loss",
)


@dataclass(frozen=True)
class TrainingResult:
    """Where the reranker is, and what the run measured on its way."""

    output_dir: Path
    measures: dict[str, float] = field(default_factory=dict)
    log_history: list[dict[str, Any]] = field(default_factory=list)
    was_finished: bool = False


def train(model_options: ModelOptions, data: DataOptions, args: RerankTrainingArguments) -> TrainingResult:
    """Train a reranker as the three groups of settings say; returns when it is saved.

    Raises:
        UserError: anything in the settings, the data or the model that the user can mend.
    """
    model_options.check()
    data.check()
    _check_arguments(data, args)
    rows = _training_rows(data)
    eval_rows = _evaluation_rows(data)
    if eval_rows:
        args.rank_while_training()
    checkpoint = model_options.open()
    pair_tokenizer = checkpoint.pair_tokenizer(data.max_len, query_max_length=data.query_max_len)
    max_length = pair_tokenizer.max_length
    settings = _settings(model_options, data, args, num_rows=len(rows), max_length=max_length)
    output_dir = Path(str(args.output_dir))
    state = _agreed_state(output_dir, settings, args)
    if state.finished:
        say(f"{output_dir}: this training is finished; --overwrite_output_dir True repeats it")
        return TrainingResult(output_dir, was_finished=True)
    _say_arithmetic(rows, eval_rows, data, args, max_length)

    set_seed(args.seed)
    with whole_weights(args):
        model = _model(checkpoint.trained_with(max_length=max_length), model_options, seed=args.seed)
    trainer = _trainer(
        model,
        args,
        dataset=GroupDataset(rows, pair_tokenizer, group_size=data.train_group_size, seed=args.seed),
        eval_rows=eval_rows,
    )
    if state.checkpoint:
        say(f"continuing from {state.checkpoint}")
    with quiet_transformers():
        trainer.train(resume_from_checkpoint=args.resume_from_checkpoint or state.checkpoint)
        return _finish(trainer, model_options, settings, LOADS_WITH[checkpoint.kind])


def _agreed_state(output_dir: Path, settings: dict[str, Any], args: RerankTrainingArguments) -> RunState:
    """What the first rank finds in the output folder (and clears there), told to all ranks."""
    agreed: list[Any] = [None]
    if args.process_index == 0:
        agreed[0] = find_run(output_dir, settings, overwrite=args.overwrite_output_dir)
        if not agreed[0].finished:
            prepare_folder(output_dir, settings, agreed[0], overwrite=args.overwrite_output_dir)
    return broadcast_object_list(agreed)[0]


def _check_arguments(data: DataOptions, args: RerankTrainingArguments) -> None:
    if args.early_stopping_patience is not None and data.eval_data is None:
        raise UserError("--early_stopping_patience needs something to measure", fix="add --eval_data ROWS")
    if data.eval_data is None and args.ranks_while_training:
        raise UserError("--eval_strategy asks for measures, but there is nothing to rank", fix="add --eval_data ROWS")
    if args.label_smoothing_factor:
        say("note: --label_smoothing_factor has no meaning for ranking losses and is ignored")
    if args.bf16 and args.device.type == "cpu" and not bf16_is_fast(args.device):
        say("note: this CPU has no fast bfloat16; --bf16 will be slower than float32 here")


def _training_rows(data: DataOptions) -> list[TrainRow]:
    bad_rows = BadRows("skip" if data.on_bad_row == "skip" else "error")
    keys = RowKeys(query=data.query_key, positives=data.positive_key, negatives=data.negative_key)
    rows = list(read_rows(Source(data.train_data, data.sub_data_name), keys=keys, bad_rows=bad_rows))
    for reason, count in sorted(bad_rows.counts.items()):
        say(f"note: {count} rows of {data.train_data} skipped: {reason}")
    return _with_negatives(rows, data.train_data)


def _evaluation_rows(data: DataOptions) -> list[TrainRow]:
    if data.eval_data is None:
        return []
    keys = RowKeys(query=data.query_key, positives=data.positive_key, negatives=data.negative_key)
    source = Source(data.eval_data, data.eval_sub_data_name, data.eval_split)
    return _with_negatives(list(read_rows(source, keys=keys, default_split="test")), data.eval_data)


def _with_negatives(rows: list[TrainRow], where: str) -> list[TrainRow]:
    """Leave out rows that teach (or measure) nothing because they have no negative."""
    kept = [row for row in rows if row.negatives]
    if not kept:
        raise UserError(
            f"{where}: none of its {len(rows)} rows has a negative", fix="mine some first: sharprank mine --help"
        )
    if len(kept) < len(rows):
        say(f"note: {len(rows) - len(kept)} of {len(rows)} rows of {where} have no negatives and are left out")
    return kept


def _settings(
    model_options: ModelOptions, data: DataOptions, args: RerankTrainingArguments, *, num_rows: int, max_length: int
) -> dict[str, Any]:
    """The settings that decide the result of the run."""
    values = args.to_dict()
    return {
        **model_options.settings(),
        "train_data": describe_inputs([data.train_data]),
        "sub_data_name": data.sub_data_name,
        "num_rows": num_rows,
        "train_group_size": data.train_group_size,
        "max_len": max_length,
        "query_max_len": data.query_max_len,
        "global_batch_size": args.per_device_train_batch_size * args.world_size,
        **{name: values[name] for name in _DECIDING},
    }


def _say_arithmetic(
    rows: list[TrainRow], eval_rows: list[TrainRow], data: DataOptions, args: RerankTrainingArguments, max_length: int
) -> None:
    negatives = sorted(len(row.negatives) for row in rows)
    batch = args.per_device_train_batch_size * args.world_size * args.gradient_accumulation_steps
    short = sum(count < data.train_group_size - 1 for count in negatives)
    say(
        f"{len(rows)} queries, {sum(len(row.positives) for row in rows)} positives, "
        f"{negatives[0]} to {negatives[-1]} negatives each (median {negatives[len(negatives) // 2]})"
        + (f"; {len(eval_rows)} queries to evaluate on" if eval_rows else "")
    )
    if short:
        say(f"note: {short} rows have fewer than {data.train_group_size - 1} negatives; their groups are smaller")
    steps = args.max_steps if args.max_steps > 0 else int(args.num_train_epochs * -(-len(rows) // batch))
    say(
        f"groups of {data.train_group_size}, pairs of at most {max_length} tokens; "
        f"{args.per_device_train_batch_size} groups x {args.world_size} processes x "
        f"{args.gradient_accumulation_steps} accumulation = {batch} groups a step; about {steps} steps"
    )


def _model(checkpoint: Checkpoint, options: ModelOptions, *, seed: int) -> Any:
    model = checkpoint.load(seed=seed, for_training=True, lora=options.lora())
    if options.dropout is not None:
        set_dropout(model, options.dropout)
    use_byte_dropout(model)
    return model


def _trainer(
    model: Any, args: RerankTrainingArguments, *, dataset: GroupDataset, eval_rows: list[TrainRow]
) -> RerankTrainer:
    budget = args.micro_batch_tokens or token_budget(
        args.device,
        num_layers=getattr(model.config, "num_hidden_layers", 12),
        hidden_size=getattr(model.config, "hidden_size", 768),
    )
    evaluation = None
    if eval_rows:
        evaluation = RankingEvaluation(
            eval_rows, dataset.pair_tokenizer, budget=budget, rank=args.process_index, world_size=args.world_size
        )
    trainer = RerankTrainer(
        model=model,
        args=args,
        train_dataset=dataset,
        processing_class=dataset.pair_tokenizer.tokenizer,
        loss=LOSSES[args.loss],
        micro_batch_tokens=budget,
        evaluation=evaluation,
    )
    if args.early_stopping_patience is not None:
        trainer.add_callback(EarlyStoppingCallback(args.early_stopping_patience))
    return trainer


def _finish(trainer: RerankTrainer, options: ModelOptions, settings: dict[str, Any], loads_with: str) -> TrainingResult:
    """Save the model (the best one, where there was an evaluation) with its card, and mark the run finished."""
    output_dir = Path(str(trainer.args.output_dir))
    measures = trainer.evaluate() if trainer.evaluation is not None else {}
    measures = {name.removeprefix("eval_"): value for name, value in measures.items() if name.startswith("eval_")}
    _save_reranker(trainer, output_dir, merged=options.use_lora and options.save_merged_lora_model)
    history = [dict(entry) for entry in trainer.state.log_history]
    if trainer.args.should_save:
        trainer.save_state()
        write_card(output_dir, settings=settings, measures=measures, versions=versions(), loads_with=loads_with)
        write_run(output_dir, settings, finished=True, measures=measures, versions=versions())
    return TrainingResult(output_dir, measures, history)


def _save_reranker(trainer: RerankTrainer, output_dir: Path, *, merged: bool) -> None:
    """Save what was trained; an adapter that is to be merged is saved first and merged as whoever loads it would."""
    adapter_dir = output_dir / "adapter"
    trainer.save_model(str(adapter_dir if merged else output_dir))
    if merged and trainer.args.should_save:
        checkpoint = open_reranker(str(adapter_dir))
        with whole_weights(trainer.args):
            save_cross_encoder(checkpoint.load(packed=False), checkpoint.tokenizer, output_dir)
