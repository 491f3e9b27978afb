"""A cell: one system trained once on one collection. Every step of it leaves a file, and what is there is not redone.

WORK/COLLECTION/prepared/                     rows, pool, splits with their first stage
WORK/start/seed-N/                            MiniLM with a head drawn from the seed
WORK/COLLECTION/SYSTEM/seed-N/mined.jsonl     what the system's miner made, for variants of ours too unless they mine
WORK/COLLECTION/SYSTEM/seed-N/BUDGET/         model/ while it is needed, trained.json, SPLIT.trec, result.json
"""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.quality import with_flagembedding, with_sentence_transformers
from benchmarks.quality.budget import Effort, check_tokens
from benchmarks.quality.prepared import TEST, VALIDATION, Prepared, prepare, some_queries
from benchmarks.quality.with_sharprank import Sharprank
from sharprank.errors import UserError
from sharprank.formats.trec import write_run
from sharprank.formats.writers import write_json
from sharprank.provenance import versions
from sharprank.records import Qrels

OURS = "sharprank"
SYSTEMS: dict[str, Any] = {
    "flagembedding": with_flagembedding,
    "sentence-transformers": with_sentence_transformers,
    OURS: Sharprank(),
}
"""Ours last, so that the peers' cells are there when ours is tuned no more."""

TOKENS, WALL = "tokens", "wall"
BUDGETS = (TOKENS, WALL)
SCORED = (VALIDATION, TEST)


@dataclass(frozen=True)
class Cell:
    """What is trained.

    Attributes:
        budget: "tokens": so many useful tokens; "wall": the CPU seconds that our own equal-token training took.
    """

    collection: str
    system: str
    budget: str
    seed: int


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Where and how large.

    Attributes:
        data: the folder of the given collections.
        tokens: useful tokens of a training.
        max_len: tokens of a pair, in training and in scoring.
        keep: leave the weights after scoring.
        variants: of our recipe, by the name that their cells have as their system.
        variant_queries: of each split that variants are measured on; None: all.
        kept: results of cells that were done before, here or on another machine (see `kept`).
    """

    data: Path | None
    work: Path
    tokens: int = 400_000
    max_len: int = 128
    keep: bool = False
    variants: Mapping[str, Sharprank] = field(default_factory=dict)
    variant_queries: int | None = None
    kept: Mapping[Cell, dict[str, Any]] = field(default_factory=dict)

    def system(self, cell: Cell) -> Any:
        """What mines and trains a cell."""
        return self.variants.get(cell.system) or SYSTEMS[cell.system]

    def folder(self, cell: Cell) -> Path:
        """Where a cell's files are."""
        return self.work / cell.collection / cell.system / f"seed-{cell.seed}" / f"{cell.budget}-{self.tokens}"

    def mined_folder(self, cell: Cell) -> Path:
        """Where its mined rows are, the same for every budget."""
        return self.work / cell.collection / self._miner(cell) / f"seed-{cell.seed}"

    def cache_folder(self, cell: Cell) -> Path:
        """Where its miner keeps vectors, the same for every seed."""
        return self.work / cell.collection / (OURS if cell.system in self.variants else cell.system) / "cache"

    def _miner(self, cell: Cell) -> str:
        variant = self.variants.get(cell.system)
        return OURS if variant is not None and not variant.mines else cell.system

    def candidates(self, cell: Cell, split: str) -> dict[str, list[str]]:
        """What a cell is scored on, by query."""
        ranked = self.prepared(cell.collection).first_stage(split)
        if cell.system in self.variants:
            measured = self.measured(cell)[-1] if split == TEST else split
            some = self.judged(cell, measured)
            ranked = {query_id: ranking for query_id, ranking in ranked.items() if query_id in some}
        return {query_id: list(ranking) for query_id, ranking in ranked.items()}

    def measured(self, cell: Cell) -> Sequence[str]:
        """The test splits that a cell has figures of: of a variant the last one, which asks most."""
        measured = self.prepared(cell.collection).measured
        return measured[-1:] if cell.system in self.variants else measured

    def judged(self, cell: Cell, split: str) -> Qrels:
        """The judgements of a split that a cell is measured by."""
        qrels = self.prepared(cell.collection).read(split).qrels
        if cell.system not in self.variants or self.variant_queries is None:
            return qrels
        return some_queries(qrels, self.variant_queries)

    def prepared(self, collection: str) -> Prepared:
        """The collection, prepared now unless it was before."""
        return prepare(collection, self.data, self.work / collection / "prepared")


def ordered(
    collections: Sequence[str], systems: Sequence[str], budgets: Sequence[str], seeds: Sequence[int]
) -> Iterator[Cell]:
    """Every cell, seed by seed, so that one seed of everything is there first."""
    for seed in seeds:
        for budget in budgets:
            for collection in collections:
                for system in systems:
                    if (system, budget) != (OURS, WALL):  # ours sets the time: it would be the same cell
                        yield Cell(collection, system, budget, seed)


def read_result(bench: Bench, cell: Cell) -> dict[str, Any] | None:
    """What a cell gave here, or is kept of it; None before it is done.

    Raises:
        UserError: it was trained with another pair length, or another recipe of that name.
    """
    path = bench.folder(cell) / "result.json"
    found = _json(path, bench) if path.exists() else bench.kept.get(cell)
    if found is not None and found.get("recipe") not in (None, _recipe(bench, cell)):
        raise UserError(
            f"{cell} was trained with other flags or defaults than it has now",
            fix=f"train it anew (--again {cell.system!r}), or use another --work folder",
        )
    return found


def _recipe(bench: Bench, cell: Cell) -> dict[str, Any] | None:
    """What decides the result of a system of ours; None for the peers, whose recipes stand."""
    system = bench.system(cell)
    return system.recipe() if hasattr(system, "recipe") else None


def _json(path: Path, bench: Bench) -> dict[str, Any]:
    found = json.loads(path.read_text(encoding="utf-8"))
    if found["max_len"] != bench.max_len:
        raise UserError(
            f"{path}: trained with pairs of {found['max_len']} tokens, not {bench.max_len}",
            fix="use another --work folder for another --max_len",
        )
    return found


def forget(bench: Bench, cell: Cell) -> None:
    """Take away what a cell left, its mined rows apart, so that it is trained again."""
    shutil.rmtree(bench.folder(cell), ignore_errors=True)


def run_cell(bench: Bench, cell: Cell) -> dict[str, Any]:
    """Mine, train, score; returns the result.

    Raises:
        MissingTime: the cell's budget is our time, and our own cell is not done.
    """
    folder, done = bench.folder(cell), read_result(bench, cell)
    if done is not None:
        return done
    collection = bench.prepared(cell.collection)
    trained = _trained(bench, cell, collection)
    _score(bench, cell, collection)
    recipe = _recipe(bench, cell)
    result = {**asdict(cell), **trained, **({} if recipe is None else {"recipe": recipe})}
    write_json(folder / "result.json", result)
    if not bench.keep:
        shutil.rmtree(folder / "model")
    return result


class MissingTime(Exception):
    """Our own equal-token training, whose time a cell is given, is not there."""


def _trained(bench: Bench, cell: Cell, collection: Prepared) -> dict[str, Any]:
    """Train unless a whole training is there; returns what it took."""
    folder = bench.folder(cell)
    about = folder / "trained.json"
    if about.exists() and (folder / "model").is_dir():
        return _json(about, bench)
    shutil.rmtree(folder / "model", ignore_errors=True)
    system, mined = bench.system(cell), _mined(bench, cell, collection)
    start = _start(bench, cell.seed)
    steps = _steps(bench, cell, mined, start)
    effort: Effort = system.train(mined, start, folder / "model", steps=steps, seed=cell.seed, max_len=bench.max_len)
    if cell.budget == TOKENS and getattr(system, "passes", None) is None:
        check_tokens(effort, bench.tokens)
    trained = {**asdict(effort), "max_len": bench.max_len, "machine": _machine()}
    write_json(about, trained)
    return trained


def _mined(bench: Bench, cell: Cell, collection: Prepared) -> Path:
    path = bench.mined_folder(cell) / "mined.jsonl"
    if not path.exists():
        bench.system(cell).mine(collection, path, bench.cache_folder(cell), seed=cell.seed)
    return path


def _steps(bench: Bench, cell: Cell, mined: Path, start: Path) -> int:
    if cell.budget == WALL:
        ours = read_result(bench, Cell(cell.collection, OURS, TOKENS, cell.seed))
        own = read_result(bench, Cell(cell.collection, cell.system, TOKENS, cell.seed))
        if ours is None or own is None:
            missing = OURS if ours is None else cell.system
            raise MissingTime(f"{missing} has not been trained on {cell.collection} with seed {cell.seed}")
        if _processor_of(ours) != _processor_of(own):
            raise MissingTime("the times it would be given were taken on two kinds of processor")
        return max(1, round(ours["cpu"] / own["cpu"] * own["steps"]))
    return bench.system(cell).pace(mined, start, max_len=bench.max_len).steps_for(bench.tokens)


def _processor_of(result: Mapping[str, Any]) -> str | None:
    return result.get("machine", {}).get("processor")


def _start(bench: Bench, seed: int) -> Path:
    """MiniLM as a plain sequence classifier with one label, its head drawn from the seed; made once."""
    path = bench.work / "start" / f"seed-{seed}"
    if not path.exists():
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        from sharprank.models.minilm import minilm_folder

        torch.manual_seed(seed)
        model = AutoModelForSequenceClassification.from_pretrained(minilm_folder(), num_labels=1, dtype=torch.float32)
        beside = path.with_name(f"{path.name}.part")
        model.save_pretrained(beside)
        AutoTokenizer.from_pretrained(minilm_folder()).save_pretrained(beside)
        beside.rename(path)
    return path


def _score(bench: Bench, cell: Cell, collection: Prepared) -> None:
    """Write the scores of every candidate of both splits."""
    from sharprank.models.scoring import PairScorer

    folder = bench.folder(cell)
    if all((folder / f"{split}.trec").exists() for split in SCORED):
        return
    scorer = PairScorer.load(str(folder / "model"), max_length=bench.max_len, dtype="auto")
    for split in SCORED:
        texts = collection.read(split)
        run = scorer.score_many(texts.queries, texts.passages, bench.candidates(cell, split))
        write_run(folder / f"{split}.trec", run, tag=cell.system)


def _machine() -> dict[str, Any]:
    import torch

    from sharprank.models.devices import choose_device

    return {
        "device": str(choose_device()),
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2),
        "versions": {**versions(), "sentence-transformers": version("sentence-transformers")},
    }


def _processor() -> str:
    """What this machine calls its processor."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
