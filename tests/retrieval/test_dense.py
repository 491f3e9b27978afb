"""A bi-encoder's run is that of brute force over its vectors."""

from __future__ import annotations

import numpy as np
import pytest

from sharprank.models.bi_encoder import BiEncoder
from sharprank.retrieval.dense import dense_run

PASSAGES = {f"p{i}": f"{a} {b} of the {c}" for i, (a, b, c) in enumerate(
    (a, b, c) for a in ("red", "blue") for b in ("cat", "dog") for c in ("river", "house", "tree"))}  # fmt: skip
QUERIES = {"q1": "red cat", "q2": "what is a tree"}


def test_the_best_passages_are_those_of_brute_force(tiny_encoder):
    encoder = BiEncoder.load(str(tiny_encoder), device="cpu", dtype="float32")
    run = dense_run(encoder, PASSAGES, QUERIES, 5)
    scores = (
        encoder.encode(list(QUERIES.values()), kind="query") @ encoder.encode(list(PASSAGES.values()), kind="passage").T
    )
    for own, (query_id, ranking) in zip(scores, run.items(), strict=True):
        expected = [f"p{i}" for i in np.argsort(-own, kind="stable")[:5]]
        assert query_id in QUERIES and sorted(ranking.values(), reverse=True) == pytest.approx(
            np.sort(own)[::-1][:5].tolist(), abs=1e-5
        )
        assert set(ranking) == set(expected)


def test_more_passages_than_there_are_give_all_and_no_query_gives_nothing(tiny_encoder):
    encoder = BiEncoder.load(str(tiny_encoder), device="cpu", dtype="float32")
    assert len(dense_run(encoder, PASSAGES, QUERIES, 1000)["q1"]) == len(PASSAGES)
    assert dense_run(encoder, PASSAGES, {}, 5) == {}
