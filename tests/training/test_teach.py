"""A teacher's scores beside the passages they are of, the same whether or not the job was stopped on its way."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from sharprank.cli.teach import main
from sharprank.errors import UserError
from sharprank.formats.groups import read_groups
from sharprank.formats.sources import Source
from sharprank.losses.catalog import make_objective
from sharprank.models.scoring import PairScorer
from sharprank.training import teach as stage
from sharprank.training.data import read_training_data
from sharprank.training.data_config import DataOptions
from tests.training.conftest import make_rows, write_rows


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


@pytest.fixture
def words(tiny_bert, tmp_path):
    def make(rows, output="out.jsonl", **flags):
        flags = {"m": tiny_bert, "input_file": rows, "output_file": tmp_path / output, "device": "cpu", **flags}
        return [
            word for name, value in flags.items() for word in (f"-{name}" if name == "m" else f"--{name}", str(value))
        ]

    return make


def test_rows_get_the_scores_of_the_teacher_and_keep_everything_else(words, tiny_bert, tmp_path, capsys):
    rows = [{"id": 7, **row, "neg_scores": [1.0]} for row in make_rows(5, seed=0)]
    for row in rows:
        row["neg_scores"] = [0.0] * 5  # of an older teacher
    rows[2]["query"] = "a cat\u2028and a dog"
    assert main(words(write_rows(tmp_path / "rows.jsonl", rows))) == 0
    scorer = PairScorer.load(str(tiny_bert), device="cpu")
    for before, after in zip(rows, read(tmp_path / "out.jsonl"), strict=True):
        assert list(after) == [*before, "pos_scores"]
        assert {key: after[key] for key in ("id", "query", "pos", "neg")} == {
            key: before[key] for key in ("id", "query", "pos", "neg")
        }
        expected = scorer.score([(before["query"], text) for text in (*before["pos"], *before["neg"])])
        np.testing.assert_allclose([*after["pos_scores"], *after["neg_scores"]], expected, atol=2e-6)
    stats = json.loads((tmp_path / "out.jsonl.stats.json").read_text())
    assert stats["records"] == 5 and stats["pairs"] == 30 and stats["scale"].startswith("raw scores")
    assert 0 <= stats["positives_above_negatives"] <= 1
    assert "30 pairs of 5 records" in capsys.readouterr().out


def test_lists_get_scores_that_training_takes_for_a_teachers_and_keep_their_own_as_labels(words, tmp_path):
    rows = [{"query": "a cat", "docs": ["dog", "fish"], "scores": [2, 0]}, {"query": "a file", "docs": ["read it"]}]
    assert main(words(write_rows(tmp_path / "lists.jsonl", rows))) == 0
    taught = read(tmp_path / "out.jsonl")
    assert [{key: row[key] for key in row if key != "teacher_scores"} for row in taught] == rows
    assert all(isinstance(score, float) for row in taught for score in row["teacher_scores"])
    first, second = read_groups(Source(str(tmp_path / "out.jsonl"))).groups
    assert first.relevance == (1.0, 0.0) and second.relevance is None
    assert [list(group.teacher_scores) for group in (first, second)] == [row["teacher_scores"] for row in taught]


@pytest.mark.parametrize("lowest", [-5.0, 1.0])
def test_scores_of_lists_that_are_no_labels_are_told_the_flag_that_says_so(lowest, tmp_path):
    rows = [{"query": "a cat", "docs": ["dog", "fish"], "scores": [5.0, lowest]}]
    data = DataOptions(train_data=write_rows(tmp_path / "lists.jsonl", rows))
    with pytest.raises(UserError) as caught:
        read_training_data(data, make_objective("kl"), seed=0)
    assert "--scores_are teacher" in str(caught.value.fix)


def test_a_stopped_job_continues_to_the_same_bytes_and_loses_no_finished_batch(words, tmp_path, monkeypatch):
    monkeypatch.setattr(stage, "RECORDS_AT_ONCE", 3)
    rows = write_rows(tmp_path / "rows.jsonl", make_rows(10, seed=1))
    assert main(words(rows, "whole.jsonl")) == 0
    score = PairScorer.score
    calls = []

    def stop_at_the_third(self, pairs, **options):
        calls.append(len(pairs))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return score(self, pairs, **options)

    with monkeypatch.context() as patch:
        patch.setattr(PairScorer, "score", stop_at_the_third)
        assert main(words(rows)) == 130
        assert not (tmp_path / "out.jsonl").exists()
        (journal,) = tmp_path.glob(".out*.partial")
        journal.write_bytes(journal.read_bytes() + b'"half a batch')
        assert main(words(rows)) == 0
    assert len(calls) == 5  # 2 finished, 1 stopped, 2 after that
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_a_finished_job_is_not_repeated_and_another_teacher_is_refused(words, tiny_xlmr, tmp_path, capsys):
    rows = write_rows(tmp_path / "rows.jsonl", make_rows(3, seed=1))
    assert main(words(rows)) == 0
    before = (tmp_path / "out.jsonl").stat().st_mtime_ns
    assert main(words(rows)) == 0
    assert "already scored" in capsys.readouterr().err
    assert (tmp_path / "out.jsonl").stat().st_mtime_ns == before
    assert main(words(rows, m=tiny_xlmr)) == 2
    assert "model_name_or_path" in capsys.readouterr().err


class Fake:
    def __init__(self, value):
        self.value = value

    def score(self, pairs):
        return np.full(len(pairs), self.value, dtype=np.float32)


def test_a_score_that_is_no_number_is_never_written(words, tmp_path):
    from sharprank.cli.options import parse
    from sharprank.errors import UserError
    from sharprank.training.teach_config import TeachConfig

    rows = write_rows(tmp_path / "rows.jsonl", make_rows(3, seed=1))
    config = parse(TeachConfig, words(rows), prog="teach", description="")
    with pytest.raises(UserError, match="18 of 18 pairs as not a number, near query 'what is 0'"):
        stage.teach(config, load=lambda _: Fake(math.nan))
    assert not (tmp_path / "out.jsonl").exists()


def test_a_teacher_that_gives_one_score_to_everything_is_warned_of(words, tmp_path, capsys):
    from sharprank.cli.options import parse
    from sharprank.training.teach_config import TeachConfig

    rows = write_rows(tmp_path / "rows.jsonl", make_rows(3, seed=1))
    stage.teach(parse(TeachConfig, words(rows), prog="teach", description=""), load=lambda _: Fake(2.5))
    assert "the same score (2.5)" in capsys.readouterr().err


def test_a_language_model_teaches_by_its_answers(words, tiny_qwen3, tmp_path):
    rows = make_rows(2, seed=1, num_negatives=2)
    assert main(words(write_rows(tmp_path / "rows.jsonl", rows), m=tiny_qwen3, max_length=200)) == 0
    expected = PairScorer.load(str(tiny_qwen3), device="cpu", max_length=200)
    for before, after in zip(rows, read(tmp_path / "out.jsonl"), strict=True):
        scores = expected.score([(before["query"], text) for text in (*before["pos"], *before["neg"])])
        np.testing.assert_allclose([*after["pos_scores"], *after["neg_scores"]], scores, atol=2e-6)


def test_flag_embeddings_language_models_teach_through_flag_embedding(words, tiny_gemma, tmp_path):
    from FlagEmbedding import FlagLLMReranker

    rows = make_rows(2, seed=1, num_negatives=2)
    path = write_rows(tmp_path / "rows.jsonl", rows)
    assert main(words(path, m=tiny_gemma, max_length=200, reranker_model_class="decoder-only-base")) == 0
    theirs = FlagLLMReranker(str(tiny_gemma), devices="cpu", max_length=200)
    for before, after in zip(rows, read(tmp_path / "out.jsonl"), strict=True):
        pairs = [(before["query"], text) for text in (*before["pos"], *before["neg"])]
        scores = theirs.compute_score(pairs)
        np.testing.assert_allclose([*after["pos_scores"], *after["neg_scores"]], scores, atol=1e-4)
    stats = json.loads((tmp_path / "out.jsonl.stats.json").read_text())
    assert stats["scale"] == "logit of the token Yes"


@pytest.mark.parametrize(
    ("row", "flags", "message"),
    [
        ({"query": "q", "pos": ["a", None]}, {}, "rows.jsonl:1: pos[1] is null"),
        ({"query": "q", "docs": []}, {}, "rows.jsonl:1: 'docs' holds no text"),
        ({"query": "", "docs": ["a"]}, {}, "rows.jsonl:1: 'query' is empty"),
        ({"query": "q", "doc": "a", "label": 1}, {}, "rows.jsonl:1: no field 'pos'"),
        ({"query": "q", "pos": ["a"]}, {"max_length": 999}, "max_length 999 is more than the 128 positions"),
        ({"query": "q", "pos": ["a"]}, {"reranker_model_class": "decoder-only-base", "prompt": "x"}, "its own prompt"),
        ({"query": "q", "pos": ["a"]}, {"batch_size": 0}, "--batch_size 0"),
        ({"query": "q", "pos": ["a"]}, {"m": "/nowhere/model"}, "/nowhere/model does not exist"),
    ],
)
def test_what_the_user_can_mend_is_one_line_and_exit_2(row, flags, message, words, tmp_path, capsys):
    assert main(words(write_rows(tmp_path / "rows.jsonl", [row]), **flags)) == 2
    said = capsys.readouterr().err
    assert message in said and "fix: " in said and "Traceback" not in said
    assert not (tmp_path / "out.jsonl").exists()


def test_the_input_is_never_the_output(words, tmp_path, capsys):
    path = write_rows(tmp_path / "out.jsonl", make_rows(2, seed=0))
    assert main(words(path)) == 2
    assert "is also --input_file" in capsys.readouterr().err
