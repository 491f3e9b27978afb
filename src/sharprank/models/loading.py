"""Loading from a folder or a hub: configuration, tokenizer, weights; strict, quiet, with errors a user can act on.

Weights are float32 whatever precision they were stored in, and safetensors only: pickled weights run code.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from sharprank.errors import UserError
from sharprank.models.lora import forget_adapter


def load_config(path: str, *, trust_remote_code: bool = False, cache_dir: str | None = None) -> Any:
    """The model's configuration; `path` as `resolve_model` gave it.

    Raises:
        UserError: it cannot be found or read.
    """
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(path, trust_remote_code=trust_remote_code, cache_dir=cache_dir)
    except (OSError, ValueError) as error:
        raise UserError(f"model {path} cannot be loaded: {_first_line(error)}", fix=_fix(error)) from error


def load_tokenizer(path: str, *, trust_remote_code: bool = False, cache_dir: str | None = None) -> Any:
    """The model's own tokenizer.

    Raises:
        UserError: it cannot be found or read.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(path, trust_remote_code=trust_remote_code, cache_dir=cache_dir)
    except (OSError, ValueError) as error:
        raise UserError(
            f"tokenizer of {path} cannot be loaded: {_first_line(error)}",
            fix="save the tokenizer beside the model, or name it with --tokenizer_name",
        ) from error


def load_weights(auto_class: Any, path: str, *, needs_head: bool = False, **kwargs: Any) -> Any:
    """`auto_class.from_pretrained(path, **kwargs)` in float32 from safetensors.

    Args:
        auto_class: one of transformers' Auto classes, or a class of ours.
        needs_head: a trained head of ours (`score.*`) has to be among the weights: nothing of it may be drawn anew.

    Raises:
        UserError: the weights cannot be found, read, or are not safetensors.
    """
    try:
        with quiet_transformers():
            model, about = auto_class.from_pretrained(
                path, dtype=torch.float32, use_safetensors=True, output_loading_info=True, **kwargs
            )
    except (OSError, ValueError) as error:
        raise UserError(f"model {path} cannot be loaded: {_first_line(error)}", fix=_fix(error)) from error
    lacking = [name for name in about["missing_keys"] if name.startswith("score.")]
    if needs_head and lacking:
        raise UserError(
            f"model {path} lacks {lacking[0]}, a part of the head that its config.json names",
            fix="train it again with this version, or name another head with --pooling to train a new one",
        )
    return keep_names(model)


class _Whole:
    """Mixed in before a model's class."""

    def save_pretrained(self, save_directory: Any, **kwargs: Any) -> Any:
        done = super().save_pretrained(save_directory, **{"save_original_format": False, **kwargs})  # type: ignore[misc]
        if kwargs.get("is_main_process", True):
            forget_adapter(save_directory)
        return done

    def __reduce_ex__(self, protocol: Any) -> Any:
        _, _, *state = super().__reduce_ex__(protocol)
        return (_new_whole, (type(self).__mro__[2],), *state)


@functools.cache
def _whole(of: type) -> type:
    return type(of.__name__, (_Whole, of), {"__module__": of.__module__})


def _new_whole(of: type) -> Any:
    """What pickle makes first: it would not find the class under its name, which is that of `of`."""
    return object.__new__(_whole(of))


def keep_names(model: Any) -> Any:
    """Let a model save its weights under the names that they have in it, and return it.

    transformers gives those of some families the names of an older format. Loading a model whole translates them back;
    its Trainer, which loads weights into a model that is there, does not, and nothing does for a head of ours.
    """
    if not isinstance(model, _Whole):
        model.__class__ = _whole(type(model))
    return model


def refuse_other_weights(model: Any, folder: str) -> None:
    """Refuse a checkpoint whose weights are not this model's, by name and shape, before any of them is loaded.

    Args:
        folder: holds model.safetensors (or its index), or an adapter of this model.

    Raises:
        UserError: it holds neither, or weights of another model.
    """
    from safetensors import safe_open

    files = sorted(Path(folder).glob("*model*.safetensors"))
    if not files:
        raise UserError(
            f"checkpoint {folder} holds no weights", fix="name a folder checkpoint-N of a training's --output_dir"
        )
    expected = {name.replace(".default", ""): tuple(value.shape) for name, value in model.state_dict().items()}
    expected |= {name.replace(".modules_to_save", ""): shape for name, shape in expected.items()}
    for file in files:
        with safe_open(file, framework="pt") as weights:
            for name in weights.keys():  # noqa: SIM118 - not a dictionary
                shape = tuple(weights.get_slice(name).get_shape())
                if expected.get(name) != shape:
                    here = "does not have it" if name not in expected else f"has it as {list(expected[name])}"
                    raise UserError(
                        f"checkpoint {folder} is of another model: {name} is {list(shape)}, and this model {here}",
                        fix="name a checkpoint of the same model and settings, or leave --resume_from_checkpoint out",
                    )


def refuse_partial(model: Any, found: Any) -> None:
    """Refuse a checkpoint that turned out, when it was loaded, not to hold just this model's weights.

    Args:
        found: what `load_state_dict` returned; weights that share the memory of others are saved once, not missing.

    Raises:
        UserError: naming the first weight that is missing, or has no place.
    """
    missing = set(found.missing_keys).difference(getattr(model, "_keys_to_ignore_on_save", None) or ())
    if missing:
        state = model.state_dict()
        loaded = {value.data_ptr() for name, value in state.items() if name not in missing}
        missing = {name for name in missing if name not in state or state[name].data_ptr() not in loaded}
    wrong = [*(f"lacks {name}" for name in sorted(missing)), *(f"has also {name}" for name in found.unexpected_keys)]
    if wrong:
        raise UserError(
            f"a checkpoint of this training is of another model or version: it {wrong[0]} ({len(wrong)} such weights)",
            fix="name another --output_dir, or pass --overwrite_output_dir True",
        )


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep transformers' loading bars and reports off the screen; what matters in them is said by the caller."""
    from transformers.utils import logging

    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _fix(error: BaseException) -> str:
    text = str(error)
    if "trust_remote_code" in text:
        return "read the model's code, then pass --trust_remote_code True"
    if "safetensors" in text:
        return "only safetensors weights are loaded; convert them: model.save_pretrained(folder)"
    return "check the name, or download the model first and name its folder (no hub is asked when HF_HUB_OFFLINE=1)"


def hash_weights(model: Any) -> str:
    """The hash of all weights as loaded: what tells one model from another, wherever it lies."""
    state = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        state.update(name.encode())
        state.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return state.hexdigest()
