"""Load and save cross-encoders: plain transformers sequence-classification models with one output, in float32.

Refuses models that would silently be wrong: several labels, no tokenizer, weights that are not safetensors,
a maximum length beyond the model's positions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from sharprank.errors import UserError
from sharprank.models.head import add_mean_layer
from sharprank.models.loading import load_config, load_tokenizer, load_weights
from sharprank.models.minilm import resolve_model
from sharprank.models.packing import enable_packing, reads_first_tokens, usable_positions
from sharprank.progress import say

DEFAULT_MAX_LENGTH = 512


def load_cross_encoder(
    name_or_path: str,
    *,
    seed: int = 0,
    trust_remote_code: bool = False,
    cache_dir: str | None = None,
    config_name: str | None = None,
    tokenizer_name: str | None = None,
    packed: bool = True,
    for_training: bool = False,
) -> tuple[Any, Any]:
    """Load (model, tokenizer); the model is a transformers sequence classifier with one label, in float32.

    A checkpoint without a classification head gets a new one, drawn from `seed`, on top of a pooling layer (see
    `head`); `for_training=False` says so, since its scores mean nothing yet.

    Raises:
        UserError: no such model, no tokenizer, several labels, no safetensors weights.
    """
    from transformers import AutoModelForSequenceClassification

    path = resolve_model(name_or_path)
    config = load_config(config_name or path, trust_remote_code=trust_remote_code, cache_dir=cache_dir)
    has_head = _has_head(config)
    if has_head and config.num_labels != 1:
        raise UserError(
            f"model {name_or_path} classifies into {config.num_labels} labels; a reranker has one score",
            fix="name a reranker (one label), or the plain encoder to train a new head on",
        )
    config.num_labels = 1
    tokenizer = load_tokenizer(tokenizer_name or path, trust_remote_code=trust_remote_code, cache_dir=cache_dir)
    if not has_head and config.model_type == "modernbert":
        config.classifier_pooling = "mean"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        options = {"config": config, "trust_remote_code": trust_remote_code, "cache_dir": cache_dir}
        model = load_weights(AutoModelForSequenceClassification, path, **options)
    if not has_head:
        add_mean_layer(model)
    if not has_head and not for_training:
        say(f"note: {name_or_path} has no classification head; its new head (seed {seed}) is untrained")
    if packed and not enable_packing(model, first_tokens_only=reads_first_tokens(model)):
        say(f"note: {model.config.model_type} models cannot be packed; batches are sorted by length and padded")
    return model, tokenizer


def _has_head(config: Any) -> bool:
    return any("ForSequenceClassification" in name for name in config.architectures or [])


def check_max_length(max_length: int | None, config: Any, tokenizer: Any, *, flag: str = "--max_len") -> int:
    """The pair length to use (tokens): as asked, or the model's own limit up to 512.

    Raises:
        UserError: longer than the model has positions for.
    """
    limits = [usable_positions(config), getattr(tokenizer, "model_max_length", None)]
    limit = min((int(value) for value in limits if value is not None and value < 10**9), default=None)
    positions = usable_positions(config)
    if max_length is None:
        return min(DEFAULT_MAX_LENGTH, limit) if limit is not None else DEFAULT_MAX_LENGTH
    if positions is not None and max_length > positions:
        raise UserError(
            f"{flag} {max_length} is more than the {positions} positions of this model",
            fix=f"use {flag} {positions} or less",
        )
    if max_length < 8:
        raise UserError(f"{flag} {max_length} leaves no room for a pair", fix=f"use {flag} 16 or more")
    return max_length


def save_cross_encoder(model: Any, tokenizer: Any, folder: str | Path) -> None:
    """Write config, safetensors weights and tokenizer, loadable by transformers, FlagReranker and CrossEncoder."""
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
