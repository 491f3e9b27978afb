"""What is printed, in three formats."""

import json

import pytest

from sharprank.evaluation.report import render
from sharprank.evaluation.result import EvaluationResult, ModelResult
from sharprank.metrics.compare import compare


def row_result(*names, auc=0.5, why=None):
    pairs = {"precision": 2 / 3, "recall": 1.0, "f1": 0.8, "auc": auc}
    models = [
        ModelResult(
            name=name,
            path=f"out/{name}",
            per_query={"nDCG@10": {"1": 0.75, "2": 0.5}},
            run={},
            num_pairs=4,
            seconds=1.0,
            pairs=pairs,
            why_no_auc=why,
        )
        for name in names or ["m"]
    ]
    return EvaluationResult(title="rows", measures=["nDCG@10"], chance={"nDCG@10": 0.25}, models=models)


def collection_result():
    first, after = {"MAP": {"1": 0.5, "2": 0.5}}, {"MAP": {"1": 0.25, "2": 0.5}}
    model = ModelResult(
        name="m", path="m", per_query=after, run={}, num_pairs=4, seconds=1.0, comparisons=compare(first, after)
    )
    return EvaluationResult(
        title="a collection",
        measures=["MAP"],
        chance={"MAP": 0.1},
        models=[model],
        first_stage_name="BM25",
        first_stage=first,
    )


def test_rows_start_with_the_four_lines_at_full_precision():
    assert render(row_result(), "text").splitlines()[:4] == [
        "precision: 0.6666666666666666",
        "recall: 1.0",
        "f1: 0.8",
        "auc: 0.5",
    ]


def test_each_measure_stands_beside_its_chance_level():
    assert render(row_result(), "text").splitlines()[-1].split() == ["nDCG@10", "0.6250", "0.2500"]


def test_several_models_are_named_before_their_lines():
    lines = render(row_result("a", "b"), "text").splitlines()
    assert [line for line in lines if line.startswith("model:")] == ["model: a", "model: b"]


def test_a_missing_auc_prints_nan_and_the_reason():
    lines = render(row_result(auc=float("nan"), why="all 4 pairs are positive"), "text").splitlines()
    assert lines[3] == "auc: nan" and "all 4 pairs are positive" in lines[4]


def test_a_collection_shows_first_stage_to_reranked_and_says_below():
    text = render(collection_result(), "text")
    assert "a collection" in text.splitlines()[0]
    assert "randomisation test" in text and "Holm" not in text
    assert "0.5000 -> 0.3750" in text and "-0.1250" in text and "BELOW FIRST STAGE" in text


@pytest.mark.parametrize("result", [row_result("a", "b"), collection_result()])
def test_markdown_tables_have_equal_columns(result):
    tables = [line for line in render(result, "markdown").splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in tables}) == 1 and len(tables) >= 3


def test_json_is_valid_and_has_null_for_nan():
    data = json.loads(render(row_result(auc=float("nan")), "json"))
    assert data["models"][0]["pairs"]["auc"] is None
    assert data["models"][0]["measures"] == {"nDCG@10": 0.625}
    assert "per_query" not in data["models"][0]
    assert json.loads(render(collection_result(), "json"))["models"][0]["against_first_stage"][0]["measure"] == "MAP"
