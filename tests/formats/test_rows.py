"""Training rows: what is accepted, what is refused, and what is said."""

from __future__ import annotations

import csv
import io
import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharprank.errors import UserError
from sharprank.formats.rows import BadRows, RowKeys, parse_row, read_rows
from sharprank.formats.sources import Source
from sharprank.records import Place, Record

GOOD = {"query": "q", "pos": ["p"], "neg": ["n"]}
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")).filter(str.strip)


def read(path, policy="error", **options):
    bad_rows = BadRows(policy)
    return list(read_rows(Source(str(path)), bad_rows=bad_rows, **options)), bad_rows.counts


def parse(fields, **keys):
    return parse_row(Record(fields, Place("memory", 1)), keys=RowKeys(**keys), bad_rows=BadRows())


def test_a_full_row_is_read_as_it_stands():
    fields = GOOD | {"pos_scores": [1], "neg_scores": [-0.5], "prompt": "Which?", "id": 7}
    row = parse(fields)
    assert (row.query, row.positives, row.negatives) == ("q", ("p",), ("n",))
    assert (row.pos_scores, row.neg_scores, row.prompt) == ((1.0,), (-0.5,), "Which?")
    assert row.fields is fields
    assert str(row.place) == "memory:1"


@pytest.mark.parametrize("missing", [{}, {"neg": None, "pos_scores": None, "neg_scores": None, "prompt": None}])
def test_negatives_scores_and_prompt_may_be_missing_or_null(missing):
    row = parse({"query": "q", "pos": ["p"], **missing})
    assert (row.negatives, row.pos_scores, row.neg_scores, row.prompt) == ((), None, None, None)


def test_key_names_can_be_chosen():
    row = parse({"frage": "q", "gut": ["p"], "schlecht": ["n"]}, query="frage", positives="gut", negatives="schlecht")
    assert (row.query, row.positives, row.negatives) == ("q", ("p",), ("n",))


def test_texts_are_not_touched():
    row = parse({"query": " Q\u2028 ", "pos": ["\tp \n"], "neg": ["n", "n"]})
    assert (row.query, row.positives, row.negatives) == (" Q\u2028 ", ("\tp \n",), ("n", "n"))


BAD = [
    ({"pos": ["p"]}, "no field 'query'", "no query"),
    (GOOD | {"query": ""}, "'query' is empty", "empty query"),
    (GOOD | {"query": " \n"}, "'query' is empty", "empty query"),
    (GOOD | {"query": None}, "'query' is null, not a text", "query is not a text"),
    (GOOD | {"query": 5}, "'query' is 5, not a text", "query is not a text"),
    ({"query": "q"}, "no field 'pos'", "no positives"),
    (GOOD | {"pos": []}, "'pos' is empty", "no positives"),
    (GOOD | {"pos": ""}, "'pos' is empty", "no positives"),
    (GOOD | {"pos": None}, "'pos' is null", "no positives"),
    (GOOD | {"pos": {"text": "p"}}, "'pos' is {'text': 'p'}, not a list of texts", "pos is not a list"),
    (GOOD | {"pos": ["p", None]}, "pos[1] is null, not a text", "pos holds what is no text"),
    (GOOD | {"pos": [" "]}, "pos[0] is blank", "pos holds a blank text"),
    (GOOD | {"neg": ["n", 3]}, "neg[1] is 3, not a text", "neg holds what is no text"),
    (GOOD | {"neg": ["n", ""]}, "neg[1] is blank", "neg holds a blank text"),
    (GOOD | {"neg": 3}, "'neg' is 3, not a list of texts", "neg is not a list"),
    (
        GOOD | {"neg": ["x" * 90, ["y" * 90]]},
        "neg[1] is ['" + "y" * 35 + "..., not a text",
        "neg holds what is no text",
    ),
    (GOOD | {"pos_scores": [1, 2]}, "'pos_scores' has 2 scores for 1 texts in 'pos'", "pos_scores of the wrong length"),
    (GOOD | {"neg_scores": []}, "'neg_scores' has 0 scores for 1 texts in 'neg'", "neg_scores of the wrong length"),
    (GOOD | {"neg": [], "neg_scores": [1]}, "'neg_scores' has 1 scores for 0 texts", "neg_scores of the wrong length"),
    (GOOD | {"pos_scores": [float("nan")]}, "pos_scores[0] is nan", "broken pos_scores"),
    (GOOD | {"neg_scores": [float("inf")]}, "neg_scores[0] is inf", "broken neg_scores"),
    (GOOD | {"neg_scores": [10**400]}, "neg_scores[0] is 1000", "broken neg_scores"),
    (GOOD | {"neg_scores": ["0.5"]}, "neg_scores[0] is '0.5'", "broken neg_scores"),
    (GOOD | {"neg_scores": [True]}, "neg_scores[0] is True", "broken neg_scores"),
    (GOOD | {"neg_scores": {"n": 1}}, "'neg_scores' is {'n': 1}, not a list", "broken neg_scores"),
    (GOOD | {"neg_scores": [None]}, "neg_scores[0] is null: only some texts are scored", "partially scored"),
    (GOOD | {"prompt": 5}, "'prompt' is 5, not a text", "prompt is not a text"),
]


@pytest.mark.parametrize(("fields", "problem", "reason"), BAD, ids=[problem[:40] for _, problem, _ in BAD])
def test_a_bad_row_is_named_by_file_line_and_field_or_skipped_and_counted(write, fields, problem, reason):
    path = write("rows.jsonl", "".join(json.dumps(row) + "\n" for row in (GOOD, fields, GOOD)))
    with pytest.raises(UserError) as caught:
        read(path)
    assert caught.value.problem.startswith(f"{path}:2: {problem}")
    assert caught.value.fix.endswith(", or pass --on_bad_row skip")
    assert "\n" not in caught.value.problem + caught.value.fix
    rows, counts = read(path, "skip")
    assert [row.query for row in rows] == ["q", "q"]
    assert counts == {reason: 1}


def test_a_missing_query_lists_the_fields_there():
    with pytest.raises(UserError) as caught:
        parse({"question": "q", "pos": ["p"]})
    assert "'question', 'pos'" in caught.value.fix


def test_a_positive_that_is_a_text_counts_as_one_and_is_said_once(write, capsys):
    path = write("rows.jsonl", (json.dumps({"query": "q", "pos": "whole text"}) + "\n") * 3)
    rows, _ = read(path)
    assert [row.positives for row in rows] == [("whole text",)] * 3
    assert rows[0].fields == {"query": "q", "pos": ["whole text"]}
    assert capsys.readouterr().err == (
        f"note: {path}:1: 'pos' is a text, not a list; such a text counts as one positive\n"
    )


@pytest.mark.parametrize("name", ["a.jsonl", "a.json.gz"])
def test_in_json_a_text_that_looks_like_a_list_is_one_text(write, name):
    text = json.dumps({"query": "what does it print", "pos": "['a', 'b']", "neg": '["c"]'})
    [row] = read_rows(Source(str(write(name, text))))
    assert (row.positives, row.negatives) == (("['a', 'b']",), ('["c"]',))
    assert row.fields["pos"] == ["['a', 'b']"]


def test_a_list_of_one_positive_is_no_news(write, capsys):
    read(write("rows.jsonl", json.dumps(GOOD) + "\n"))
    assert capsys.readouterr().err == ""


def test_an_input_without_a_usable_row_is_refused(write):
    path = write("rows.jsonl", "{}\n{}\nnonsense\n")
    with pytest.raises(UserError, match=r"holds no usable row \(skipped: 2 no query, 1 malformed JSON\)"):
        read(path, "skip")


def test_a_collection_is_no_rows(write, tmp_path):
    write("corpus.jsonl", '{"_id": "1", "text": "t"}\n')
    write("queries.jsonl", '{"_id": "1", "text": "t"}\n')
    write("qrels/test.tsv", "1\t1\t1\n")
    with pytest.raises(UserError, match="is a collection"):
        read(tmp_path)


def test_an_unknown_policy_is_refused():
    with pytest.raises(UserError, match="'ignore' is unknown"):
        BadRows("ignore")


def table(rows, delimiter=","):
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


@given(row=st.tuples(TEXT, st.lists(TEXT, min_size=1, max_size=3), st.lists(TEXT, max_size=3)), spell=st.booleans())
def test_lists_in_csv_cells_round_trip_as_json_or_as_python_prints_them(tmp_path_factory, row, spell):
    query, positives, negatives = row
    as_cell = json.dumps if spell else repr
    path = tmp_path_factory.mktemp("tables") / "rows.csv"
    content = table([{"query": query, "pos": as_cell(positives), "neg": as_cell(negatives)}])
    path.write_text(content, encoding="utf-8", newline="")
    ((read_back,), _) = read(path)
    assert (read_back.query, read_back.positives, read_back.negatives) == (query, tuple(positives), tuple(negatives))
    assert read_back.fields == {"query": query, "pos": positives, "neg": negatives}


@given(st.lists(TEXT, min_size=1, max_size=9))
def test_lists_in_cells_are_read_as_numpy_prints_them(tmp_path_factory, texts):
    path = tmp_path_factory.mktemp("tables") / "rows.csv"
    whole, one_by_one = str(np.array(texts, dtype=object)), f"[{', '.join(f'np.str_({text!r})' for text in texts)}]"
    path.write_text(table([{"query": "q", "pos": whole, "neg": one_by_one}]), encoding="utf-8", newline="")
    ((row,), _) = read(path)
    assert (row.positives, row.negatives) == (tuple(texts), tuple(texts))


@pytest.mark.parametrize(
    ("cell", "problem"),
    [
        ("['it''s', 'b']", "no comma between two texts of the list"),
        ("['a' 'b', 'c']", "no comma between two texts of the list"),
        (str(np.array([f"text {i}" for i in range(1001)], dtype=object)), "neg[3] is Ellipsis, not a text"),
        ("['a' None]", "neg[1] is null, not a text"),
    ],
)
def test_a_list_whose_texts_cannot_be_told_apart_is_refused(write, cell, problem):
    path = write("rows.csv", table([{"query": "q", "pos": "p", "neg": cell}]))
    with pytest.raises(UserError, match=re.escape(f"rows.csv:2: {problem}")):
        read(path)


@pytest.mark.parametrize("cell", ["[Say 'a' 'b' twice]", "['Tis the season]", "[1] says 'a' 'b' [2]"])
def test_a_cell_in_brackets_that_spells_no_list_is_one_text(write, cell):
    ((row,), _) = read(write("rows.csv", table([{"query": "q", "pos": cell}])))
    assert row.positives == (cell,)


@pytest.mark.parametrize(("name", "delimiter"), [("rows.csv", ","), ("rows.tsv", "\t")])
def test_cells_hold_lists_single_texts_numbers_or_nothing(write, name, delimiter):
    rows = [
        {"query": "[1] q", "pos": "one text", "neg": "", "pos_scores": "0.5", "neg_scores": ""},
        {"query": "[1, 2]", "pos": "[1, 2]", "neg": "[]", "pos_scores": "", "neg_scores": "[]"},
        {"query": "q", "pos": '["a", "b"]', "neg": "[broken", "pos_scores": "[1, 2.5]", "neg_scores": "[3]"},
    ]
    first, second, third = read(write(name, table(rows, delimiter)))[0]
    assert (first.query, first.positives, first.negatives) == ("[1] q", ("one text",), ())
    assert (first.pos_scores, first.neg_scores) == ((0.5,), None)
    assert (second.query, second.positives, second.negatives) == ("[1, 2]", ("[1, 2]",), ())
    assert (third.positives, third.negatives) == (("a", "b"), ("[broken",))
    assert (third.pos_scores, third.neg_scores) == ((1.0, 2.5), (3.0,))


@pytest.mark.parametrize("cell", ["high", "[1, 2", "nan", "[NaN]", "[null]"])
def test_a_score_cell_that_is_no_number_is_refused(write, cell):
    with pytest.raises(UserError, match=r"rows\.csv:2: "):
        read(write("rows.csv", table([{"query": "q", "pos": "p", "pos_scores": cell}])))


@given(st.dictionaries(st.sampled_from(["query", "pos", "neg", "pos_scores", "neg_scores", "prompt"]), st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3), max_leaves=5,
)))  # fmt: skip
def test_any_record_is_a_row_or_is_counted(fields):
    bad_rows = BadRows("skip")
    row = parse_row(Record(fields, Place("memory", 1)), keys=RowKeys(), bad_rows=bad_rows)
    assert (row is None) == (sum(bad_rows.counts.values()) == 1)
    if row is not None:
        assert row.query.strip()
        assert row.positives
        assert all(text.strip() for text in row.positives + row.negatives)
