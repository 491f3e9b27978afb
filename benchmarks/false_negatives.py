"""Measure what each filter of `sharprank mine` does to false negatives that are known to be some.

    python benchmarks/false_negatives.py COLLECTION [--teacher MODEL] [--work FOLDER] [--output OUTPUT.json]

Every query with several judged positives keeps one as its label; the others are hidden in the pool, where a miner
meets them as candidates (`hidden`). A training query that shares half of its words with a test query may find that
query's positives there as well (`twins`). Each filter mines ranks 1-100 of all queries with MiniLM and takes all it
admits; counted is how many known false negatives are left, and what else is lost with the others. A teacher is
measured on the test queries alone, which it may not have been trained on.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sharprank.formats.collections import read_collection
from sharprank.formats.writers import write_json, write_jsonl
from sharprank.mining.config import MineConfig
from sharprank.mining.mine import mine
from sharprank.provenance import versions
from sharprank.retrieval.filters import plain

DEPTH, WANTED = 100, 15
OFF = {"near_duplicate": 2.0}
FILTERS: dict[str, dict[str, Any]] = {
    "none": OFF,
    "ranks 11-100": OFF | {"range_for_sampling": f"10-{DEPTH}"},
    "near duplicates": {"near_duplicate": 0.8},
    "topk_abs (0.7)": OFF | {"false_negatives": "topk_abs"},
    "topk_marginpos (0.05)": OFF | {"false_negatives": "topk_marginpos"},
    "topk_percpos (95%)": OFF | {"false_negatives": "topk_percpos"},
    "90% of the positive": OFF | {"relative_margin": 0.1},
    "80% of the positive": OFF | {"relative_margin": 0.2},
}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collection")
    parser.add_argument("--teacher")
    parser.add_argument("--work", help="folder for embeddings and candidates; by default a temporary one")
    parser.add_argument("--output", default=str(Path(__file__).with_suffix(".json")))
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(words.work or temporary)
        rows = _rows(words.collection)
        everything = _measure(rows, words.collection, work, FILTERS)
        found: dict[str, Any] = {"all": everything}
        if words.teacher:
            teacher = {
                f"teacher, margin {m}": OFF | {"teacher": words.teacher, "teacher_margin": m} for m in (0.0, 1.0)
            }
            compared = {name: FILTERS[name] for name in ("none", "topk_percpos (95%)")} | teacher
            of_test = [row for row in rows if row["split"] == "test"]
            found["test"] = _measure(of_test, words.collection, work, compared)
    for name, table in found.items():
        print(f"\n{name}: {table['rows']} rows, {table['known']}")
        print("\n".join(_lines(table["filters"])))
    write_json(words.output, {"depth": DEPTH, "results": found, "versions": versions()})


def _rows(collection: str) -> list[dict[str, Any]]:
    """All queries, each with one positive as its label, and the passages that are known to be relevant besides."""
    train, test = (read_collection(collection, split=split) for split in ("train", "test"))
    bags = {query_id: set(plain(test.queries[query_id]).split()) for query_id in test.qrels}
    rows = []
    for split in (train, test):
        for query_id, judged in split.qrels.items():
            positives = [passage_id for passage_id, relevance in judged.items() if relevance > 0]
            if not positives:
                continue
            words = set(plain(split.queries[query_id]).split())
            near = [one for one, bag in bags.items() if split is train and len(words & bag) >= len(words | bag) / 2]
            twins = {p for one in near for p, relevance in test.qrels[one].items() if relevance > 0} - set(positives)
            rows.append({
                "id": query_id, "split": "train" if split is train else "test", "query": split.queries[query_id],
                "pos": [split.passages[positives[0]]], "hidden": positives[1:], "twins": sorted(twins),
            })  # fmt: skip
    return rows


def _measure(
    rows: list[dict[str, Any]], collection: str, work: Path, filters: Mapping[str, dict[str, Any]]
) -> dict[str, Any]:
    rows_path, candidates_path = work / "rows.jsonl", work / "candidates.jsonl"
    write_jsonl(rows_path, rows)
    measured = {}
    for name, flags in filters.items():
        defaults = {"range_for_sampling": f"0-{DEPTH}", "negative_number": DEPTH, "sampling": "top", "top_up": "none"}
        settings = defaults | flags
        low = int(settings["range_for_sampling"].split("-")[0])
        settings["negative_number"] = DEPTH - low
        config = MineConfig(
            input_file=str(rows_path),
            output_file=str(work / "mined.jsonl"),
            output_candidates=str(candidates_path),
            candidate_pool=collection,
            model_name_or_path="minilm",
            embedding_cache=str(work / "cache"),
            device="cpu",
            dtype="auto",
            overwrite=True,
            **settings,
        )
        mine(config)
        with open(candidates_path, encoding="utf-8") as file:
            measured[name] = _count(rows, (json.loads(line)["candidates"] for line in file))
    known = {kind: sum(len(row[kind]) for row in rows) for kind in ("hidden", "twins")}
    return {"rows": len(rows), "known": known, "filters": measured}


def _count(rows: Iterable[Mapping[str, Any]], candidates: Iterable[list[dict[str, Any]]]) -> dict[str, int]:
    """What may become a negative: known false negatives, other candidates; and rows with fewer than WANTED of them."""
    counts: dict[str, int] = dict.fromkeys(("hidden", "twins", "others", "too_few"), 0)
    for row, own in zip(rows, candidates, strict=True):
        left = [one["id"] for one in own if one["reason"] is None]
        counts["too_few"] += len(left) < WANTED
        for kind in ("hidden", "twins"):
            counts[kind] += sum(name in row[kind] for name in left)
        counts["others"] += sum(name not in row["hidden"] and name not in row["twins"] for name in left)
    return counts


def _lines(filters: Mapping[str, Mapping[str, int]]) -> Iterable[str]:
    """What is left, and how much less that is than without a filter."""
    before = filters["none"]
    yield f"{'filter':<24}{'hidden left':>18}{'twins left':>18}{'others left':>20}{'rows < 15':>11}"
    for name, one in filters.items():
        parts = [
            f"{one[kind]:,} ({one[kind] / max(1, before[kind]) - 1:+.0%})" for kind in ("hidden", "twins", "others")
        ]
        yield f"{name:<24}{parts[0]:>18}{parts[1]:>18}{parts[2]:>20}{one['too_few']:>11}"


if __name__ == "__main__":
    main()
