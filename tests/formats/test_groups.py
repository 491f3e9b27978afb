"""Every form of training data becomes the same groups; what is wrong with it is named with its line."""

from __future__ import annotations

import json

import pytest

from sharprank.errors import UserError
from sharprank.formats.bad_rows import BadRows
from sharprank.formats.groups import GroupForm, read_groups
from sharprank.formats.labels import LabelScale, as_label
from sharprank.formats.sources import Source

RAG_RETRIEVAL = "3=1,2=0.75,1=0.5,0=0.25"


def jsonl(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return Source(str(path))


def known(data):
    return [(group.query, dict(zip(group.passages, group.relevance, strict=True))) for group in data.groups]


def test_rows_graded_pairs_and_lists_give_the_same_groups(tmp_path):
    expected = [("a cat", {"small": 1.0, "dog": 0.0, "river": 0.0}), ("a file", {"read": 1.0, "tree": 0.0})]
    rows = [
        {"query": "a cat", "pos": ["small"], "neg": ["dog", "river"]},
        {"query": "a file", "pos": ["read"], "neg": ["tree"]},
    ]
    pairs = [{"query": q, "doc": text, "label": int(value)} for q, known in expected for text, value in known.items()]
    pairs = [pairs[3], *pairs[:3], pairs[4]]  # a query's pairs need not stand together
    lists = [{"query": q, "docs": list(known), "scores": list(known.values())} for q, known in expected]
    assert known(read_groups(jsonl(tmp_path / "rows.jsonl", *rows))) == expected
    assert known(read_groups(jsonl(tmp_path / "lists.jsonl", *lists))) == expected
    assert sorted(known(read_groups(jsonl(tmp_path / "pairs.jsonl", *pairs)))) == expected


def test_a_tsv_without_header_is_query_doc_label_and_further_tabs_belong_to_the_doc(tmp_path):
    path = tmp_path / "t2.tsv"
    path.write_text('a cat\tsmall\tand soft\t3\n\na cat\ta dog\t0\na file\tread "it"\t1\n', encoding="utf-8")
    data = read_groups(Source(str(path)))
    assert known(data) == [("a cat", {"small\tand soft": 1.0, "a dog": 0.0}), ("a file", {'read "it"': 1 / 3})]
    assert data.labels == {3.0: 1, 0.0: 1, 1.0: 1} and data.forms == {"graded pairs": 3}


def test_a_tsv_with_header_may_name_its_columns_anyhow(tmp_path):
    path = tmp_path / "t2.tsv"
    path.write_text("q\ttitle\tgrade\na cat\tsmall\t2\na cat\tdog\t0\n", encoding="utf-8")
    form = GroupForm(rows=GroupForm().rows.__class__(query="q"), passage="title", label="grade")
    assert known(read_groups(Source(str(path)), form=form)) == [("a cat", {"small": 1.0, "dog": 0.0})]


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        (LabelScale.parse(), {"a": 1.0, "b": 1 / 3, "c": 0.0}),
        (LabelScale.parse(RAG_RETRIEVAL), {"a": 1.0, "b": 0.5, "c": 0.25}),
        (LabelScale.parse('{"3": 1, "1": 0.5, "0": 0}'), {"a": 1.0, "b": 0.5, "c": 0.0}),
        (LabelScale.parse(high=6), {"a": 0.5, "b": 1 / 6, "c": 0.0}),
        (LabelScale.parse(low=-1, high=3), {"a": 1.0, "b": 0.5, "c": 0.25}),
    ],
)
def test_labels_become_relevance_on_a_linear_scale_or_by_a_map(scale, expected, tmp_path):
    source = jsonl(tmp_path / "a.jsonl", {"query": "q", "docs": ["a", "b", "c"], "scores": [3, "1", 0.0]})
    assert known(read_groups(source, scale=scale)) == [("q", pytest.approx(expected))]


def test_labels_may_be_words_with_a_map(tmp_path):
    rows = [{"query": "q", "doc": "a", "label": "good"}, {"query": "q", "doc": "b", "label": "bad"}]
    source = jsonl(tmp_path / "a.jsonl", *rows)
    assert known(read_groups(source, scale=LabelScale.parse("good=1,bad=0"))) == [("q", {"a": 1.0, "b": 0.0})]
    with pytest.raises(UserError, match=r"a.jsonl:1: label good is outside the scale"):
        read_groups(source)


def test_scores_are_labels_in_lists_and_a_teachers_in_rows_unless_told(tmp_path):
    rows = [{"query": "q", "pos": ["a"], "neg": ["b"], "pos_scores": [3], "neg_scores": [-1.5]}]
    lists = [{"query": "q", "docs": ["a", "b"], "scores": [3, 1]}]
    group = read_groups(jsonl(tmp_path / "r.jsonl", *rows)).groups[0]
    assert (group.relevance, group.teacher_scores) == ((1.0, 0.0), (3.0, -1.5))
    as_labels = GroupForm(scores_are="label")
    group = read_groups(jsonl(tmp_path / "r.jsonl", *rows), form=as_labels, scale=LabelScale.parse(low=-2)).groups[0]
    assert (group.relevance, group.teacher_scores) == ((1.0, 0.1), None)
    group = read_groups(jsonl(tmp_path / "l.jsonl", *lists)).groups[0]
    assert (group.relevance, group.teacher_scores) == ((1.0, 1 / 3), None)
    group = read_groups(jsonl(tmp_path / "l.jsonl", *lists), form=GroupForm(scores_are="teacher")).groups[0]
    assert (group.relevance, group.teacher_scores) == (None, (3.0, 1.0))
    both = jsonl(tmp_path / "b.jsonl", {**lists[0], "labels": [1, 0]})
    group = read_groups(both).groups[0]
    assert (group.relevance, group.teacher_scores) == ((1.0, 0.0), (3.0, 1.0))


def test_repeated_passages_are_left_out_and_counted(tmp_path):
    rows = [{"query": "q", "pos": ["a", "a"], "neg": ["b", "a", "b"]}]
    data = read_groups(jsonl(tmp_path / "r.jsonl", *rows))
    assert known(data) == [("q", {"a": 1.0, "b": 0.0})]
    assert data.left_out == {
        "repeated passages of a query": 2,
        "negatives that are also positives of their row": 1,
    }


def collection(folder):
    (folder / "qrels").mkdir(parents=True)
    jsonl(folder / "corpus.jsonl", *({"_id": f"p{i}", "title": "", "text": f"passage {i}"} for i in range(6)))
    jsonl(folder / "queries.jsonl", {"_id": "q1", "text": "a cat"}, {"_id": "q2", "text": "a file"})
    lines = ["query-id\tcorpus-id\tscore", "q1\tp0\t2", "q1\tp1\t1", "q1\tp2\t0", "q2\tp3\t2", "q2\tgone\t1"]
    (folder / "qrels" / "train.tsv").write_text("\n".join(lines) + "\n")
    run = [f"q{q} Q0 p{i} 1 {9 - i} x" for q in (1, 2) for i in range(6)]
    (folder / "run.trec").write_text("\n".join(run) + "\n")
    return Source(str(folder))


def test_a_collection_with_a_run_gives_judged_passages_and_the_runs_best_unjudged_ones(tmp_path):
    source = collection(tmp_path / "c")
    data = read_groups(source, form=GroupForm(run=str(tmp_path / "c" / "run.trec"), run_depth=2))
    assert known(data) == [
        ("a cat", {"passage 0": 1.0, "passage 1": 0.5, "passage 2": 0.0, "passage 3": 0.0, "passage 4": 0.0}),
        ("a file", {"passage 3": 1.0, "passage 0": 0.0, "passage 1": 0.0}),
    ]
    assert data.left_out == {"passages judged or ranked, but not in the corpus": 1}


def test_unjudged_candidates_get_the_lowest_relevance_of_the_scale(tmp_path):
    form = GroupForm(run=str(tmp_path / "c" / "run.trec"), run_depth=1)
    data = read_groups(collection(tmp_path / "c"), form=form, scale=LabelScale.parse("2=1,1=.5,0=.25"))
    assert known(data)[1] == ("a file", {"passage 3": 1.0, "passage 0": 0.25})


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (["x1 Q0 p0 1 9 x"], "ranks none of the 2 judged queries of .*train.tsv; its first query is 'x1'"),
        (
            ["q1 Q0 P0 1 9 x"],
            "ranks no passage of the corpus for the queries of .*train.tsv; its first passage is 'P0'",
        ),
    ],
)
def test_a_run_of_other_queries_or_passages_is_refused(lines, problem, tmp_path):
    source = collection(tmp_path / "c")
    (tmp_path / "other.trec").write_text("\n".join(lines) + "\n")
    with pytest.raises(UserError, match=rf"other\.trec {problem}\n  fix: name the run of this collection"):
        read_groups(source, form=GroupForm(run=str(tmp_path / "other.trec")))


def test_it_is_said_how_many_queries_a_run_lacks(tmp_path, capsys):
    source = collection(tmp_path / "c")
    run = tmp_path / "c" / "run.trec"
    read_groups(source, form=GroupForm(run=str(run)))
    assert "ranks nothing" not in capsys.readouterr().err
    run.write_text("q2 Q0 p0 1 9 x\n")
    read_groups(source, form=GroupForm(run=str(run)))
    assert "run.trec ranks nothing for 1 of the 2 judged queries of" in capsys.readouterr().err


def test_a_run_for_data_that_is_no_collection_is_refused(tmp_path):
    source = jsonl(tmp_path / "a.jsonl", {"query": "q", "pos": ["a"]})
    with pytest.raises(UserError, match="is none"):
        read_groups(source, form=GroupForm(run="run.trec"))


GOOD = {"query": "q", "doc": "a", "label": 1}


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"query": "q", "doc": "b", "label": float("nan")}, "label is nan"),
        ({"query": "q", "doc": "b", "label": "Infinity"}, "label is 'Infinity'"),
        ({"query": "q", "doc": "b", "label": None}, "label is null"),
        ({"query": "q", "doc": "b", "label": -1}, "label -1 is outside the scale (0 to 1)"),
        ({"query": "q", "doc": "b", "label": "nice"}, "label nice is outside the scale (0 to 1)"),
        ({"query": "q", "doc": "b"}, "no field 'label'"),
        ({"query": "q", "doc": " ", "label": 1}, "'doc' is blank"),
        ({"query": "q", "doc": ["b"], "label": 1}, "'doc' is ['b'], not a text"),
        ({"query": " ", "doc": "b", "label": 1}, "'query' is empty"),
        ({"query": "q", "doc": "a", "label": 0}, "a passage is labelled 0 for its query, and 1 at "),
        ({"query": "q", "docs": ["b", "c"], "scores": [1]}, "'scores' is 1 labels for 2 texts in 'docs'"),
        ({"query": "q", "docs": ["b"], "scores": [float("inf")]}, "scores[0] is inf"),
        ({"query": "q", "docs": ["b"], "labels": [1], "scores": [None]}, "scores[0] is null: only some texts"),
        ({"query": "q", "docs": ["b"]}, "no field 'scores'"),
        ({"query": "q", "docs": [], "scores": []}, "'docs' holds no text"),
        ({"query": "q", "pos": ["b"], "pos_scores": [float("nan")]}, "pos_scores[0] is nan"),
        ({"query": "q", "title": "b"}, "no field 'pos'"),
    ],
)
def test_a_record_that_cannot_be_used_is_named_with_its_line_or_skipped_and_counted(row, problem, tmp_path):
    source = jsonl(tmp_path / "a.jsonl", GOOD, row)
    with pytest.raises(UserError) as error:
        read_groups(source)
    assert str(error.value).startswith(f"error: {tmp_path / 'a.jsonl'}:2: {problem}")
    skipping = BadRows("skip")
    data = read_groups(source, bad_rows=skipping)
    assert sum(skipping.counts.values()) == 1
    assert known(data) == [("q", {"a": 1.0})]


@pytest.mark.parametrize(
    ("given", "relevance"),
    [({}, None), ({"scores": [0, 3]}, (0.0, 1.0)), ({"labels": [2, 0], "scores": [0, 3]}, (1.0, 0.0))],
)
def test_teacher_scores_of_lists_are_never_labels(given, relevance, tmp_path):
    lists = {"query": "q", "docs": ["a", "b"], **given, "teacher_scores": [7.5, -1]}
    group = read_groups(jsonl(tmp_path / "l.jsonl", lists)).groups[0]
    assert (group.relevance, group.teacher_scores) == (relevance, (7.5, -1.0))


def test_rows_whose_scores_are_labels_need_all_of_them(tmp_path):
    source = jsonl(tmp_path / "a.jsonl", {"query": "q", "pos": ["a"], "neg": ["b"], "pos_scores": [1]})
    with pytest.raises(UserError, match="a.jsonl:1: no field 'neg_scores', and scores are labels"):
        read_groups(source, form=GroupForm(scores_are="label"))


@pytest.mark.parametrize("text", ["3", "3=2,1=0", "3=x", "=1,2=0", "3=1,3=0", "1=1,2=1", "{bad", '{"a": [1]}', ""])
def test_a_map_that_is_none_is_refused(text):
    with pytest.raises(UserError, match="--label_map"):
        LabelScale.parse(text)


@pytest.mark.parametrize(("low", "high"), [(0, 0), (3, 1), (0, float("inf")), (float("nan"), 1)])
def test_an_empty_scale_is_refused(low, high):
    with pytest.raises(UserError, match="is no scale"):
        LabelScale.parse(low=low, high=high)


def test_a_label_is_a_number_also_as_text_and_in_json_also_true():
    assert [as_label(value) for value in (2, "2", " 2.0 ", True, "good ", "", None, float("nan"), "inf")] == [
        2.0, 2.0, 2.0, 1.0, "good", None, None, None, None,
    ]  # fmt: skip
