"""Recipes that differ from ours by more than a flag: averaged weights, other starts, several teachers.

Each is a `Sharprank` of the benchmark, so its cells are mined, budgeted, trained and scored like every other.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from safetensors.torch import load_file, save_file

from benchmarks.quality.budget import Effort
from benchmarks.quality.prepared import PYTHON_DOCS, Prepared, prepare, read_lines
from benchmarks.quality.with_sharprank import Sharprank, command
from sharprank.formats.writers import write_jsonl
from sharprank.models import maxsim

WEIGHTS = "model.safetensors"
TEACHER_MAX_LEN = 128


@dataclass(frozen=True)
class Averaged(Sharprank):
    """The mean of the last checkpoints, instead of that of the last one and the start.

    Attributes:
        num, every: how many, and after which share of the steps one is taken.
    """

    num: int = 3
    every: float = 0.1

    def train(self, mined: Path, start: Path, output: Path, *, steps: int, seed: int, max_len: int) -> Effort:
        often = max(1, round(self.every * steps))
        flags = {"save_strategy": "steps", "save_steps": often, "save_total_limit": self.num}
        recipe = Sharprank({"start_share": 0, **self.train_flags, **flags}, self.mine_flags)
        effort = recipe.train(mined, start, output, steps=steps, seed=seed, max_len=max_len)
        found = sorted(output.glob(f"checkpoint-*/{WEIGHTS}"), key=lambda path: int(path.parent.name.split("-")[1]))
        last = found[-self.num :]
        _merge(output, [(load_file(path), 1 / len(last)) for path in last])
        for path in found:
            shutil.rmtree(path.parent)
        return effort


@dataclass(frozen=True)
class Scaled(Sharprank):
    """Another scale of the scores at the start, which is the loss's temperature: softmax sees similarities times it.

    Attributes:
        scale: in the place of `maxsim.SCALE`.
    """

    scale: float = maxsim.SCALE

    def train(self, mined: Path, start: Path, output: Path, *, steps: int, seed: int, max_len: int) -> Effort:
        with mock.patch.object(maxsim, "SCALE", self.scale):
            return super().train(mined, start, output, steps=steps, seed=seed, max_len=max_len)


@dataclass(frozen=True)
class Continued(Sharprank):
    """A reranker that ranks already, trained further; it was trained on the documentation of Python, for one pass."""

    def train(self, mined: Path, start: Path, output: Path, *, steps: int, seed: int, max_len: int) -> Effort:
        ranks = start.with_name(f"ranks-{seed}")
        if not (ranks / WEIGHTS).exists():
            work = start.parents[1]
            source = prepare(PYTHON_DOCS, None, work / PYTHON_DOCS / "prepared")
            with tempfile.TemporaryDirectory() as name:
                rows = Path(name) / "mined.jsonl"
                super().mine(source, rows, Path(name) / "cache", seed=seed)
                Sharprank(passes=1).train(rows, start, ranks, steps=0, seed=seed, max_len=max_len)
        flags = {**self.train_flags, "model_name_or_path": ranks}
        recipe = Sharprank(flags)
        return recipe.train(mined, start, output, steps=steps, seed=seed, max_len=max_len)


class WithRowsOfItsOwn(Sharprank):
    """A recipe whose `mine` does more than its flags say."""

    @property
    def mines(self) -> bool:
        """Whether its rows are others than those of the default settings: yes."""
        return True


@dataclass(frozen=True)
class WarmStart(WithRowsOfItsOwn):
    """Half of the tokens on queries made of the pool's own words, before the other half on the real ones."""

    def mine(self, collection: Prepared, output: Path, cache: Path, *, seed: int) -> None:
        raw, pool = output.with_name("documents.jsonl"), output.with_name("documents_pool.jsonl")
        flags = {"corpus_path": collection.corpus_path, "output_file": raw, "output_pool": pool, "seed": seed}
        command("synthesize", {**flags, "num_examples": len(read_lines(collection.train_path))})
        self._mine(raw, pool, _made_up(output), cache, seed=seed)
        super().mine(collection, output, cache, seed=seed)

    def train(self, mined: Path, start: Path, output: Path, *, steps: int, seed: int, max_len: int) -> Effort:
        half = steps // 2 * self.pace(mined, start, max_len=max_len).step
        made_up = _made_up(mined)
        num_first = self.pace(made_up, start, max_len=max_len).steps_for(half)
        with tempfile.TemporaryDirectory() as folder:
            warm = Path(folder) / "model"
            whole = replace(self, train_flags={**self.train_flags, "start_share": 0})
            first = Sharprank.train(whole, made_up, start, warm, steps=num_first, seed=seed, max_len=max_len)
            flags = {"learning_rate": 1e-4, "dropout": 0, "start_share": 0.5, **self.train_flags}
            second = replace(self, train_flags={**flags, "model_name_or_path": warm})
            rest = Sharprank.train(second, mined, start, output, steps=steps - steps // 2, seed=seed, max_len=max_len)
        return first + rest


def _made_up(mined: Path) -> Path:
    return mined.with_name("made_up.jsonl")


@dataclass(frozen=True)
class FilteredByItself(WithRowsOfItsOwn):
    """Negatives that a reranker trained without the filter puts below the positive; what it costs is not counted.

    Attributes:
        steps: of the filtering reranker.
    """

    steps: int = 50

    def mine(self, collection: Prepared, output: Path, cache: Path, *, seed: int) -> None:
        with tempfile.TemporaryDirectory() as name:
            rows, model = Path(name) / "mined.jsonl", Path(name) / "teacher"
            super().mine(collection, rows, cache, seed=seed)
            _train_teacher(rows, model, steps=self.steps, seed=seed)
            flags = {"teacher": model, "teacher_margin": 0, "teacher_max_length": TEACHER_MAX_LEN}
            filtered = Path(name) / "filtered.jsonl"
            Sharprank(mine_flags=flags).mine(collection, filtered, cache, seed=seed)
            scores = {"pos_scores", "neg_scores"}  # they would teach in the place of the similarities
            write_jsonl(output, ({k: v for k, v in row.items() if k not in scores} for row in read_lines(filtered)))


@dataclass(frozen=True)
class TaughtByAnEnsemble(WithRowsOfItsOwn):
    """The mean score of several of our own trainings as a teacher, in the place of the miner's similarities.

    What the teachers cost is not counted.

    Attributes:
        seeds: of the teachers.
        steps: of each.
    """

    seeds: Sequence[int] = (1, 2, 3)
    steps: int = 50

    def mine(self, collection: Prepared, output: Path, cache: Path, *, seed: int) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            rows = folder / "mined.jsonl"
            super().mine(collection, rows, cache, seed=seed)
            scored = []
            for teacher in self.seeds:
                model = folder / f"teacher-{teacher}"
                _train_teacher(rows, model, steps=self.steps, seed=teacher)
                taught = folder / f"{teacher}.jsonl"
                flags = {"model_name_or_path": model, "input_file": rows, "output_file": taught, "dtype": "auto"}
                command("teach", flags)
                scored.append(read_lines(taught))
            write_jsonl(output, (_mean_scores(row, *others) for row, *others in zip(*scored, strict=True)))


def _train_teacher(rows: Path, model: Path, *, steps: int, seed: int) -> None:
    Sharprank().train(rows, model, model, steps=steps, seed=seed, max_len=TEACHER_MAX_LEN)


def _mean_scores(row: dict[str, Any], *others: dict[str, Any]) -> dict[str, Any]:
    def mean(key: str) -> list[float]:
        return [sum(values) / len(values) for values in zip(row[key], *(o[key] for o in others), strict=True)]

    return {**row, "pos_scores": mean("pos_scores"), "neg_scores": mean("neg_scores")}


def _merge(model: Path, parts: Sequence[tuple[Mapping[str, Any], float]]) -> None:
    """Put the weighted mean of the parts' weights into `model`; what only some of them have is left out."""
    names = set.intersection(*(set(weights) for weights, _ in parts))
    total = {
        name: torch.stack([share * weights[name].float() for weights, share in parts]).sum(0) for name in sorted(names)
    }
    save_file(total, model / WEIGHTS, metadata={"format": "pt"})
