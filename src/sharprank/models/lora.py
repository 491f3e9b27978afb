"""LoRA adapters by peft (extra `lora`): added before training, saved with their head, loaded and merged afterwards.

An adapter folder holds what peft writes (adapter_config.json, adapter_model.safetensors) and the base's config.json
with our recipe. Everything new in the model besides the low-rank matrices (a head, a pooling layer) is trained in full
and is part of the adapter, so that nothing of it has to be drawn again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sharprank.errors import UserError
from sharprank.models.minilm import MINILM
from sharprank.models.recipe import KEY

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"

ADAPTER_LEARNING_RATE = 2e-4
"""Peak rate of an adapter and its head, whatever the width of the model: published, not measured here (FlagEmbedding's
examples/finetune/reranker/decoder_only/base.sh; QLoRA, Dettmers et al., 2023, for models of 7 and 13 billion weights).
"""


@dataclass(frozen=True, kw_only=True)
class Lora:
    """The shape of an adapter.

    Attributes:
        rank: of the matrices; alpha: they are scaled by alpha / rank; dropout: before them, in training.
        targets: names of the linear layers that get one; None: all of the base model's.
    """

    rank: int = 64
    alpha: float = 16
    dropout: float = 0.1
    targets: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """An adapter that was found and not loaded yet.

    Attributes:
        folder: a local folder or hub id.
        base: its base model, by its own word.
        recipe: what its config.json says under `sharprank`; None where it has none.
    """

    folder: str
    base: str
    recipe: Mapping[str, Any] | None


def check_installed() -> None:
    """Refuse adapters where peft is not installed, before anything is read.

    Raises:
        UserError: naming the extra.
    """
    _peft()


def _peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise UserError(f"an adapter needs peft ({error})", fix="install it: pip install 'sharprank[lora]'") from error
    return peft


def find_adapter(path: str, *, cache_dir: str | None = None) -> Adapter | None:
    """The adapter at `path` (a folder or a hub id), None where there is a whole model.

    Raises:
        UserError: it names no base model.
    """
    looks_local = path == MINILM or path.startswith((".", "/", "~"))
    config = None if looks_local and not Path(path).is_dir() else _json_at(path, ADAPTER_CONFIG, cache_dir)
    if config is None:
        return None
    base = config.get("base_model_name_or_path")
    if not base:
        raise UserError(
            f"adapter {path} does not say which model it belongs to",
            fix=f"write the base model's name into base_model_name_or_path of {ADAPTER_CONFIG}",
        )
    return Adapter(folder=path, base=base, recipe=(_json_at(path, "config.json", cache_dir) or {}).get(KEY))


def forget_adapter(folder: str | Path) -> None:
    """Take away an adapter that would be loaded in the place of the whole model beside it."""
    for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
        (Path(folder) / name).unlink(missing_ok=True)


def _json_at(path: str, name: str, cache_dir: str | None) -> dict[str, Any] | None:
    from transformers.utils.hub import cached_file

    if Path(path).is_dir():
        found = Path(path) / name
        file = str(found) if found.is_file() else None
    else:
        try:
            file = cached_file(path, name, cache_dir=cache_dir, _raise_exceptions_for_missing_entries=False)
        except OSError:
            return None  # no such repository or no network: loading the model itself says so
    try:
        return None if file is None else json.loads(Path(file).read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{file} is no JSON: {error}", fix="copy it again, or train again") from error


def add_adapter(model: Any, lora: Lora, *, base: str, seed: int, fresh_parts: tuple[str, ...] = ()) -> Any:
    """The model as a peft model whose low-rank matrices (and head) alone are trained.

    Args:
        base: the name that the adapter will give its base model.
        seed: the matrices are drawn from it.
        fresh_parts: modules inside the base model that are new, by the end of their names.

    Raises:
        UserError: no peft, or targets that the model does not have.
    """
    peft = _peft()
    whole = (*_heads(model), *fresh_parts)
    targets = lora.targets or _linear_names(model, whole)
    config = peft.LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(targets),
        exclude_modules=rf".*\b({'|'.join(map(re.escape, whole))})(\..*)?" if whole else None,
        modules_to_save=list(whole) or None,
        base_model_name_or_path=base,
        task_type="SEQ_CLS" if whole else "CAUSAL_LM",
    )
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return _reloadable(peft.PeftModel(model, config))
    except ValueError as error:
        raise UserError(
            f"--target_modules {' '.join(targets)}: {str(error).splitlines()[0]}",
            fix="name linear layers of this model, or leave the flag out for all of them",
        ) from error


def load_adapter(model: Any, adapter: Adapter, *, trainable: bool) -> Any:
    """The base model with its adapter: merged into it, or beside it where training goes on.

    Raises:
        UserError: no peft, or an adapter made for another model.
    """
    peft = _peft()
    try:
        found = peft.PeftConfig.from_pretrained(adapter.folder)
        found.inference_mode = not trainable
        loaded = peft.PeftModel(model, found)
        result = loaded.load_adapter(adapter.folder, "default", is_trainable=trainable, torch_device="cpu")
    except (RuntimeError, ValueError, KeyError, OSError) as error:
        raise UserError(
            f"adapter {adapter.folder} does not fit its base model {adapter.base}: {str(error).splitlines()[0]}",
            fix="name the base model it was trained on in base_model_name_or_path of adapter_config.json",
        ) from error
    if result.missing_keys or result.unexpected_keys:
        wrong = [*result.missing_keys, *result.unexpected_keys]
        raise UserError(
            f"adapter {adapter.folder} does not fit its base model {adapter.base}: {len(wrong)} weights without a "
            f"counterpart, first {wrong[0]}",
            fix="name the base model it was trained on in base_model_name_or_path of adapter_config.json",
        )
    if trainable:
        return _reloadable(loaded)
    return loaded.merge_and_unload().requires_grad_()  # a whole model again, which may be trained on as one


def _heads(model: Any) -> tuple[str, ...]:
    """Modules with weights outside the base model that make the score; a language model's output head is none."""
    body = model.base_model if model.base_model is not model else None
    output = model.get_output_embeddings() if body is not None and hasattr(model, "get_output_embeddings") else None
    if body is None:
        return ("score",) if hasattr(model, "pooling") else ()
    return tuple(
        name
        for name, child in model.named_children()
        if child is not body and child is not output and any(True for _ in child.parameters())
    )


def _linear_names(model: Any, whole: tuple[str, ...]) -> tuple[str, ...]:
    """Last parts of the names of all linear layers of the base model, those trained in full left out."""
    names = {
        name.rpartition(".")[2]
        for name, module in model.base_model.named_modules()
        if isinstance(module, nn.Linear) and not any(re.search(rf"\b{re.escape(part)}\b", name) for part in whole)
    }
    return tuple(sorted(names))


def _reloadable(model: Any) -> Any:
    """Let a peft model write the base's configuration (with our recipe) beside its adapter."""
    peft = _peft()

    class PeftModel(peft.PeftModel):
        def save_pretrained(self, save_directory: Any, **kwargs: Any) -> None:
            super().save_pretrained(str(save_directory), **kwargs)
            if kwargs.get("is_main_process", True):
                self.get_base_model().config.save_pretrained(save_directory)

    model.__class__ = PeftModel
    return model
