"""The demo: the main job on the documentation of the running Python, sized for about ten minutes on two cores."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from sharprank.formats.python_docs import write_python_docs
from sharprank.pipeline import run as pipeline
from sharprank.pipeline.config import RunConfig
from sharprank.progress import say

DATA_FOLDER = "python_docs"
SPLIT_SEED = 0  # of the published figures, so it is no flag

# Sized for two cores, also without bfloat16; not searched for. What they give stands in docs/results.md.
SETTINGS = {
    "range_for_sampling": "2-60",
    "negative_number": 30,
    "train_group_size": 8,
    "per_device_train_batch_size": 8,
    "num_train_epochs": 0.5,
    "dropout": 0.0,
    "depth": 20,
}


@dataclass(kw_only=True)
class DemoConfig:
    """The flags of `sharprank demo`."""

    output_dir: str = field(default="demo_output", metadata={"help": "where data, reranker and report go"})
    model_name_or_path: str = field(
        default="minilm",
        metadata={"help": "what the reranker starts from: a folder, a hub id, or minilm", "aliases": "-m"},
    )
    embedder_name_or_path: str = field(
        default="minilm", metadata={"help": "bi-encoder that mines and is the first stage"}
    )
    max_len: int = field(default=128, metadata={"help": "tokens of a pair"})
    max_steps: int = field(default=-1, metadata={"help": "fewer training steps, for a quicker look"})
    device: str | None = field(
        default=None, metadata={"help": "cpu, cuda, cuda:N or mps; by default the best there is"}
    )
    seed: int = field(default=42, metadata={"help": "of mining and of training"})
    overwrite: bool = field(default=False, metadata={"help": "do every stage again, whatever is there"})


def run_config(config: DemoConfig) -> RunConfig:
    """The demo as settings of `sharprank run`."""
    docs = Path(config.output_dir) / DATA_FOLDER
    return RunConfig(
        train_data=str(docs / "train.jsonl"),
        candidate_pool=str(docs / "corpus.jsonl"),
        eval_data=str(docs),
        eval_split="test",
        validation_split="validation",
        **vars(config),
        **SETTINGS,
    )


def demo(config: DemoConfig) -> str:
    """Write the data and do the main job on it; returns the report.

    Raises:
        UserError: this Python came without its sources, or the demo's model is not installed.
    """
    counts = write_python_docs(Path(config.output_dir) / DATA_FOLDER, seed=SPLIT_SEED)
    parts = ", ".join(f"{count:,} {split}" for split, count in counts.items())
    say(f"the documentation of this Python as (summary, rest) pairs, split by module: {parts}")
    return pipeline.run(run_config(config))
