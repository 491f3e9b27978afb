"""Measure what each filter of `sharprank mine` does to false negatives that are known to be some.

    python benchmarks/false_negatives.py COLLECTION [--teacher MODEL] [--work FOLDER] [--output OUTPUT.json]

Every query with several judged positives keeps one as its label; the others are hidden in the pool, where a miner
meets them as candidates (`hidden`). A training query that shares half of its words with a test query may find that
query's positives there as well (`twins`). MiniLM mines ranks 1-100 for these queries and for all test queries, with
scores; each rule then filters the same mined rows, as `sharprank filter` does. Counted is how many known false
negatives are left, and what else is lost with the others. A teacher is measured on ranks 1-50 of the test queries that
hide something: it may not have been trained on them.
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
from sharprank.mining.refilter import refilter
from sharprank.mining.refilter_config import RefilterConfig
from sharprank.provenance import versions
from sharprank.retrieval.filters import plain

DEPTH, TEACHER_DEPTH, TEACHER_TOKENS, WANTED = 100, 50, 192, 15
NOTHING = "none"
RULES: dict[str, dict[str, Any]] = {
    "topk_abs (0.7)": {"false_negatives": "topk_abs"},
    "topk_marginpos (0.05)": {"false_negatives": "topk_marginpos"},
    "topk_percpos (95%)": {"false_negatives": "topk_percpos"},
    "90% of the positive": {"relative_margin": 0.1},
    "80% of the positive": {"relative_margin": 0.2},
}

Rows = list[dict[str, Any]]


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collection")
    parser.add_argument("--teacher")
    parser.add_argument("--work", help="folder for embeddings and mined rows; by default a temporary one")
    parser.add_argument("--output", default=str(Path(__file__).with_suffix(".json")))
    words = parser.parse_args()
    rows = known_rows(words.collection)
    with tempfile.TemporaryDirectory() as temporary:
        bench = Bench(words.collection, Path(words.work or temporary))
        found = {"all": bench.rules(rows)}
        if words.teacher:
            hiding = [row for row in rows if row["split"] == "test" and row["hidden"]]
            found["teacher"] = bench.teacher(hiding, words.teacher)
    for name, table in found.items():
        print(f"\n{name}: {table['rows']} queries, known false negatives in the pool: {table['known']}")
        print("\n".join(_lines(table["filters"])))
    write_json(words.output, {"depth": DEPTH, "results": found, "versions": versions()})


def known_rows(collection: str) -> Rows:
    """Queries with one positive as their label, and the passages that are known to be relevant besides."""
    train, test = (read_collection(collection, split=split) for split in ("train", "test"))
    bags = {query_id: set(plain(test.queries[query_id]).split()) for query_id in test.qrels}
    rows = []
    for split in (train, test):
        for query_id, judged in split.qrels.items():
            positives = [passage_id for passage_id, relevance in judged.items() if relevance > 0]
            words = set(plain(split.queries[query_id]).split())
            near = [one for one, bag in bags.items() if split is train and len(words & bag) >= len(words | bag) / 2]
            twins = {p for one in near for p, relevance in test.qrels[one].items() if relevance > 0} - set(positives)
            if positives and (split is test or len(positives) > 1 or twins):
                rows.append({
                    "id": query_id, "split": split.split, "query": split.queries[query_id],
                    "pos": [split.passages[positives[0]]], "hidden": positives[1:], "twins": sorted(twins),
                })  # fmt: skip
    return rows


class Bench:
    """Mines and filters one collection.

    Args:
        work: folder for embeddings and mined rows.
    """

    def __init__(self, collection: str, work: Path) -> None:
        self._collection, self._work = collection, work

    def rules(self, rows: Rows) -> dict[str, Any]:
        """What each rule leaves of ranks 1-100."""
        everything = self._mine(rows, near_duplicate=2.0)
        measured = {NOTHING: _count(everything), "ranks 11-100": _count(everything, above=10)}
        measured["near duplicates"] = _count(self._mine(rows))
        write_jsonl(self._work / "all.jsonl", everything)
        for name, flags in RULES.items():
            filtered = self._work / "filtered.jsonl"
            refilter(
                RefilterConfig(
                    input_file=str(self._work / "all.jsonl"), output_file=str(filtered), overwrite=True, **flags
                )
            )
            measured[name] = _count(_read(filtered))
        return _table(rows, measured)

    def teacher(self, rows: Rows, teacher: str) -> dict[str, Any]:
        """What a teacher leaves of ranks 1-50, and what the preset leaves there."""
        runs = {NOTHING: {}, "topk_percpos (95%)": {"false_negatives": "topk_percpos"}}
        for margin in (0.0, 1.0, 2.0):
            runs[f"teacher, margin {margin:g}"] = {
                "teacher": teacher, "teacher_margin": margin, "teacher_max_length": TEACHER_TOKENS,
            }  # fmt: skip
        mined = {
            name: self._mine(rows, depth=TEACHER_DEPTH, near_duplicate=2.0, **flags) for name, flags in runs.items()
        }
        return _table(rows, {name: _count(own) for name, own in mined.items()})

    def _mine(self, rows: Rows, *, depth: int = DEPTH, **flags: Any) -> Rows:
        write_jsonl(self._work / "rows.jsonl", rows)
        config = MineConfig(
            input_file=str(self._work / "rows.jsonl"),
            output_file=str(self._work / "mined.jsonl"),
            candidate_pool=self._collection,
            model_name_or_path="minilm",
            embedding_cache=str(self._work / "cache"),
            device="cpu",
            dtype="auto",
            range_for_sampling=f"0-{depth}",
            negative_number=depth,
            sampling="top",
            output_scores=True,
            overwrite=True,
            **flags,
        )
        return _read(mine(config).output_path)


def _read(path: Path) -> Rows:
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def _count(rows: Rows, *, above: int = 0) -> dict[str, int]:
    """Negatives ranked below the first `above`: known false ones, others; and rows with fewer than WANTED of them."""
    counts: dict[str, int] = dict.fromkeys(("hidden", "twins", "others", "too_few"), 0)
    for row in rows:
        left = [name for name, rank in zip(row["neg_id"], row["neg_rank"], strict=True) if rank > above]
        counts["too_few"] += len(left) < WANTED
        for kind in ("hidden", "twins"):
            counts[kind] += sum(name in row[kind] for name in left)
        counts["others"] += sum(name not in row["hidden"] and name not in row["twins"] for name in left)
    return counts


def _table(rows: Rows, measured: Mapping[str, Any]) -> dict[str, Any]:
    known = {kind: sum(len(row[kind]) for row in rows) for kind in ("hidden", "twins")}
    return {"rows": len(rows), "known": known, "filters": measured}


def _lines(filters: Mapping[str, Mapping[str, int]]) -> Iterable[str]:
    """What is left, and how much less that is than without a filter."""
    before = filters[NOTHING]
    yield f"{'filter':<24}{'hidden left':>18}{'twins left':>18}{'others left':>20}{'rows < 15':>11}"
    for name, one in filters.items():
        parts = [
            f"{one[kind]:,} ({one[kind] / max(1, before[kind]) - 1:+.0%})" for kind in ("hidden", "twins", "others")
        ]
        yield f"{name:<24}{parts[0]:>18}{parts[1]:>18}{parts[2]:>20}{one['too_few']:>11}"


if __name__ == "__main__":
    main()
