"""Rows as ranking tasks."""

import pytest

from sharprank.errors import UserError
from sharprank.evaluation.rows import read_row_task, row_task
from sharprank.records import TrainRow

from .conftest import config, write_jsonl


def test_each_row_is_a_query_of_its_own_even_with_the_same_text():
    task = row_task([TrainRow("q", ("a",), ("b",)), TrainRow("q", ("c",), ("a",))])
    assert list(task.candidates.values()) == [["1.pos1", "1.neg1"], ["2.pos1", "2.neg1"]]
    assert task.qrels["2"] == {"2.pos1": 1, "2.neg1": 0}
    assert task.passages["2.neg1"] == "a" and task.num_pairs == 4


def test_a_row_without_negatives_counts_in_the_pairs_only():
    task = row_task([TrainRow("q", ("a",), ("b",)), TrainRow("r", ("c",), ())])
    assert set(task.qrels) == {"1"} and set(task.pair_labels or {}) == {"1", "2"}
    assert "1 of 2 rows have no negatives" in task.notes[0]


def test_keys_can_be_renamed(tmp_path):
    path = write_jsonl(tmp_path / "r.jsonl", [{"question": "q", "yes": ["a"], "no": ["b"]}])
    task = read_row_task(config(path, query_key="question", positive_key="yes", negative_key="no"))
    assert task.queries == {"1": "q"} and task.num_pairs == 2
    assert [str(p) for p in task.input_paths] == [str(path)]


def test_bad_rows_stop_or_are_skipped_and_counted(tmp_path):
    path = write_jsonl(tmp_path / "r.jsonl", [{"query": "q", "pos": ["a"], "neg": ["b"]}, {"query": "", "pos": ["a"]}])
    with pytest.raises(UserError, match=r"r\.jsonl.*2"):
        read_row_task(config(path))
    task = read_row_task(config(path, on_bad_row="skip"))
    assert len(task.queries) == 1
    assert any("skipped" in note for note in task.notes)


def test_a_run_is_refused_for_rows(rows_path):
    with pytest.raises(UserError, match="--run first.trec"):
        read_row_task(config(rows_path, run="first.trec"))


def test_a_first_stage_is_refused_for_rows(rows_path):
    with pytest.raises(UserError, match="--first_stage minilm needs a collection"):
        read_row_task(config(rows_path, first_stage="minilm"))
