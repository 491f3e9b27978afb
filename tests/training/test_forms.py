"""`sharprank train` on every form of data and with every loss, from the command a user would type."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import numpy as np
import pytest

from sharprank.cli.teach import main as teach
from sharprank.cli.train import main
from sharprank.losses.catalog import LOSSES
from tests.training.conftest import BAD, GOOD, make_rows, write_rows
from tests.training.test_train import constant_model, losses


def judged(path: Path) -> dict:
    return json.loads((path / "training.json").read_text())


def graded_lists(count: int, seed: int) -> list[dict]:
    """The more good words, the better: labels 0 to 2."""
    rng = random.Random(seed)
    lists = []
    for i in range(count):
        labels = [2, 0, 1, 0, rng.randint(0, 2)]
        docs = [
            " ".join(rng.choices(GOOD, k=2 * n) + rng.choices(BAD, k=4 - 2 * n)) + f" {j}" for j, n in enumerate(labels)
        ]
        lists.append({"query": f"what is {i}", "docs": docs, "scores": labels})
    return lists


def pairs_of(lists: list[dict]) -> list[dict]:
    return [
        {"query": row["query"], "doc": doc, "label": label}
        for row in lists
        for doc, label in zip(row["docs"], row["scores"], strict=True)
    ]


@pytest.mark.parametrize("loss", ["mse", "lambda"])
def test_graded_data_is_learned_and_measured_by_rank_and_by_correlation(loss, arguments, tmp_path, capsys):
    train = write_rows(tmp_path / "graded.jsonl", graded_lists(20, seed=1))
    test = write_rows(
        tmp_path / "test.jsonl", pairs_of([{**row, "query": row["query"] + " then"} for row in graded_lists(8, seed=2)])
    )
    assert main(arguments(train_data=train, test_data=test, loss=loss, num_train_epochs=8)) == 0
    captured = capsys.readouterr()
    assert "labels (relevance): 0 (0): " in captured.err and f"loss {loss}; groups of 4" in captured.err
    curve = losses(tmp_path / "out")
    assert np.mean(curve[-5:]) < 0.8 * np.mean(curve[:5])
    measured = judged(tmp_path / "out")["test_measures"]
    assert list(measured) == ["nDCG@10", "MRR@10", "MAP", "Hit@1", "Spearman", "AUC"]
    assert measured["Spearman"] > 0.6 and measured["AUC"] > 0.8
    assert f"test Spearman: {measured['Spearman']:.4f}" in captured.out
    assert "measure on the evaluation groups" in (tmp_path / "out" / "README.md").read_text()


def test_pairs_without_company_are_learned_one_by_one_and_ranked_by_correlation(arguments, tmp_path, capsys):
    rows = [{**row, "query": f"{row['query']} {i}"} for i, row in enumerate(pairs_of(graded_lists(16, seed=1)))]
    data = write_rows(tmp_path / "pairs.jsonl", rows)
    flags = {"train_data": data, "loss": "mse", "validation_split": 0.2, "num_train_epochs": 4}
    assert main(arguments(**flags)) == 0
    state = json.loads((tmp_path / "out" / "trainer_state.json").read_text())
    measured = [entry["eval_Spearman"] for entry in state["log_history"] if "eval_Spearman" in entry]
    assert state["best_metric"] == max(measured) and measured[-1] > measured[0]
    assert "64 queries" in capsys.readouterr().err
    assert main(arguments(**{**flags, "loss": "listwise_ce", "output_dir": tmp_path / "b"})) == 2
    assert "pairs.jsonl:" in (said := capsys.readouterr().err) and "the query has a single passage" in said


def test_micro_batches_and_pieces_add_up_for_every_loss(arguments, tmp_path):
    rows = graded_lists(6, seed=3)
    for row in rows:
        row["labels"], row["scores"] = row["scores"], [label + 0.1 * i for i, label in enumerate(row["scores"])]
    data = write_rows(tmp_path / "both.jsonl", rows)
    flags = {"train_data": data, "dropout": 0, "num_train_epochs": 1, "train_group_size": 5, "max_steps": 2}
    for loss in LOSSES:
        for name, more in (("whole", {}), ("pieces", {"micro_batch_tokens": 20})):
            assert main(arguments(output_dir=tmp_path / loss / name, loss=loss, **flags, **more)) == 0
        whole, pieces = losses(tmp_path / loss / "whole"), losses(tmp_path / loss / "pieces")
        np.testing.assert_allclose(pieces, whole, rtol=2e-3, atol=2e-4, err_msg=loss)


def test_every_term_is_the_mean_over_its_own_units(arguments, tmp_path):
    # A constant model: bce is ln 2 a pair, kl the divergence of the teacher from guessing a group.
    rows = [{**row, "pos_scores": [2.0], "neg_scores": [0.0] * 5} for row in make_rows(6, seed=1)]
    flags = {
        "train_data": write_rows(tmp_path / "rows.jsonl", rows),
        "model_name_or_path": constant_model(arguments, tmp_path),
        "learning_rate": 0.0,
        "num_train_epochs": 1,
        "loss": "bce",
        "distillation_weight": 0.5,
        "teacher_temperature": 2.0,
    }
    assert main(arguments(**flags)) == 0
    teacher = np.exp([1.0, 0, 0, 0]) / (math.e + 3)
    expected = math.log(2) + 0.5 * (teacher * np.log(teacher * 4)).sum()
    np.testing.assert_allclose(losses(tmp_path / "out"), [expected] * 2, atol=1e-4)


def test_a_student_learns_from_a_teachers_scores_what_the_teacher_knows(
    arguments, train_file, eval_file, tmp_path, capsys
):
    assert main(arguments(output_dir=tmp_path / "teacher", num_train_epochs=8)) == 0
    scored = tmp_path / "scored.jsonl"
    words = ["-m", str(tmp_path / "teacher"), "--input_file", train_file, "--output_file", str(scored)]
    assert teach([*words, "--device", "cpu"]) == 0
    capsys.readouterr()
    for loss in ("kl", "margin_mse"):
        flags = {"train_data": scored, "test_data": eval_file, "loss": loss, "num_train_epochs": 8}
        assert main(arguments(output_dir=tmp_path / loss, **flags)) == 0
        assert judged(tmp_path / loss)["test_measures"]["nDCG@10"] > 0.9
    with_flag = arguments(output_dir=tmp_path / "fe", train_data=scored, num_train_epochs=1)
    assert main([*with_flag, "--knowledge_distillation", "True"]) == 0
    assert "loss listwise_ce + kl" in capsys.readouterr().err


def test_a_collection_with_a_run_is_training_data_as_it_is(arguments, tmp_path, capsys):
    folder = tmp_path / "collection"
    (folder / "qrels").mkdir(parents=True)
    rows = make_rows(10, seed=4)
    passages = list(dict.fromkeys(text for row in rows for text in (*row["pos"], *row["neg"])))
    ids = {text: f"p{i}" for i, text in enumerate(passages)}
    write_rows(folder / "corpus.jsonl", [{"_id": ids[text], "text": text} for text in passages])
    write_rows(folder / "queries.jsonl", [{"_id": f"q{i}", "text": row["query"]} for i, row in enumerate(rows)])
    for split, part in (("train", range(7)), ("test", range(7, 10))):
        lines = [f"q{i} 0 {ids[rows[i]['pos'][0]]} 1" for i in part]
        (folder / "qrels" / f"{split}.tsv").write_text("\n".join(lines) + "\n")
    lines = [
        f"q{i} Q0 {ids[text]} {n} {9 - n} bm25"
        for i, row in enumerate(rows)
        for n, text in enumerate([*row["neg"], *row["pos"]])
    ]
    run = folder / "run.trec"
    run.write_text("\n".join(lines) + "\n")
    flags = {"train_data": folder, "train_run": run, "test_data": folder, "test_run": run, "num_train_epochs": 12}
    assert main(arguments(**flags)) == 0
    assert "7 queries, 7 positives, 5 to 5 negatives each" in capsys.readouterr().err
    assert judged(tmp_path / "out")["test_measures"]["nDCG@10"] > 0.8
    (folder / "another.trec").write_text("")  # is not read, so the run in the folder is still this one
    assert main(arguments(**flags)) == 0
    assert "this training is finished" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"loss": "margin_mse"}, "train.jsonl:1: no teacher scores for all its passages; loss margin_mse needs them"),
        ({"distillation_weight": 1}, "train.jsonl:1: no teacher scores for all its passages; loss kl needs them"),
        ({"loss": "kl", "distillation_weight": 1}, "--loss kl is distillation alone"),
        ({"pos_weight": 2}, "--pos_weight has no meaning for loss listwise_ce"),
        ({"loss": "bce", "pos_weight": 0}, "--pos_weight 0"),
        ({"teacher_temperature": 2}, "temperatures have no meaning for loss listwise_ce"),
        ({"loss": "kl", "student_temperature": -1}, "--student_temperature -1"),
        ({"distillation_weight": "nan"}, "--distillation_weight nan"),
        ({"label_map": "3=2"}, "--label_map '3=2'"),
        ({"max_label": 0}, "is no scale"),
        ({"validation_split": 0.99}, "too few to hold some out"),
        ({"train_run": "x.trec"}, "train.jsonl is none"),
    ],
)
def test_combinations_that_cannot_work_are_refused_by_name_before_a_model_is_looked_for(
    flags, message, arguments, capsys
):
    assert main(arguments(model_name_or_path="/nowhere", **flags)) == 2
    said = capsys.readouterr().err
    assert message in said and "fix: " in said and "Traceback" not in said
