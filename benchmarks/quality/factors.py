"""One factor of the recipe at a time, on the documentation of this Python: what helps the reranker, and what does not.

    python -m benchmarks.quality.factors [--only NAME ...] [--seeds 42 43 44] [--work FOLDER]

Every variant differs from `base` (the demo's settings) in one thing. Trains, re-ranks the first stage's top 20 of the
validation and the test modules, fits the fusion weight on validation, and writes a line a variant and seed to
factors.jsonl; what stands there is not run again. Choose by the validation columns; test is for the report.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sharprank.cli.main import main as sharprank
from sharprank.formats.collections import read_collection
from sharprank.formats.python_docs import write_python_docs
from sharprank.formats.trec import read_run
from sharprank.metrics.fusion import fit_fusion, fuse
from sharprank.metrics.ranking import average, measure_run
from sharprank.metrics.significance import randomisation_test
from sharprank.pipeline.config import RunConfig
from sharprank.pipeline.demo import SETTINGS, DemoConfig
from sharprank.pipeline.first_stage import rank_first_stage
from sharprank.training.choices import SIMILARITIES_TEMPERATURE, SIMILARITIES_WEIGHT

HERE = Path(__file__).parent
MEASURE = "nDCG@10"
SPLITS = {"validation": "validation", "test": "test"}

Flags = Mapping[str, Any]

BASE: Flags = {
    "max_len": DemoConfig().max_len,
    "train_group_size": SETTINGS["train_group_size"],
    "per_device_train_batch_size": SETTINGS["per_device_train_batch_size"],
    "num_train_epochs": 1,
    "learning_rate": SETTINGS["learning_rate"],
    "warmup_ratio": 0.1,
    "dropout": 0.0,
    "distillation_weight": SIMILARITIES_WEIGHT,
    "teacher_temperature": SIMILARITIES_TEMPERATURE,
}

WITHOUT_TEACHER: Flags = {"distillation_weight": 0.0, "teacher_temperature": None}

VARIANTS: dict[str, Flags] = {
    "base": {},
    "labels alone": WITHOUT_TEACHER,
    "labels alone, first-token head": {**WITHOUT_TEACHER, "pooling": "cls"},
    "teacher weight 0.3": {"distillation_weight": 0.3},
    "teacher weight 3": {"distillation_weight": 3.0},
    "teacher temperature 0.1": {"teacher_temperature": 0.1},
    "192 tokens": {"max_len": 192},
    "learning rate x 2": {"learning_rate": 4e-4},
    "learning rate / 2": {"learning_rate": 1e-4},
    "groups of 16, 4 a step": {"train_group_size": 16, "per_device_train_batch_size": 4},
    "groups of 4, 2 epochs": {"train_group_size": 4, "per_device_train_batch_size": 16, "num_train_epochs": 2},
    "2 epochs": {"num_train_epochs": 2},
    "dropout 0.1": {"dropout": 0.1},
    "mean head": {"pooling": "mean"},
}


def main(argv: list[str] | None = None) -> None:
    """Run what is missing, print everything."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality.factors", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), help="leave the others out")
    parser.add_argument("--seeds", nargs="+", type=int, default=[42])
    parser.add_argument("--work", type=Path, default=Path("out/factors"), help="data, rows and models")
    parser.add_argument("--output", type=Path, default=HERE / "factors.jsonl")
    options = parser.parse_args(argv)
    prepare(options.work)
    done = read_results(options.output)
    for name in options.only or VARIANTS:
        for seed in options.seeds:
            if (name, seed) not in done:
                result = {"variant": name, "seed": seed, **run_variant(options.work, VARIANTS[name], seed)}
                with open(options.output, "a", encoding="utf-8") as file:
                    file.write(json.dumps(result) + "\n")
    print(table(list(read_results(options.output).values())))


def read_results(path: Path) -> dict[tuple[str, int], dict[str, Any]]:
    """What was measured before, by variant and seed."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    results = [json.loads(line) for line in lines]
    return {(result["variant"], result["seed"]): result for result in results}


def prepare(work: Path) -> None:
    """The collection, its mined rows and its first stage; what is there is not made again."""
    docs = work / "docs"
    write_python_docs(docs)
    words = {
        "input_file": docs / "train.jsonl",
        "candidate_pool": docs / "corpus.jsonl",
        "output_file": work / "mined.jsonl",
        "model_name_or_path": "minilm",
        "range_for_sampling": SETTINGS["range_for_sampling"],
        "negative_number": SETTINGS["negative_number"],
        "output_scores": True,
        "dtype": "auto",
    }
    _command("mine", words)
    for split in SPLITS:
        config = RunConfig(train_data="", output_dir=str(work))
        rank_first_stage(config, str(docs), split, path=work / f"{split}.trec")


def run_variant(work: Path, changes: Flags, seed: int) -> dict[str, Any]:
    """Train one variant and measure it."""
    from sharprank.models.devices import bf16_is_fast, choose_device
    from sharprank.models.scoring import PairScorer

    flags = {**BASE, **changes}
    device = choose_device()
    on_cpu = {"use_cpu": True} if device.type == "cpu" else {}
    start = time.perf_counter()
    _command(
        "train",
        {
            "model_name_or_path": "minilm",
            "train_data": work / "mined.jsonl",
            "output_dir": work / "model",
            "overwrite_output_dir": True,
            "save_strategy": "no",
            "report_to": "none",
            "bf16": bf16_is_fast(device),
            "validation_split": 0,
            "seed": seed,
            **on_cpu,
            **flags,
        },
    )
    seconds = time.perf_counter() - start
    scorer = PairScorer.load(str(work / "model"), dtype="auto")
    return {"seconds": round(seconds), **_measure(work, scorer)}


def _measure(work: Path, scorer: Any) -> dict[str, float]:
    found: dict[str, float] = {}
    weight = 0.0
    for split in SPLITS:
        collection = read_collection(work / "docs", split=split)
        run = read_run(work / f"{split}.trec")
        first = {
            q: dict(sorted(run[q].items(), key=lambda item: -item[1])[: SETTINGS["depth"]]) for q in collection.qrels
        }
        reranked = scorer.score_many(collection.queries, collection.passages, first, progress=f"scoring {split}")
        if split == "validation":
            weight = fit_fusion(collection.qrels, first, reranked, measure=MEASURE).weight
        rankings = {"first": first, "alone": reranked, "fused": fuse(first, reranked, weight)}
        values = {name: measure_run(collection.qrels, r, [MEASURE])[MEASURE] for name, r in rankings.items()}
        found |= {f"{split} {name}": round(average({MEASURE: v})[MEASURE], 4) for name, v in values.items()}
        queries = sorted(collection.qrels)
        for name in ("alone", "fused"):
            pairs = ([values[one][q] for q in queries] for one in (name, "first"))
            found[f"{split} {name} p"] = round(randomisation_test(*pairs), 4)
    return {**found, "weight": weight}


def table(results: list[dict[str, Any]]) -> str:
    """A line a variant, means over its seeds, best validation figure first."""
    columns = ["validation alone", "validation fused", "test alone", "test fused"]
    names = list(dict.fromkeys(result["variant"] for result in results))
    rows = []
    for name in names:
        mine = [result for result in results if result["variant"] == name]
        rows.append((name, len(mine), *(sum(r[column] for r in mine) / len(mine) for column in columns)))
    rows.sort(key=lambda row: -row[2])
    head = f"{MEASURE} (first stage: validation {results[0]['validation first']}, test {results[0]['test first']})"
    lines = [head, "", "| variant | seeds | " + " | ".join(columns) + " |", "|---" * 6 + "|"]
    return "\n".join(
        lines + [f"| {n} | {k} | " + " | ".join(f"{v:.4f}" for v in values) + " |" for n, k, *values in rows]
    )


def _command(name: str, flags: Flags) -> None:
    words = [f"--{flag}={value}" for flag, value in flags.items() if value is not None]
    if sharprank([name, *words]):
        raise SystemExit(f"sharprank {name} failed")


if __name__ == "__main__":
    main()
