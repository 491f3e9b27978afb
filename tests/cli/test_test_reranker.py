"""`sharprank test_reranker`: 004's three flags, evaluate's figures, one JSON file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sharprank.cli.evaluate import main as evaluate_main
from sharprank.cli.test_reranker import main

REPOSITORY = Path(__file__).parents[2]
ROWS = [
    {"query": "red apple", "pos": ["a red apple"], "neg": ["blue fish"]},
    {"query": "fast dog", "pos": ["a fast dog", "dog"], "neg": ["slow cat", "house"]},
    {"query": "river", "pos": ["the river"]},
]


@pytest.fixture
def rows_path(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def test_the_figures_are_those_of_evaluate(rows_path, tiny_bert, tmp_path, capsys):
    output = tmp_path / "results" / "out.json"
    assert main([f"--model_path={tiny_bert}", f"--test_data={rows_path}", f"--output_file={output}"]) == 0
    found = json.loads(output.read_text())
    assert {"model_path", "test_data", "metrics", "config", "per_query", "chance", "counts", "versions"} <= set(found)
    measures = ["PairAccuracy", "Hit@1", "MRR", "MAP", "nDCG@1", "nDCG@3", "nDCG@5", "nDCG@10"]
    pairs = ["precision", "recall", "f1", "auc", "mean_positive_score", "mean_negative_score"]
    assert set(found["metrics"]) == {*measures, *pairs}
    capsys.readouterr()
    words = ["-m", str(tiny_bert), "-d", str(rows_path), "--output_format", "json", "--measures", *measures]
    assert evaluate_main(words) == 0
    theirs = json.loads(capsys.readouterr().out)
    model = theirs["models"][0]
    assert found["metrics"] == {**model["measures"], **model["pairs"], **model["mean_scores"]}
    assert found["chance"] == theirs["chance"] and found["counts"]["rows without negatives"] == 1
    assert found["chance"]["PairAccuracy"] == 0.5


def test_one_pair_and_no_negatives_are_measured_too(rows_path, tiny_bert, tmp_path):
    rows_path.write_text(json.dumps(ROWS[2]) + "\n")
    output = tmp_path / "out.json"
    assert main(["--model_path", str(tiny_bert), "--test_data", str(rows_path), "--output_file", str(output)]) == 0
    metrics = json.loads(output.read_text())["metrics"]
    assert metrics["auc"] is None and metrics["mean_negative_score"] is None


def test_changed_rows_are_no_reason_to_replace_the_output(rows_path, tiny_bert, tmp_path, capsys):
    words = ["--model_path", str(tiny_bert), "--test_data", str(rows_path), "--output_file", str(tmp_path / "out.json")]
    assert main(words) == 0 and main(words) == 0
    rows_path.write_text(json.dumps(ROWS[0]) + "\n")
    assert main(words) == 2
    assert "was made from other data" in capsys.readouterr().err
    assert main([*words, "--overwrite", "True"]) == 0


def test_another_file_beside_a_collection_is_no_other_data(tiny_bert, tmp_path):
    folder = tmp_path / "collection"
    folder.mkdir()
    (folder / "corpus.jsonl").write_text('{"_id": "p1", "text": "a red apple"}\n{"_id": "p2", "text": "blue fish"}\n')
    (folder / "queries.jsonl").write_text('{"_id": "q1", "text": "red apple"}\n')
    (folder / "qrels.tsv").write_text("q1 0 p1 1\nq1 0 p2 0\n")
    words = ["--model_path", str(tiny_bert), "--test_data", str(folder), "--output_file", str(folder / "out.json")]
    assert main(words) == 0 and main(words) == 0


def test_another_models_output_is_not_replaced(rows_path, tiny_bert, tiny_xlmr, tmp_path, capsys):
    words = ["--test_data", str(rows_path), "--output_file", str(tmp_path / "out.json")]
    assert main(["--model_path", str(tiny_bert), *words]) == 0
    assert main(["--model_path", str(tiny_xlmr), *words]) == 2
    assert "made with model_path" in capsys.readouterr().err
    assert main(["--model_path", str(tiny_xlmr), *words, "--overwrite"]) == 0


def test_mistakes_exit_with_2_and_write_nothing(rows_path, tiny_bert, tmp_path, capsys):
    good = {"--model_path": str(tiny_bert), "--test_data": str(rows_path), "--output_file": str(tmp_path / "out.json")}
    for change in ({"--model_path": "no/such"}, {"--test_data": "no.jsonl"}, {"--output_file": str(tmp_path)}):
        assert main([word for pair in {**good, **change}.items() for word in pair]) == 2
        assert "fix:" in capsys.readouterr().err
    assert not (tmp_path / "out.json").exists()


def test_the_door_opens_from_the_reranker_folder():
    words = [sys.executable, "test_reranker.py", "--help"]
    process = subprocess.run(words, cwd=REPOSITORY / "reranker", capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert all(f"--{flag}" in process.stdout for flag in ("model_path", "test_data", "output_file"))
