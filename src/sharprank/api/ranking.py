"""`AutoModelForRanking` as open-retrievals has it: a reranker that trains on labelled pairs and scores texts.

What it loads, how a pair becomes tokens and how pairs are scored is `sharprank.models`' business; this class gives
those the other library's names. Knows nothing of files.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from sharprank.errors import UserError
from sharprank.losses.listwise import listwise_ce
from sharprank.models.checkpoint import check_max_length, open_reranker
from sharprank.models.devices import choose_device
from sharprank.models.encoder_config import said_to_embed
from sharprank.models.kinds import PLAIN, Asked, headed
from sharprank.models.lora import Lora
from sharprank.models.pair_text import PairTokenizer
from sharprank.models.prompts import Prompt
from sharprank.models.scored import COMPARING, pooled_from
from sharprank.models.scoring import PairScorer
from sharprank.models.windows import WindowRule
from sharprank.progress import say
from sharprank.serving.reranker import Reranker

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class AutoModelForRanking(nn.Module):
    """A reranker around a transformers model.

    Args:
        model: a sequence classifier with one label, or with `pooling_method` any encoder.
        tokenizer: the model's.
        train_group_size: with more than 1, every so many pairs of a batch are one query's, and the loss compares them.
        pooling_method: "late", "maxsim", "cls", "mean", "last" or "weighted": a new head of ours on the encoder.
        loss_fn: takes (logits, labels), both float32 [P], or [P / train_group_size, train_group_size] for groups.
        loss_type: without `loss_fn`: "classification" (binary cross-entropy on logits; softmax cross-entropy in
            groups) or "regression" (mean squared error of the sigmoid).
        max_length: tokens of a pair when scoring; default as trained, else 512 or the model's limit.
        temperature: logits are divided by it.
        device: default the best there is.
    """

    accepts_loss_kwargs = False  # transformers' Trainer: the loss is a mean over the batch

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        train_group_size: int = 1,
        pooling_method: str | None = None,
        loss_fn: Loss | None = None,
        *,
        loss_type: str = "classification",
        max_length: int | None = None,
        temperature: float | None = None,
        device: Any = None,
        prompt: Prompt | None = None,
    ) -> None:
        super().__init__()
        if loss_type not in ("classification", "regression"):
            raise UserError(f"loss_type {loss_type!r} is unknown", fix="use classification or regression")
        if train_group_size < 1 or (temperature is not None and temperature <= 0):
            raise UserError(
                f"train_group_size {train_group_size}, temperature {temperature}", fix="use 1 or more, and above 0"
            )
        Asked(pooling=pooling_method).check()
        if pooling_method not in (None, PLAIN, getattr(model, "pooling", None)):
            embeds = said_to_embed(model.config._name_or_path)
            recipe = headed(pooling_method, tokenizer, model.config, embeds=embeds)
            if pooling_method in COMPARING and recipe.separator is None:
                raise UserError(
                    f"pooling_method {pooling_method!r}: no token separates query and passage",
                    fix="use mean, cls or last",
                )
            model = pooled_from(model, recipe)
        self.device = choose_device(device)
        self.model = model.to(self.device)
        self.tokenizer = tokenizer
        self.train_group_size, self.loss_fn, self.loss_type = train_group_size, loss_fn, loss_type
        self.max_length, self.temperature, self.prompt = max_length, temperature, prompt

    @classmethod
    def from_pretrained(
        cls,
        model_name_or_path: str,
        pooling_method: str | None = None,
        num_labels: int = 1,
        loss_fn: Loss | None = None,
        loss_type: str = "classification",
        *,
        causal_lm: bool = False,
        trust_remote_code: bool = False,
        use_fp16: bool = False,
        use_lora: bool = False,
        lora_config: Any = None,
        device: Any = None,
        train_group_size: int = 1,
        max_length: int | None = None,
        temperature: float | None = None,
        linear_dim: int = 1,
        cache_dir: str | None = None,
        seed: int = 0,
        prompt: str | None = None,
        instruction: str | None = None,
    ) -> Any:
        """Load a reranker, or an encoder that gets a new head; language models are known by their architecture.

        Args:
            num_labels, linear_dim: 1; anything else is no reranker.
            causal_lm: insist on a language model.
            use_fp16: half precision on CUDA, for scoring; elsewhere it stays off.
            use_lora, lora_config: train an adapter; a peft LoraConfig gives its shape.
            prompt, instruction: how a language model is asked (default: as stored with it).

        Raises:
            UserError: see `open_reranker` and `Checkpoint`.
        """
        if num_labels != 1 or linear_dim != 1:
            raise UserError(f"{num_labels} labels and a head of {linear_dim} are no reranker", fix="use 1 of each")
        checkpoint = open_reranker(
            model_name_or_path,
            asked=Asked(pooling=pooling_method, prompt=prompt, instruction=instruction),
            trust_remote_code=trust_remote_code,
            cache_dir=cache_dir,
        )
        if causal_lm and checkpoint.kind != "answers":
            raise UserError(
                f"causal_lm: {model_name_or_path} is no language model ({checkpoint.config.architectures})",
                fix="leave causal_lm out: the architecture decides",
            )
        chosen = choose_device(device)
        lora = _lora(lora_config) if use_lora or lora_config is not None else None
        model = checkpoint.load(seed=seed, for_training=True, lora=lora)
        if use_fp16 and chosen.type != "cuda":
            say("note: use_fp16 is for CUDA; this model stays in float32")
        return cls(
            model.half() if use_fp16 and chosen.type == "cuda" else model,
            checkpoint.tokenizer,
            train_group_size,
            loss_fn=loss_fn,
            loss_type=loss_type,
            max_length=max_length or checkpoint.recipe.max_length,
            temperature=temperature,
            device=chosen,
            prompt=checkpoint.recipe.prompt,
        )

    def forward(self, labels: torch.Tensor | None = None, **inputs: Any) -> dict[str, torch.Tensor]:
        """`logits` [P, 1], and with `labels` [P] the `loss`, in training and in evaluation."""
        logits = self.model(**inputs).logits
        if self.temperature is not None:
            logits = logits / self.temperature
        if labels is None:
            return {"logits": logits}
        return {"loss": self._loss(logits[:, 0].float(), labels.float()), "logits": logits}

    def _loss(self, scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        size = self.train_group_size
        if len(scores) % size:
            raise ValueError(f"a batch of {len(scores)} pairs is not made of groups of {size}")
        if size > 1:
            scores, labels = scores.view(-1, size), labels.view(-1, size)
        if self.loss_fn is not None:
            return self.loss_fn(scores, labels)
        if self.loss_type == "regression":
            return F.mse_loss(torch.sigmoid(scores), labels)
        if size > 1:
            return listwise_ce(scores.flatten(), [size] * len(scores), labels.flatten()) / len(scores)
        return F.binary_cross_entropy_with_logits(scores, labels)

    @property
    def compares_tokens(self) -> bool:
        """Whether the head has to know where the query ends, so that no text may hold the tokens that mark it."""
        return getattr(self.model, "pooling", None) in COMPARING

    def scorer(self, max_length: int | None = None, *, batch_size: int | None = None) -> PairScorer:
        """What scores pairs of at most `max_length` tokens, on the device where the model is now; it leaves the model
        in evaluation mode.
        """
        length = check_max_length(None, self.model.config, self.tokenizer, trained=max_length or self.max_length)
        where = next(self.model.parameters())
        tokenizer = PairTokenizer(self.tokenizer, max_length=length, prompt=self.prompt, guarded=self.compares_tokens)
        scorer = PairScorer(self.model, tokenizer, device=where.device, dtype=where.dtype)
        if batch_size is not None:
            scorer.budget = min(scorer.budget, batch_size * length)
        return scorer

    def compute_score(
        self,
        text_pairs: Any = None,
        batch_size: int = 128,
        max_length: int | None = None,
        normalize: bool = False,
        show_progress_bar: bool | None = None,
        *,
        sentence_pairs: Any = None,
    ) -> Any:
        """Raw scores: a float for one flat pair of strings, a list for a list of pairs, even of one.

        Args:
            batch_size: pairs of a forward pass at most.
            max_length: tokens of a pair; longer passages are cut.
            normalize: give the sigmoid.
            sentence_pairs: the same as `text_pairs`.
        """
        pairs = sentence_pairs if text_pairs is None else text_pairs
        if show_progress_bar:
            say(f"scoring {len(pairs)} pairs")
        with self._mode_kept():
            return self._reranker(max_length, batch_size).compute_score(pairs, normalize=normalize)

    def rerank(
        self,
        query: str,
        documents: Sequence[str],
        data_collator: Any = None,
        batch_size: int = 32,
        chunk_max_length: int = 512,
        *,
        chunk_overlap: int = 50,
        max_chunks_per_doc: int = 100,
        normalize: bool = False,
        show_progress_bar: bool | None = None,
        return_dict: bool = True,
    ) -> Any:
        """Rank documents by their best chunk; see `Reranker.rerank`. A collator is not needed for it."""
        with self._mode_kept():
            return self._reranker(chunk_max_length, batch_size).rerank(
                query,
                documents,
                chunk_max_length=chunk_max_length,
                chunk_overlap=chunk_overlap,
                max_chunks_per_doc=max_chunks_per_doc,
                normalize=normalize,
                return_dict=return_dict,
            )

    @contextlib.contextmanager
    def _mode_kept(self) -> Iterator[None]:
        was_training = self.model.training
        try:
            yield
        finally:
            self.model.train(was_training)

    def _reranker(self, max_length: int | None, batch_size: int) -> Reranker:
        scorer: Any = _Scoring(self, self.scorer(max_length, batch_size=batch_size))
        return Reranker(scorer)

    def save_pretrained(self, save_directory: str, **kwargs: Any) -> None:
        """Write model and tokenizer; every tool of ours, and those of the model's family, load the folder."""
        model = getattr(self.model, "module", self.model)  # it may be a caller's, and not one that we loaded
        model.save_pretrained(save_directory, **{"save_original_format": False, **kwargs})
        self.tokenizer.save_pretrained(save_directory)

    def gradient_checkpointing_enable(self, *args: Any, **kwargs: Any) -> None:
        self.model.gradient_checkpointing_enable(*args, **kwargs)

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """The model's own weights under their own names, so that checkpoints resume and load anywhere."""
        return self.model.state_dict(*args, **kwargs)

    def load_state_dict(self, state_dict: Any, *args: Any, **kwargs: Any) -> Any:
        return self.model.load_state_dict(state_dict, *args, **kwargs)


class _Scoring:
    """A scorer for `Reranker` that knows the temperature."""

    def __init__(self, ranker: AutoModelForRanking, scorer: PairScorer) -> None:
        self.ranker, self.scorer = ranker, scorer

    def score(self, pairs: Sequence[tuple[str, str]], *, windows: WindowRule | None = None) -> np.ndarray:
        return self.scorer.score(pairs, windows=windows) / np.float32(self.ranker.temperature or 1.0)


def _lora(config: Any) -> Lora:
    """The shape of an adapter from a peft LoraConfig, or ours."""
    if config is None or isinstance(config, Lora):
        return config or Lora()
    targets = config.target_modules
    if isinstance(targets, str):
        raise UserError(f"lora_config: target_modules {targets!r} is a pattern", fix="give a list of names, or None")
    return Lora(
        rank=config.r,
        alpha=config.lora_alpha,
        dropout=config.lora_dropout,
        targets=tuple(sorted(targets)) if targets else None,
    )
