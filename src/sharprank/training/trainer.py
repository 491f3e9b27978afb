"""The training loop: transformers' Trainer with groups instead of rows.

Ours are three things: the batches (whole groups, cut the same for any number of ranks), the step (micro-batches
under a token budget whose losses add up to exactly that of the global batch), and the evaluation (ranking
measures on fixed groups). Optimizer, schedule, precision, checkpoints, resuming and engines are transformers'.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import EarlyStoppingCallback, PrinterCallback, ProgressCallback, Trainer
from transformers.trainer_callback import ExportableState

from sharprank.losses.catalog import Objective
from sharprank.losses.groups import RankingLoss
from sharprank.models.batches import TokenBatch, model_inputs
from sharprank.models.loading import refuse_partial
from sharprank.models.packing import uses_token_types
from sharprank.records import Group
from sharprank.training.collapse import CollapseWatch
from sharprank.training.curves import write_curves
from sharprank.training.engines import Engine
from sharprank.training.groups import GroupBatch, GroupDataset, GroupSampler, group_loader
from sharprank.training.pieces import learn_in_pieces
from sharprank.training.ranking import RankingEvaluation
from sharprank.training.report import TrainingProgress

COMPLETE_MARK = "complete.json"
"""Written into a checkpoint last; a checkpoint without it was cut short and is never resumed from."""


class RerankTrainer(Trainer):
    """Trains a transformers sequence classifier with one label on groups.

    Args:
        loss: what is minimised.
        micro_batch_tokens: tokens of one forward pass; a single pair may be longer.
        evaluation: groups to rank; without any it trains without measures.
        kwargs: as for transformers' Trainer; `train_dataset` is a GroupDataset.
    """

    def __init__(
        self,
        *,
        loss: Objective | RankingLoss,
        micro_batch_tokens: int,
        evaluation: Sequence[Group] = (),
        **kwargs: Any,
    ) -> None:
        # Trainer insists on an evaluation dataset when it is to evaluate; ours is ranked in `evaluate`.
        placeholder: Any = [] if evaluation else None
        super().__init__(eval_dataset=placeholder, **kwargs)
        self.remove_callback(ProgressCallback)
        self.remove_callback(PrinterCallback)
        self.add_callback(TrainingProgress())
        self.objective = Objective.of(loss)
        self.micro_batch_tokens = micro_batch_tokens
        self.evaluation = self.fixed(evaluation) if evaluation else None
        self.collapse = CollapseWatch(warmup_steps=self.args.warmup_steps)
        self.engine = Engine(self.accelerator)
        self.useful_tokens = 0

    def get_train_dataloader(self) -> DataLoader[Any]:
        dataset = self.train_dataset
        assert isinstance(dataset, GroupDataset)
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        sampler = GroupSampler(
            dataset,
            groups_per_rank=self.args.per_device_train_batch_size,
            rank=self.args.process_index,
            world_size=self.args.world_size,
            seed=seed,
            drop_last=self.args.dataloader_drop_last,
        )
        return group_loader(dataset, sampler, num_workers=self.args.dataloader_num_workers)

    def _get_num_items_in_batch(self, batch_samples: list[GroupBatch], device: torch.device) -> torch.Tensor:
        """Units of each term of the objective in the whole global batch: all accumulation steps, all ranks."""
        mine = [self.objective.counts(b.group_lengths, b.targets) for b in batch_samples if b.counted]
        counts = torch.tensor([sum(term) for term in zip(*mine, strict=True)] or [0] * len(self.objective.terms))
        counts = counts.to(device)
        reduced: Any = self.accelerator.reduce(counts, "sum") if self.args.world_size > 1 else counts
        return reduced

    def training_step(
        self, model: Any, inputs: Any, num_items_in_batch: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        """Forward and backward over the batch, micro-batch by micro-batch; returns this rank's share of the loss.

        The share is scaled by the number of ranks because gradients (and the logged loss) are averaged over them.
        """
        model.train()
        shares = self._shares(inputs, num_items_in_batch)
        total = torch.zeros((), device=self.args.device)
        micro_batches = self.engine.in_step(list(inputs.micro_batches(self.micro_batch_tokens)))
        for index, micro_batch in enumerate(micro_batches):
            counted = shares if micro_batch.counted else [0.0] * len(shares)
            value, scores = self._learn(model, micro_batch, counted, is_last=index == len(micro_batches) - 1)
            total += value
            self.collapse.see(scores, micro_batch)
        self.useful_tokens += inputs.tokens.num_tokens if inputs.counted else 0
        return total

    def _shares(self, batch: GroupBatch, num_items: torch.Tensor | int | None) -> list[float]:
        """What each term's sum over this batch is multiplied by."""
        if not batch.counted:
            return [0.0] * len(self.objective.terms)
        counts = self.objective.counts(batch.group_lengths, batch.targets)
        if isinstance(num_items, torch.Tensor):
            counts = num_items.tolist()
        return [self.args.world_size / max(1, count) for count in counts]

    def _learn(
        self, model: Any, batch: GroupBatch, shares: list[float], *, is_last: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One micro-batch forward and backward: (its share of the loss, its scores [P]), detached."""

        def score(tokens: TokenBatch) -> torch.Tensor:
            with self.compute_loss_context_manager():
                return self._scores(model, tokens)

        def loss(scores: torch.Tensor) -> torch.Tensor:
            targets = {name: torch.from_numpy(batch.targets[name]).to(scores.device) for name in self.objective.needs}
            return self.objective.total(scores, batch.group_lengths, targets, shares)

        def step(compute: Callable[[], torch.Tensor], *, last: bool = True) -> torch.Tensor:
            with self.engine.backward(model, is_last=last and is_last) as options:
                value = compute()
                self.accelerator.backward(value, **options)
            return value.detach()

        pieces = batch.pieces(self.micro_batch_tokens)
        num_steps = self.engine.most(len(pieces))
        if num_steps > 1:
            return learn_in_pieces(pieces, score=score, loss=loss, step=step, num_steps=num_steps)
        scores: list[torch.Tensor] = []

        def whole() -> torch.Tensor:
            scores.append(score(batch.tokens))
            return loss(scores[0])

        value = step(whole)
        return value, scores[0].detach()

    def _scores(self, model: Any, tokens: TokenBatch) -> torch.Tensor:
        """Raw scores, float32 [P]."""
        config = self.accelerator.unwrap_model(model).config
        inputs = model_inputs(tokens, config, device=self.args.device, token_types=uses_token_types(config))
        return model(**inputs).logits[:, 0].float()

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Sequence[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Rank the fixed evaluation groups and report the mean measures, `eval_nDCG@10` and the like."""
        if self.evaluation is None:
            raise ValueError("this trainer was made without evaluation groups")
        measures = self.ranked(self.evaluation)
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in measures.items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def measure(self, groups: Sequence[Group]) -> dict[str, float]:
        """Measures of the model as it is on other groups than those of `evaluate`."""
        return self.ranked(self.fixed(groups))

    def fixed(self, groups: Sequence[Group]) -> RankingEvaluation:
        """Groups to rank, tokenised once."""
        dataset = self.train_dataset
        assert isinstance(dataset, GroupDataset)
        return RankingEvaluation(
            groups,
            dataset.pair_tokenizer,
            budget=self.micro_batch_tokens,
            rank=self.args.process_index,
            world_size=self.args.world_size,
        )

    def ranked(self, evaluation: RankingEvaluation) -> dict[str, float]:
        """Measures of the model as it is."""
        model = self.engine.to_score(self)
        return evaluation.run(model, engine=self.engine, autocast=self.compute_loss_context_manager)

    def floating_point_ops(self, inputs: Any) -> int:
        return 0

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        warning = self.collapse.verdict(self.state.global_step)
        if warning and "loss" in logs:
            self.collapse.report(warning)
        super().log(logs, start_time)

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        refuse_partial(self.model, load_result)

    def _load_callback_state(self) -> None:
        super()._load_callback_state()
        states: Any = self.state.stateful_callbacks
        saved = states.get(EarlyStoppingCallback.__name__)
        for callback in self.callback_handler.callbacks:
            if isinstance(callback, EarlyStoppingCallback) and isinstance(saved, dict):  # it goes on counting
                callback.early_stopping_patience_counter = saved["attributes"]["early_stopping_patience_counter"]

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        states: Any = self.state.stateful_callbacks
        for callback in self.callback_handler.callbacks:
            if isinstance(callback, ExportableState):  # one that the continued run was not saved with has no place yet
                states.setdefault(type(callback).__name__, callback.state())
        super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            folder = Path(self._get_output_dir(trial=trial)) / f"checkpoint-{self.state.global_step}"
            write_curves(folder.parent, self.state.log_history)
            if folder.is_dir():
                (folder / COMPLETE_MARK).write_text(json.dumps({"global_step": self.state.global_step}))
