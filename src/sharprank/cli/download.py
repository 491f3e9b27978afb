"""`sharprank download MODEL`: put a base model from the hub where every command finds it without a network."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

from sharprank.cli.options import parse, run_command
from sharprank.errors import UserError

PROG = "sharprank download"
DESCRIPTION = "Fetch a model from the Hugging Face hub, so that commands which name it work offline afterwards."
NOT_NEEDED = ["*.onnx", "onnx/*", "openvino/*", "*.msgpack", "*.h5", "*.ot", "*.tflite", "*.gguf", "imgs/*", "*.pdf"]


@dataclass(kw_only=True)
class DownloadConfig:
    """The flags of `sharprank download MODEL`."""

    revision: str | None = field(default=None, metadata={"help": "branch, tag or commit; by default the newest"})
    cache_dir: str | None = field(default=None, metadata={"help": "where models from the hub are kept"})
    output_dir: str | None = field(
        default=None, metadata={"help": "put the files into this folder instead, to be named in the model's place"}
    )


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return run_command(lambda: _download(list(sys.argv[1:] if argv is None else argv)))


def _download(words: list[str]) -> None:
    name = words.pop(0) if words and not words[0].startswith("-") else None
    config = parse(DownloadConfig, words, prog=f"{PROG} MODEL", description=DESCRIPTION)
    if name is None:
        raise UserError(f"{PROG}: no model was named", fix=f"name it first: {PROG} BAAI/bge-reranker-base")
    folder = download(name, config)
    print(f"{name} lies in {folder}")


def download(name: str, config: DownloadConfig) -> Path:
    """The folder that holds the model, fetched where it was not there yet; what was fetched before is not again.

    Raises:
        UserError: no such model or revision, one that asks for a licence to be accepted, no network.
    """
    from huggingface_hub import errors, snapshot_download

    if Path(name).exists():
        raise UserError(f"{name} is a local path", fix="name it as it is; only models of the hub are fetched")
    try:
        folder = snapshot_download(
            name,
            revision=config.revision,
            cache_dir=config.cache_dir,
            local_dir=config.output_dir,
            ignore_patterns=NOT_NEEDED,
        )
    except (errors.HFValidationError, errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        raise UserError(
            f"the hub has no model {name!r}" + (f" at {config.revision!r}" if config.revision else ""),
            fix="check the spelling, OWNER/NAME; a private one, or one with a licence, needs `hf auth login`",
        ) from error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, errors.HfHubHTTPError, OSError) as error:
        raise UserError(
            f"{name} cannot be fetched: {_first_line(error)}",
            fix="check the network, HF_HUB_OFFLINE, HF_ENDPOINT and the room on the disk; the same command continues",
        ) from error
    return Path(str(folder))


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
