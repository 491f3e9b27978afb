"""The score filters against those of sentence-transformers' miner, over the same encoder and pool."""

from __future__ import annotations

import json
import random

import pytest

from sharprank.mining.config import MineConfig
from sharprank.mining.mine import mine
from tests.conftest import WORDS

RULES = [{"max_score": 0.7}, {"min_score": 0.5}, {"absolute_margin": 0.1}, {"relative_margin": 0.05}]
DEPTH, NUMBER = 25, 4


def sentences(number: int, seed: int) -> list[str]:
    draw = random.Random(seed)
    return [f"{' '.join(draw.choices(WORDS, k=8))} {i}" for i in range(number)]


def test_each_rule_leaves_the_negatives_that_it_leaves_there(tiny_encoder, tmp_path):
    pytest.importorskip("sentence_transformers", reason="needs the extra `dev` (sentence-transformers)")
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.util import mine_hard_negatives

    model = SentenceTransformer(str(tiny_encoder), device="cpu")
    pool, queries = sentences(60, 1), sentences(12, 2)
    pairs = Dataset.from_dict({"query": queries, "pos": pool[:12]})
    (tmp_path / "rows.jsonl").write_text(
        "".join(json.dumps({"query": q, "pos": [p]}) + "\n" for q, p in zip(queries, pool, strict=False))
    )
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in pool))
    found_some = found_fewer = 0
    for rule in RULES:
        theirs = mine_hard_negatives(
            pairs, model, corpus=pool, range_max=DEPTH, num_negatives=NUMBER, sampling_strategy="top", **rule,
            output_format="n-tuple", verbose=False, use_faiss=False,
        )  # fmt: skip
        config = MineConfig(
            input_file=str(tmp_path / "rows.jsonl"), output_file=str(tmp_path / "out.jsonl"), overwrite=True,
            candidate_pool=str(tmp_path / "pool.jsonl"), model_name_or_path=str(tiny_encoder), device="cpu",
            range_for_sampling=f"0-{DEPTH + 1}", negative_number=NUMBER, sampling="top", near_duplicate=2.0, **rule,
        )  # fmt: skip
        ours = [json.loads(line) for line in mine(config).output_path.read_text().splitlines()]
        full = {row["query"]: row["neg"] for row in ours if len(row["neg"]) == NUMBER}
        # It leaves out rows with too few, which we keep.
        assert {row["query"]: [row[f"negative_{i}"] for i in range(1, NUMBER + 1)] for row in theirs} == full
        found_some += len(full)
        found_fewer += len(full) < len(ours)
    assert found_some and found_fewer
