"""`open_reranker`: the one door from a name to a reranker, whatever it is made of.

Behind it stand encoders with a head, encoders that get one, language models that are asked for an answer, and LoRA
adapters of all of these. In front of it every stage sees the same three things: a transformers configuration, a
`PairTokenizer`, and a model whose `logits` are [B, 1]. Opening reads and checks everything but the weights.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from sharprank.errors import UserError
from sharprank.formats.calibration import fingerprint
from sharprank.models.batches import TokenBatch, model_inputs
from sharprank.models.compatibility import LOADS_WITH
from sharprank.models.encoder_config import said_to_embed
from sharprank.models.head import add_mean_layer
from sharprank.models.kinds import Asked, check_head, kind_of, recipe_of
from sharprank.models.loading import load_config, load_tokenizer, load_weights
from sharprank.models.lora import Adapter, Lora, add_adapter, find_adapter, load_adapter
from sharprank.models.maxsim import LATE, can_carry_code, forget_code
from sharprank.models.minilm import MINILM, has_tokenizer, resolve_model
from sharprank.models.packing import (
    enable_packing,
    is_bert_like,
    reads_first_tokens,
    usable_positions,
    uses_token_types,
)
from sharprank.models.pair_text import PairTokenizer
from sharprank.models.prompts import answer_ids
from sharprank.models.recipe import KEY, Recipe, stored_recipe
from sharprank.models.scored import COMPARING, answering_class, pooled_class, read_answers
from sharprank.progress import say

DEFAULT_MAX_LENGTH = 512
"""Tokens of a pair, unless asked otherwise or trained otherwise; less where the model's own limit is lower."""


_FINGERPRINT_DIGITS = 16


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A reranker whose weights are not loaded yet; `open_reranker` makes one.

    Attributes:
        name: as the user said it.
        path: what transformers loads, the base model of an adapter.
        kind: "head" (the family's classifier), "new_head", "pooled" (our head), "answers" (a language model).
        trained: the head it has is not new.
        embeds: its files say that the encoder was trained to embed texts.
    """

    name: str
    path: str
    config: Any
    tokenizer: Any
    recipe: Recipe
    kind: str
    trained: bool
    embeds: bool = False
    adapter: Adapter | None = None
    trust_remote_code: bool = False
    cache_dir: str | None = None

    def max_length(self, asked: int | None, *, flag: str = "--max_len") -> int:
        """Tokens of a pair: as asked, or as trained, or up to 512.

        Raises:
            UserError: longer than the model has positions for.
        """
        return check_max_length(asked, self.config, self.tokenizer, flag=flag, trained=self.recipe.max_length)

    def pair_tokenizer(
        self, max_length: int | None = None, *, query_max_length: int | None = None, flag: str = "--max_len"
    ) -> PairTokenizer:
        """What turns pairs into token ids, the same in training, evaluation and use.

        Raises:
            UserError: see `max_length` and `PairTokenizer`.
        """
        length = self.max_length(max_length, flag=flag)
        return PairTokenizer(
            self.tokenizer,
            max_length=length,
            query_max_length=query_max_length,
            prompt=self.recipe.prompt,
            guarded=self.recipe.pooling in COMPARING,
        )

    def load(
        self,
        *,
        seed: int = 0,
        packed: bool = True,
        for_training: bool = False,
        lora: Lora | None = None,
        like: TokenBatch | None = None,
    ) -> Any:
        """The model, in float32, ready for `model_inputs`.

        Args:
            seed: a new head is drawn from it; which head it is, and that it is untrained, is said.
            lora: train an adapter of this shape, or go on with the adapter that was opened; without it an adapter is
                merged into its base.
            like: pairs that training will see; a new head whose scores have a level of their own starts with 0 there,
                without which losses of single pairs would spend the training on finding it.

        Raises:
            UserError: the weights are not there, not safetensors, or of another model.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            config = copy.deepcopy(self.config)
            self.recipe.store(config)
            model = load_weights(self._class(), self.path, config=config, needs_head=self._has_own_head, **self._hub())
            if self._replaces_a_head:
                model.score.reset()
        if self.kind == "new_head":
            add_mean_layer(model)
        if self.kind == "answers":
            assert self.recipe.prompt is not None
            read_answers(model, answer_ids(self.recipe.prompt, self.tokenizer))
        if not self.trained:
            say(self._about_new_head(seed, for_training=for_training))
        if packed and not enable_packing(model, first_tokens_only=reads_first_tokens(model)):
            say(f"note: {model.config.model_type} models cannot be packed; batches are sorted by length and padded")
        if like is not None and not self.trained and self.recipe.pooling in COMPARING:
            model.score.centre(_scores(model, like))
        if self.adapter is not None:
            return load_adapter(model, self.adapter, trainable=lora is not None)
        if lora is not None:
            return add_adapter(model, lora, base=self.base, seed=seed, fresh_parts=self._fresh_parts(model))
        return model

    def loads_with(self, *, adapter: bool = False) -> str:
        """What else loads what is saved of this model, or of an adapter of it; a sentence or two."""
        if adapter:
            return LOADS_WITH["adapter" if self.recipe.pooling is None else "adapter with a head"]
        if self.recipe.pooling in COMPARING:
            return LOADS_WITH["comparing" if can_carry_code(self._class()) else "comparing without code"]
        return LOADS_WITH[self.kind]

    @property
    def base(self) -> str:
        """What an adapter calls its base model: a hub id or alias as it is, a folder by its full path."""
        folder = Path(self.path)
        return str(folder.resolve()) if folder.is_dir() and self.name != MINILM else self.name

    def fingerprint(self) -> str | None:
        """What tells its weights (base and adapter) from others of their name; None where they are no local files."""
        folders = [self.path] if self.adapter is None else [self.path, self.adapter.folder]
        found = [fingerprint(folder)[:_FINGERPRINT_DIGITS] for folder in folders if Path(folder).is_dir()]
        return " ".join(found) or None

    def _fresh_parts(self, model: Any) -> tuple[str, ...]:
        """Modules of the base model that a new head brought with it, by the end of their names."""
        if self.kind != "new_head" or not is_bert_like(self.config):
            return ()
        pooler = ("pooler",) if getattr(model.base_model, "pooler", None) is not None else ()
        return (f"layer.{model.config.num_hidden_layers - 1}", *pooler)

    def trained_with(self, *, max_length: int) -> Checkpoint:
        """The checkpoint that training with pairs of `max_length` tokens leaves behind."""
        return replace(self, recipe=replace(self.recipe, max_length=max_length))

    def _about_new_head(self, seed: int, *, for_training: bool) -> str:
        head, why = f"a new head (seed {seed})", ""
        if self.kind == "pooled":
            head = f"a new head `{self.recipe.pooling}`"
        if self.ranks_already:
            why = ", being an embedding model"
            wanted = {"queries": self.recipe.query_prefix, "passages": self.recipe.passage_prefix}
            told = [f"{self.tokenizer.decode(ids)!r} before {texts}" for texts, ids in wanted.items() if ids]
            why += f" that reads {' and '.join(told)}" if told else ""
        elif self.recipe.pooling in COMPARING and not self.embeds:
            why = "; its files do not say that it was trained to embed"
        return f"note: {self.name} gets {head}{why}{'' if for_training else ', which is untrained'}"

    @property
    def ranks_already(self) -> bool:
        """Whether a new head ranks before any training: the encoder was trained to bring like texts together."""
        return self.kind == "pooled" and not self.trained and self.embeds and self.recipe.pooling == LATE

    @property
    def _replaces_a_head(self) -> bool:
        """Whether another head of ours may have left weights of the same names."""
        stored = getattr(self.config, KEY, None) or {}
        return self.kind == "pooled" and not self.trained and stored.get("pooling") is not None

    @property
    def _has_own_head(self) -> bool:
        """Whether the weights hold a head of ours; an adapter's lie beside it."""
        return self.kind == "pooled" and self.trained and self.adapter is None

    def _hub(self) -> dict[str, Any]:
        return {"trust_remote_code": self.trust_remote_code, "cache_dir": self.cache_dir}

    def _class(self) -> Any:
        from transformers import AutoModelForSequenceClassification

        if self.kind == "pooled":
            assert self.recipe.pooling is not None
            return pooled_class(self.config, self.recipe.pooling, trust_remote_code=self.trust_remote_code)
        if self.kind == "answers":
            return answering_class(self.config, trust_remote_code=self.trust_remote_code)
        return AutoModelForSequenceClassification


@torch.no_grad()
def _scores(model: Any, pairs: TokenBatch) -> torch.Tensor:
    """Raw scores of a model that was just loaded, where it is."""
    token_types = uses_token_types(model.config)
    return model(**model_inputs(pairs, model.config, device=model.device, token_types=token_types)).logits


def open_reranker(
    name: str,
    *,
    asked: Asked | None = None,
    trust_remote_code: bool = False,
    cache_dir: str | None = None,
    config_name: str | None = None,
    tokenizer_name: str | None = None,
) -> Checkpoint:
    """Find a reranker and read everything about it but its weights.

    Args:
        name: a folder (an adapter's too), a hub id, or `minilm`.

    Raises:
        UserError: no such model, no tokenizer, several labels, answers that are no single tokens, an adapter without
            its base.
    """
    asked = asked or Asked()
    asked.check()
    hub: dict[str, Any] = {"trust_remote_code": trust_remote_code, "cache_dir": cache_dir}
    adapter = find_adapter(name, cache_dir=cache_dir)
    own_tokenizer = adapter is not None and has_tokenizer(name)
    needs_tokenizer = tokenizer_name is None and not own_tokenizer
    if adapter is None:
        path = resolve_model(name, with_tokenizer=needs_tokenizer)
    else:
        path = resolve_base(adapter, with_tokenizer=needs_tokenizer)
    own = name if own_tokenizer else path
    config = load_config(config_name or path, **hub)
    tokenizer = load_tokenizer(tokenizer_name or own, **hub)
    if adapter is not None and adapter.recipe is not None:
        setattr(config, KEY, adapter.recipe)
    recipe = stored_recipe(config, where=name)
    kind, trained = kind_of(config, recipe, asked, tokenizer)
    embeds = said_to_embed(path, cache_dir=cache_dir) if kind == "pooled" and not trained else None
    recipe = recipe_of(recipe, asked, kind, tokenizer, config, name=name, embeds=embeds)
    check_head(config, recipe, kind, name=name)
    if recipe.pooling not in COMPARING:
        forget_code(config)
    if config.pad_token_id is None:
        config.pad_token_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    if kind != "answers":
        config.num_labels = 1
    if kind == "new_head" and config.model_type == "modernbert":
        config.classifier_pooling = "mean"
    return Checkpoint(
        name=name,
        path=path,
        config=config,
        tokenizer=tokenizer,
        recipe=recipe,
        kind=kind,
        trained=trained or adapter is not None,
        embeds=embeds is not None,
        adapter=adapter,
        **hub,
    )


def resolve_base(adapter: Adapter, *, with_tokenizer: bool = True) -> str:
    """The base model of an adapter.

    Args:
        with_tokenizer: see `resolve_model`.

    Raises:
        UserError: it is not there.
    """
    try:
        return resolve_model(adapter.base, with_tokenizer=with_tokenizer)
    except UserError as error:
        raise UserError(
            f"adapter {adapter.folder} belongs to the base model {adapter.base}, which is not there: {error.problem}",
            fix="put the base model there, or write where it is into base_model_name_or_path of adapter_config.json",
        ) from error


def check_max_length(
    max_length: int | None, config: Any, tokenizer: Any, *, flag: str = "--max_len", trained: int | None = None
) -> int:
    """The pair length to use (tokens): as asked, as trained, or the model's own limit up to 512.

    Raises:
        UserError: longer than the model has positions for.
    """
    positions = usable_positions(config)
    limits = [positions, getattr(tokenizer, "model_max_length", None)]
    limit = min((int(value) for value in limits if value is not None and value < 10**9), default=None)
    if max_length is None:
        wanted = trained or DEFAULT_MAX_LENGTH
        return min(wanted, limit) if limit is not None else wanted
    if positions is not None and max_length > positions:
        raise UserError(
            f"{flag} {max_length} is more than the {positions} positions of this model",
            fix=f"use {flag} {positions} or less",
        )
    if max_length < 8:
        raise UserError(f"{flag} {max_length} leaves no room for a pair", fix=f"use {flag} 16 or more")
    return max_length
