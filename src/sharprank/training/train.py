"""The training stage from settings to a saved reranker, in the order it happens.

Rows are read and checked first, then the output folder, then the model is loaded; the arithmetic is said aloud
before the first step. The same command run again continues from the last checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from accelerate.utils import broadcast_object_list
from transformers import EarlyStoppingCallback, set_seed
from transformers.trainer_utils import SchedulerType

from sharprank.errors import UserError
from sharprank.formats.cache import cache_folder
from sharprank.models.batches import TokenBatch
from sharprank.models.checkpoint import Checkpoint, open_reranker
from sharprank.models.cross_encoder import save_cross_encoder
from sharprank.models.devices import bf16_is_fast, training_budget
from sharprank.models.dropout import set_dropout, use_byte_dropout
from sharprank.models.loading import quiet_transformers, refuse_other_weights
from sharprank.models.token_store import TokenStore
from sharprank.progress import say
from sharprank.provenance import describe_inputs, versions
from sharprank.records import Group
from sharprank.training.arithmetic import say_arithmetic
from sharprank.training.card import Made, write_card
from sharprank.training.choices import Choices
from sharprank.training.config import DataOptions, ModelOptions, RerankTrainingArguments
from sharprank.training.curves import write_curves
from sharprank.training.data import TrainingData, read_training_data
from sharprank.training.ending import conclude, first_stage_name
from sharprank.training.engines import whole_weights
from sharprank.training.groups import GroupDataset
from sharprank.training.ranking import measures_of
from sharprank.training.resume import RunState, find_run, prepare_folder, write_run
from sharprank.training.settle import settle
from sharprank.training.start import Start, check_share
from sharprank.training.trainer import RerankTrainer

# What has to be as it was when a run is continued, or it would be another one. How often it saves, evaluates and logs,
# and what only changes memory or speed, may differ.
_DECIDING = (
    "learning_rate",
    "num_train_epochs",
    "max_steps",
    "gradient_accumulation_steps",
    "warmup_steps",
    "lr_scheduler_type",
    "lr_scheduler_kwargs",
    "metric_for_best_model",
    "early_stopping_patience",
    "weight_decay",
    "max_grad_norm",
    "adam_beta1",
    "adam_beta2",
    "adam_epsilon",
    "optim",
    "optim_args",
    "seed",
    "data_seed",
    "bf16",
    "fp16",
    "dataloader_drop_last",
    "loss",
    "pos_weight",
    "start_share",
    "distillation_weight",
    "knowledge_distillation",
    "student_temperature",
    "teacher_temperature",
)
_DATA_DECIDING = (
    "train_split",
    "eval_sub_data_name",
    "eval_split",
    "run_depth",
    "query_key",
    "positive_key",
    "negative_key",
    "pos_scores_key",
    "neg_scores_key",
    "passage_key",
    "passages_key",
    "label_key",
    "label_map",
    "min_label",
    "max_label",
    "scores_are",
)


_ADD_EVALUATION = "add --eval_data ROWS, or --validation_split 0.1"


@dataclass(frozen=True)
class TrainingResult:
    """Where the reranker is, and what the run measured on its way and (with `--test_data`) at the end."""

    output_dir: Path
    measures: dict[str, float] = field(default_factory=dict)
    test_measures: dict[str, float] = field(default_factory=dict)
    log_history: list[dict[str, Any]] = field(default_factory=list)
    ending: str = ""
    was_finished: bool = False


def train(model_options: ModelOptions, data: DataOptions, args: RerankTrainingArguments) -> TrainingResult:
    """Train a reranker as the three groups of settings say; returns when it is saved.

    Raises:
        UserError: anything in the settings, the data or the model that the user can mend.
    """
    model_options.check()
    data.check()
    _check_arguments(data, args)
    read = read_training_data(data, args.objective(), seed=args.seed)
    if read.evaluation:
        args.rank_while_training(measures_of(read.evaluation)[0])
    checkpoint = model_options.open()
    model_options, read, chosen = settle(model_options, args, read, checkpoint)
    check_share(args.start_share, is_whole=args.has_whole_weights and not model_options.use_lora)
    pair_tokenizer = checkpoint.pair_tokenizer(data.max_len, query_max_length=data.query_max_len)
    checkpoint = checkpoint.trained_with(max_length=pair_tokenizer.max_length)
    settings = _settings(model_options, data, args, read=read, checkpoint=checkpoint)
    output_dir = Path(str(args.output_dir))
    state = _agreed_state(output_dir, settings, chosen, args, start=(checkpoint.name, checkpoint.path))
    if state.finished:
        say(f"{output_dir}: this training is finished; --overwrite_output_dir True repeats it")
        return TrainingResult(output_dir, was_finished=True)
    say_arithmetic(read, data, args, max_length=pair_tokenizer.max_length)

    set_seed(args.seed)
    with args.main_process_first(desc="tokenising"):  # the other ranks find the ids that the first one keeps
        dataset = GroupDataset(
            read.train,
            pair_tokenizer,
            group_size=data.train_group_size,
            max_positives=read.max_positives,
            seed=args.seed,
            store=TokenStore(cache_folder(), pair_tokenizer.tokenizer),
        )
    with whole_weights(args):
        model = _model(checkpoint, model_options, seed=args.seed, like=dataset.first_pairs())
    start = Start(model, args.start_share or 0.0)
    trainer = _trainer(model, args, dataset=dataset, eval_groups=read.evaluation)
    if state.checkpoint:
        say(f"continuing from {state.checkpoint}")
    resumed = args.resume_from_checkpoint if isinstance(args.resume_from_checkpoint, str) else state.checkpoint
    if resumed and (args.resume_from_checkpoint or args.has_whole_weights):
        refuse_other_weights(model, resumed)
    with quiet_transformers():
        trainer.train(resume_from_checkpoint=args.resume_from_checkpoint or state.checkpoint)
        start.mix_into(model)
        made = Made(settings, chosen, loads_with=checkpoint.loads_with(adapter=model_options.leaves_adapter))
        return _finish(trainer, model_options, made, data, read)


def _agreed_state(
    output_dir: Path,
    settings: dict[str, Any],
    chosen: Choices,
    args: RerankTrainingArguments,
    *,
    start: tuple[str, ...],
) -> RunState:
    """What the first rank finds in the output folder (and clears there), told to all ranks."""
    agreed: list[Any] = [None]
    if args.process_index == 0:
        agreed[0] = find_run(output_dir, settings, overwrite=args.overwrite_output_dir)
        if not agreed[0].finished:
            prepare_folder(output_dir, settings, chosen, overwrite=args.overwrite_output_dir, start=start)
    return broadcast_object_list(agreed)[0]


def _check_arguments(data: DataOptions, args: RerankTrainingArguments) -> None:
    if args.early_stopping_patience is not None and not data.has_evaluation:
        raise UserError("--early_stopping_patience needs something to measure", fix=_ADD_EVALUATION)
    if args.ranks_while_training and not data.has_evaluation:
        asks = "--lr_scheduler_type reduce_lr_on_plateau" if _is_plateau(args) else "--eval_strategy"
        raise UserError(f"{asks} asks for measures, but there is nothing to rank", fix=_ADD_EVALUATION)
    if args.label_smoothing_factor:
        say("note: --label_smoothing_factor has no meaning for ranking losses and is ignored")
    if args.bf16 and args.device.type == "cpu" and not bf16_is_fast(args.device):
        say("note: this CPU has no fast bfloat16; --bf16 will be slower than float32 here")


def _is_plateau(args: RerankTrainingArguments) -> bool:
    return args.lr_scheduler_type == SchedulerType.REDUCE_ON_PLATEAU


def _settings(
    model_options: ModelOptions,
    data: DataOptions,
    args: RerankTrainingArguments,
    *,
    read: TrainingData,
    checkpoint: Checkpoint,
) -> dict[str, Any]:
    """The settings that decide the result of the run."""
    values = args.to_dict()
    return {
        **model_options.settings(checkpoint),
        "train_data": describe_inputs(data.train_paths()),
        "eval_data": describe_inputs(data.eval_paths()),
        "sub_data_name": data.sub_data_name,
        "num_rows": len(read.train),
        "train_group_size": data.train_group_size,
        "positives_per_group": read.max_positives,
        "max_len": checkpoint.recipe.max_length,
        "query_max_len": data.query_max_len,
        "global_batch_size": args.per_device_train_batch_size * args.world_size,
        **{name: getattr(data, name) for name in _DATA_DECIDING},
        "validation_split": data.validation_split or None,
        "kept_for_the_end": len(read.at_end),
        **{name: values[name] for name in _DECIDING},
    }


def _model(checkpoint: Checkpoint, options: ModelOptions, *, seed: int, like: TokenBatch) -> Any:
    model = checkpoint.load(seed=seed, for_training=True, lora=options.lora(), like=like)
    if options.dropout is not None:
        set_dropout(model, options.dropout)
    use_byte_dropout(model)
    return model


def _trainer(
    model: Any, args: RerankTrainingArguments, *, dataset: GroupDataset, eval_groups: list[Group]
) -> RerankTrainer:
    budget = args.micro_batch_tokens or training_budget(
        args.device,
        model,
        in_half_precision=args.bf16 or args.fp16,
        num_shards=1 if args.has_whole_weights else args.world_size,
    )
    trainer = RerankTrainer(
        model=model,
        args=args,
        train_dataset=dataset,
        processing_class=dataset.pair_tokenizer.tokenizer,
        loss=args.objective(),
        micro_batch_tokens=budget,
        evaluation=eval_groups,
    )
    if args.early_stopping_patience is not None:
        trainer.add_callback(EarlyStoppingCallback(args.early_stopping_patience))
    return trainer


def _finish(
    trainer: RerankTrainer, options: ModelOptions, made: Made, data: DataOptions, read: TrainingData
) -> TrainingResult:
    """Save the model (the best one, where there was an evaluation) with its card, and mark the run finished."""
    output_dir = Path(str(trainer.args.output_dir))
    evaluation, ending = trainer.evaluation, None
    measures = trainer.evaluate() if evaluation is not None else {}
    measures = {name.removeprefix("eval_"): value for name, value in measures.items() if name.startswith("eval_")}
    if read.at_end:
        evaluation = trainer.fixed(read.at_end)
        measures = trainer.ranked(evaluation)
    if evaluation is not None:
        where = {"run": data.first_stage_run, "model": str(output_dir)}
        ending = conclude(evaluation.groups, evaluation.scores, evaluation.gains, **where, seed=trainer.args.seed)
    test_measures = trainer.measure(read.test) if read.test else {}
    _save_reranker(trainer, output_dir, options)
    history = [dict(entry) for entry in trainer.state.log_history]
    if trainer.args.should_save:
        trainer.save_state()
        write_curves(output_dir, history)
        if ending is not None:
            ending.write(output_dir, first_stage=first_stage_name(data.first_stage_run))
            made = replace(made, ending=ending.text)
        write_card(output_dir, made, measures=test_measures or measures, versions=versions())
        more = {"measures": measures, "test_measures": test_measures, "versions": versions()}
        write_run(output_dir, made.settings, made.chosen, finished=True, **more)
    return TrainingResult(output_dir, measures, test_measures, history, ending=ending.text if ending else "")


def _save_reranker(trainer: RerankTrainer, output_dir: Path, options: ModelOptions) -> None:
    """Save what was trained; an adapter that is to be merged is saved first and merged as whoever loads it would."""
    adapter_dir = output_dir / "adapter"
    merged = options.use_lora and not options.leaves_adapter
    trainer.save_model(str(adapter_dir if merged else output_dir))
    if merged and trainer.args.should_save:
        checkpoint = open_reranker(
            str(adapter_dir),
            trust_remote_code=options.trust_remote_code,
            cache_dir=options.cache_dir,
            config_name=options.config_name,
        )
        with whole_weights(trainer.args):
            save_cross_encoder(checkpoint.load(packed=False), checkpoint.tokenizer, output_dir)
