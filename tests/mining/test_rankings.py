"""BM25 and TREC runs as rankings of a pool."""

from __future__ import annotations

import numpy as np
import pytest

from sharprank.errors import UserError
from sharprank.mining.rankings import BM25Ranking, query_ids, read_run_ranking
from sharprank.records import TrainRow
from sharprank.retrieval.bm25 import BM25

TEXTS = ["a cat in a tree", "a dog", "cat and dog", "the cat sat with a cat", "nothing here", "dog cat"]


def read(tmp_path, text, *, queries={"q1": "first", "q2": "second"}, k=10):  # noqa: B006
    path = tmp_path / "a.trec"
    path.write_text(text)
    return read_run_ranking(str(path), queries, {f"p{i}": i for i in range(6)}.get, k=k)


def test_bm25_ranks_the_pool_as_bm25_does_by_ids():
    ranking = BM25Ranking(TEXTS, k=3)
    run = BM25({str(i): text for i, text in enumerate(TEXTS)}).search({"q": "cat tree"}, 3)["q"]
    assert ranking.ranked("cat tree").tolist() == [int(name) for name in run]
    assert ranking.ranked("zebra").tolist() == []


def test_bm25_over_texts_orders_equal_scores_by_their_order():
    assert BM25Ranking(["same dog"] * 12, k=12).ranked("dog").tolist() == list(range(12))


def test_a_run_ranks_by_score_for_the_rows_queries(tmp_path):
    text = "q1 Q0 p3 9 1.0 x\nq1 Q0 p1 8 2.5 x\nother Q0 p1 1 9 x\nq1 Q0 p0 7 1.0 x\nq2 Q0 p5 1 1 x\n"
    ranking = read(tmp_path, text)
    assert ranking.ranked("first").tolist() == [1, 0, 3]
    assert ranking.ranked("second").tolist() == [5]
    assert ranking.ranked("third").tolist() == []
    assert read(tmp_path, text, k=2).ranked("first").dtype == np.int64
    assert len(read(tmp_path, text, k=2).ranked("first")) == 2


def test_passages_outside_the_pool_are_said_and_left_out(tmp_path, capsys):
    assert read(tmp_path, "q1 Q0 p1 1 1 x\nq1 Q0 nowhere 2 0.5 x\n").ranked("first").tolist() == [1]
    assert "1 of 2 lines name passages outside the pool, first: nowhere" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("q1 Q0 p1 1 1 x\nq1 Q0 p1 2 0.5 x\n", "a second time for query q1"),
        ("q9 Q0 p1 1 1 x\n", "none of its queries have a row"),
        ("q1 Q0 zz 1 1 x\n", "none of its passages are in the pool"),
        ("q1 Q0 p1 1 high x\n", "not a number"),
        ("q1 p1 1\n", "3 fields"),
        ("", "is empty"),
    ],
)
def test_a_run_that_cannot_be_used_is_refused(tmp_path, text, problem):
    with pytest.raises(UserError, match=problem):
        read(tmp_path, text)


def test_queries_are_known_by_the_ids_of_their_rows():
    rows = [TrainRow("a", ("p",), fields={"id": 7}), TrainRow("b", ("p",), fields={"query_id": "x", "id": 8})]
    assert query_ids([*rows, TrainRow("c", ("p",), fields={})]) == {"7": "a", "x": "b"}
    with pytest.raises(UserError, match="id 7 stands for two queries"):
        query_ids([*rows, TrainRow("c", ("p",), fields={"_id": "7"})])
