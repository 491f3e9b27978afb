"""The training loop: transformers' Trainer with groups instead of rows.

Ours are three things: the batches (whole groups, cut the same for any number of ranks), the step (micro-batches
under a token budget whose losses add up to exactly that of the global batch), and the evaluation (ranking
measures on fixed groups). Optimizer, schedule, precision, checkpoints, resuming and engines are transformers'.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import PrinterCallback, ProgressCallback, Trainer

from sharprank.losses.groups import RankingLoss
from sharprank.models.batches import model_inputs
from sharprank.models.packing import uses_token_types
from sharprank.training.collapse import CollapseWatch
from sharprank.training.engines import Engine
from sharprank.training.groups import GroupBatch, GroupDataset, GroupSampler, group_loader
from sharprank.training.ranking import RankingEvaluation
from sharprank.training.report import TrainingProgress

COMPLETE_MARK = "complete.json"
"""Written into a checkpoint last; a checkpoint without it was cut short and is never resumed from."""


class RerankTrainer(Trainer):
    """Trains a transformers sequence classifier with one label on groups.

    Args:
        loss: what is minimised.
        micro_batch_tokens: tokens of one forward pass.
        evaluation: fixed groups to rank; None trains without measures.
        kwargs: as for transformers' Trainer; `train_dataset` is a GroupDataset.
    """

    def __init__(
        self, *, loss: RankingLoss, micro_batch_tokens: int, evaluation: RankingEvaluation | None = None, **kwargs: Any
    ) -> None:
        # Trainer insists on an evaluation dataset when it is to evaluate; ours is ranked in `evaluate`.
        placeholder: Any = [] if evaluation is not None else None
        super().__init__(eval_dataset=placeholder, **kwargs)
        self.remove_callback(ProgressCallback)
        self.remove_callback(PrinterCallback)
        self.add_callback(TrainingProgress())
        self.loss = loss
        self.micro_batch_tokens = micro_batch_tokens
        self.evaluation = evaluation
        self.collapse = CollapseWatch(loss, warmup_steps=self.args.warmup_steps)
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
        """Units of the loss (groups or pairs) in the whole global batch: all accumulation steps, all ranks."""
        count = torch.tensor(sum(self.loss.count(b.group_lengths) for b in batch_samples if b.counted), device=device)
        reduced: Any = self.accelerator.reduce(count, "sum") if self.args.world_size > 1 else count
        return reduced

    def training_step(
        self, model: Any, inputs: Any, num_items_in_batch: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        """Forward and backward over the batch, micro-batch by micro-batch; returns this rank's share of the loss.

        The share is scaled by the number of ranks because gradients (and the logged loss) are averaged over them.
        """
        model.train()
        items = float(num_items_in_batch) if num_items_in_batch is not None else self.loss.count(inputs.group_lengths)
        share = self.args.world_size / items if inputs.counted else 0.0
        total = torch.zeros((), device=self.args.device)
        micro_batches = self.engine.in_step(list(inputs.micro_batches(self.micro_batch_tokens)))
        for index, micro_batch in enumerate(micro_batches):
            with self.engine.backward(model, is_last=index == len(micro_batches) - 1) as options:
                with self.compute_loss_context_manager():
                    scores = self._scores(model, micro_batch)
                    value = self._loss(scores, micro_batch) * (share if micro_batch.counted else 0.0)
                self.accelerator.backward(value, **options)
            total += value.detach()
            self.collapse.see(scores.detach(), micro_batch)
        self.useful_tokens += inputs.tokens.num_tokens if inputs.counted else 0
        return total

    def _scores(self, model: Any, batch: GroupBatch) -> torch.Tensor:
        config = self.accelerator.unwrap_model(model).config
        inputs = model_inputs(batch.tokens, config, device=self.args.device, token_types=uses_token_types(config))
        return model(**inputs).logits[:, 0].float()

    def _loss(self, scores: torch.Tensor, batch: GroupBatch) -> torch.Tensor:
        relevance = torch.from_numpy(batch.relevance).to(scores.device)
        return self.loss.total(scores, batch.group_lengths, relevance)

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Sequence[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Rank the fixed evaluation groups and report the mean measures, `eval_nDCG@10` and the like."""
        if self.evaluation is None:
            raise ValueError("this trainer was made without evaluation groups")
        measures = self.evaluation.run(
            self.engine.to_score(self), engine=self.engine, autocast=self.compute_loss_context_manager
        )
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in measures.items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def floating_point_ops(self, inputs: Any) -> int:
        return 0

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        warning = self.collapse.verdict(self.state.global_step)
        if warning and "loss" in logs:
            self.collapse.report(warning)
        super().log(logs, start_time)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            folder = Path(self._get_output_dir(trial=trial)) / f"checkpoint-{self.state.global_step}"
            if folder.is_dir():
                (folder / COMPLETE_MARK).write_text(json.dumps({"global_step": self.state.global_step}))
