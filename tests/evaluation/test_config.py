"""Flags that cannot work are refused before anything is read."""

import pytest

from sharprank.errors import UserError
from sharprank.evaluation.config import EvaluationConfig, model_names


def make(**changes):
    return EvaluationConfig(**{"model_name_or_path": ["m"], "data": "d", **changes})


def test_the_defaults_are_accepted():
    make().check()


@pytest.mark.parametrize(
    "changes, word",
    [
        ({"depth": 0}, "--depth 0"),
        ({"latency_queries": -1}, "--latency_queries -1"),
        ({"threshold": 1.0}, "--threshold 1.0"),
        ({"threshold": -0.1}, "--threshold -0.1"),
        ({"measures": ["nDCG@10", "nope"]}, "'nope'"),
        ({"measures": []}, "--measures"),
        ({"seed": -1}, "--seed -1"),
        ({"seed": 1 << 32}, "--seed 4294967296"),
        ({"model_name_or_path": []}, "-m"),
        ({"model_name_or_path": ["m", "m"]}, "m twice"),
        ({"dtype": "float8"}, "--dtype 'float8'"),
        ({"on_bad_row": "ignore"}, "--on_bad_row"),
        ({"output_format": "xml"}, "--output_format"),
    ],
)
def test_a_bad_flag_is_named(changes, word):
    with pytest.raises(UserError) as error:
        make(**changes).check()
    assert word in error.value.problem
    assert error.value.fix


def test_one_folder_under_two_spellings_is_one_model(tmp_path):
    with pytest.raises(UserError, match="twice"):
        make(model_name_or_path=[str(tmp_path), f"{tmp_path}/."]).check()


def test_models_are_named_by_as_much_of_their_path_as_it_takes():
    assert model_names(["out/model", "BAAI/bge-reranker-base"]) == ["model", "bge-reranker-base"]
    assert model_names(["/x/a/best", "/x/b/best"]) == ["a/best", "b/best"]
    assert model_names(["."]) == ["."]


def test_settings_leave_out_where_the_result_goes():
    settings = make(output_file="x.json", overwrite=True).settings()
    assert "output_file" not in settings and "overwrite" not in settings
    assert settings["depth"] == 100
