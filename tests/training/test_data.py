"""What the data must have for the chosen loss is checked, and what is in it is said, before any model loads."""

from __future__ import annotations

import json

import pytest

from sharprank.errors import UserError
from sharprank.formats.holdout import fold
from sharprank.losses.catalog import make_objective
from sharprank.training import choices
from sharprank.training.data import read_training_data
from sharprank.training.data_config import DataOptions

ROW = {"query": "a cat", "pos": ["small"], "neg": ["dog", "river"]}
SCORED = {**ROW, "pos_scores": [3.0], "neg_scores": [1.0, -2.0]}


def jsonl(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def graded(query, *labels):
    return {"query": query, "docs": [f"{query} {i}" for i in range(len(labels))], "scores": list(labels)}


def read(path, loss="listwise_ce", distil=0.0, **options):
    objective = make_objective(loss, distillation_weight=distil)
    return read_training_data(DataOptions(train_data=path, **options), objective, seed=0)


@pytest.mark.parametrize("loss", ["kl", "margin_mse"])
def test_a_loss_that_needs_teacher_scores_is_refused_without_them_by_name_and_line(loss, tmp_path):
    path = jsonl(tmp_path / "a.jsonl", SCORED, {**ROW, "query": "b"})
    with pytest.raises(UserError) as error:
        read(path, loss)
    assert f"{path}:2: no teacher scores for all its passages, which {path}:1 has; loss {loss} needs" in str(
        error.value
    )
    assert "sharprank teach" in str(error.value)
    assert len(read(jsonl(tmp_path / "b.jsonl", SCORED), loss).train) == 1


def test_a_distillation_weight_needs_teacher_scores_too(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", ROW, {**SCORED, "query": "b"})
    with pytest.raises(UserError, match=r"a.jsonl:1: no teacher scores .* loss kl needs"):
        read(path, "bce", distil=0.5)


def test_half_scored_rows_count_as_unscored(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", {**ROW, "pos_scores": [1.0]})
    with pytest.raises(UserError, match="no teacher scores for all its passages"):
        read(path, "kl")


def test_lists_of_teacher_scores_train_kl_and_nothing_that_needs_labels(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", graded("a", 3.5, -2.0), graded("b", 1.0, 0.5))
    assert len(read(path, "kl", scores_are="teacher").train) == 2
    with pytest.raises(UserError, match=r"a.jsonl:1: no labels for all its passages; loss listwise_ce needs them"):
        read(path, scores_are="teacher")


def test_a_query_whose_passages_are_labelled_alike_is_named_or_skipped_and_counted(tmp_path, capsys):
    path = jsonl(tmp_path / "a.jsonl", graded("a", 2, 0, 1), graded("b", 1, 1), graded("c", 1))
    with pytest.raises(UserError, match=r"a.jsonl:2: all 2 passages are labelled alike, which teaches loss ranknet"):
        read(path, "ranknet")
    assert [group.query for group in read(path, "ranknet", on_bad_row="skip").train] == ["a"]
    said = capsys.readouterr().err
    assert "2 rows of" in said and "queries whose passages are all labelled alike" in said
    assert len(read(path, "mse").train) == 3  # takes pairs one by one


def test_data_that_can_teach_nothing_at_all_is_refused_even_when_bad_rows_are_skipped(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", graded("a", 1, 1), graded("b", 1))
    with pytest.raises(UserError, match="every query has passages of one label only"):
        read(path, on_bad_row="skip")
    with pytest.raises(UserError, match="all pairs are equally relevant"):
        read(path, "bce")


def test_labels_duplicates_and_queries_without_a_positive_are_said(tmp_path, capsys):
    path = jsonl(tmp_path / "a.jsonl", graded("a", 2, 0, 1), graded("b", 0, 0), {**ROW, "neg": ["x", "x", "small"]})
    data = read(path, "bce")
    said = capsys.readouterr().err
    assert "2 lists, 1 rows, 3 queries" in said
    assert "labels (relevance): 0 (0): 3, 1 (0.5): 1, 2 (1): 1" in said
    assert "1 repeated passages of a query" in said and "1 negatives that are also positives" in said
    assert "1 of 3 queries of" in said and "have no positive" in said
    assert data.max_positives is None


def test_yes_or_no_labels_give_one_positive_a_group_whatever_their_form_and_a_flag_says_otherwise(tmp_path):
    pairs = [{"query": q, "doc": f"{q}{i}", "label": int(i < 2)} for q in "ab" for i in range(4)]
    path = jsonl(tmp_path / "a.jsonl", *pairs)
    assert read(path).max_positives == 1
    assert read(path, positives_per_group=2).max_positives == 2


def test_the_validation_split_holds_out_whole_queries(tmp_path):
    rows = [{**ROW, "query": query, "pos": [f"p{i}"]} for query in "abcdefghij" for i in range(3)]
    data = read(jsonl(tmp_path / "a.jsonl", *rows), validation_split=0.2)
    train, held_out = {group.query for group in data.train}, {group.query for group in data.evaluation}
    assert len(train) == 8 and len(held_out) == 2 and not train & held_out
    assert (len(data.train), len(data.evaluation)) == (24, 6)


def test_evaluation_data_is_on_the_scale_of_the_training_data_and_may_not_leave_it(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", graded("a", 4, 0))
    inside, outside = jsonl(tmp_path / "b.jsonl", graded("b", 2, 0)), jsonl(tmp_path / "c.jsonl", graded("c", 5, 0))
    assert read(path, eval_data=inside).evaluation[0].relevance == (0.5, 0.0)
    with pytest.raises(UserError, match=r"c.jsonl:1: label 5 is outside the scale \(0 to 4\)"):
        read(path, eval_data=outside)


def test_bad_rows_of_evaluation_data_are_errors_or_skipped_as_well(tmp_path, capsys):
    path, bad = jsonl(tmp_path / "a.jsonl", ROW), jsonl(tmp_path / "b.jsonl", {**ROW, "query": "b"}, {"query": ""})
    with pytest.raises(UserError, match="b.jsonl:2: 'query' is empty"):
        read(path, eval_data=bad)
    assert len(read(path, eval_data=bad, on_bad_row="skip").evaluation) == 1
    assert "1 rows of" in capsys.readouterr().err


def test_queries_that_are_measured_and_trained_on_are_warned_of(tmp_path, capsys):
    path = jsonl(tmp_path / "a.jsonl", ROW, {**ROW, "query": "b"})
    read(path, test_data=jsonl(tmp_path / "b.jsonl", {**ROW, "query": "A  cat"}))
    assert "1 queries of" in capsys.readouterr().err


def test_data_without_labels_cannot_be_measured_on(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", graded("a", 4.5, 0))
    with pytest.raises(UserError, match=r"b.jsonl:1 has no labels to measure against"):
        read(path, "kl", scores_are="teacher", test_data=jsonl(tmp_path / "b.jsonl", graded("b", 1.5, 0)))


def test_evaluation_data_of_one_relevance_measures_nothing(tmp_path, capsys):
    path = jsonl(tmp_path / "a.jsonl", ROW)
    with pytest.raises(UserError, match="all pairs are equally relevant, so nothing can be measured"):
        read(path, eval_data=jsonl(tmp_path / "b.jsonl", {"query": "b", "pos": ["x"]}))
    read(path, eval_data=jsonl(tmp_path / "b.jsonl", {"query": "b", "pos": ["x"]}, {**ROW, "query": "c"}))
    assert "1 of 2 queries of" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation_split": 1.5}, "--validation_split 1.5 is no share"),
        ({"validation_split": 0.1, "eval_data": "b"}, "both say what to rank"),
        ({"positives_per_group": 8}, "--positives_per_group 8 in groups of 8"),
        ({"run_depth": 0}, "--run_depth 0"),
        ({"eval_split": "dev"}, "--eval_split dev says how --eval_data is read"),
        ({"test_run": "bm25.trec"}, "--test_run bm25.trec says how --test_data is read"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        DataOptions(train_data="a", **options).check()


# --- what is kept for the comparison at the end, which nobody asked for ----------------------------------------------


def mined(query, number=0, *, neg=2):
    texts = [f"{query} {number} {i}" for i in range(neg)]
    similarities = {"pos_similarity": [0.5], "neg_similarity": [0.1 * i for i in range(neg)]}
    return {"query": query, "pos": [f"{query} {number} right"], "neg": texts, **similarities}


def queries_of(groups):
    return {fold(group.query) for group in groups}


def test_a_row_that_cannot_be_compared_turns_the_comparison_of_the_others_not_off(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(choices, "HELD_OUT_FROM", 50)
    rows = [mined("alone", neg=0), *(mined(f"q{i}") for i in range(50))]
    data = read(jsonl(tmp_path / "a.jsonl", *rows), loss="bce")
    assert len(data.at_end) == 5 and len(data.train) == 46 and "alone" in queries_of(data.train)
    assert "5 of 51 queries are kept from training" in capsys.readouterr().err


def test_a_query_of_which_one_row_can_be_compared_and_another_not_is_trained_on(tmp_path, monkeypatch):
    monkeypatch.setattr(choices, "HELD_OUT_FROM", 10)
    rows = [mined(f"q{i}", number, neg=2 * number) for i in range(40) for number in (0, 1)]
    data = read(jsonl(tmp_path / "a.jsonl", *rows, *(mined(f"r{i}") for i in range(10))), loss="bce")
    assert len(data.at_end) == 1 + 1 and len(data.train) == 88  # two at least are held out, of the ten that can be
    assert {query[0] for query in queries_of(data.at_end)} == {"r"}


@pytest.mark.parametrize("num_queries", [1, 3, 4])
def test_many_rows_that_share_few_queries_are_all_trained_on(num_queries, tmp_path, capsys):
    rows = [mined(("Q{} ", "q{}")[i % 2].format(i % num_queries), i) for i in range(600)]
    data = read(jsonl(tmp_path / "a.jsonl", *rows))
    assert len(data.train) == 600 and not data.at_end
    assert "compare with the first stage" not in capsys.readouterr().err


def test_it_counts_queries_and_not_rows(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(choices, "HELD_OUT_FROM", 50)
    data = read(jsonl(tmp_path / "a.jsonl", *(mined(f"q{i % 50}", i) for i in range(150))))
    assert len(queries_of(data.at_end)) == 5 and len(data.at_end) == 15
    assert not queries_of(data.at_end) & queries_of(data.train)
    assert "5 of 50 queries are kept from training" in capsys.readouterr().err


def test_it_is_said_why_none_of_enough_queries_is_kept(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(choices, "HELD_OUT_FROM", 50)
    rows = [mined(f"q{i}", neg=2 if i < 49 else 0) for i in range(60)]
    data = read(jsonl(tmp_path / "a.jsonl", *rows), loss="bce")
    assert not data.at_end and len(data.train) == 60
    said = capsys.readouterr().err
    assert "no queries are set aside to compare with the first stage at the end: 49 of 60 have" in said
    assert "50 are needed" in said
