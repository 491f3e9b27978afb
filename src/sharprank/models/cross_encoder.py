"""A cross-encoder in one call, for callers that need neither the pair text nor a check before the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sharprank.models.checkpoint import check_max_length, open_reranker

__all__ = ["check_max_length", "load_cross_encoder", "save_cross_encoder"]


def load_cross_encoder(
    name_or_path: str,
    *,
    seed: int = 0,
    packed: bool = True,
    for_training: bool = False,
    **files: Any,
) -> tuple[Any, Any]:
    """Load (model, tokenizer); see `open_reranker` for `files` and `Checkpoint.load` for the rest.

    Raises:
        UserError: no such model, no tokenizer, several labels, no safetensors weights.
    """
    checkpoint = open_reranker(name_or_path, **files)
    return checkpoint.load(seed=seed, packed=packed, for_training=for_training), checkpoint.tokenizer


def save_cross_encoder(model: Any, tokenizer: Any, folder: str | Path) -> None:
    """Write config, safetensors weights and tokenizer, loadable by transformers, FlagReranker and CrossEncoder."""
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
