"""Runs and judgements: what is read, what is refused with its line, and what is written can be read again."""

from __future__ import annotations

import ir_measures
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharprank.errors import UserError
from sharprank.formats.trec import read_qrels, read_run, write_run

IDS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), min_size=1, max_size=5)
SCORES = st.floats(allow_nan=False, allow_infinity=False)
RUNS = st.dictionaries(IDS, st.dictionaries(IDS, SCORES, min_size=1, max_size=5), min_size=1, max_size=4)


def refused(read, path) -> tuple[str, str]:
    with pytest.raises(UserError) as caught:
        read(path)
    return caught.value.problem.removeprefix(str(path)), caught.value.fix


# --- runs ------------------------------------------------------------------------------------------------------------


@given(run=RUNS)
def test_a_run_survives_writing_and_reading_to_the_last_bit(tmp_path_factory, run):
    path = tmp_path_factory.mktemp("run") / "a.trec"
    write_run(path, run, tag="ours")
    assert read_run(path) == run


def test_a_run_is_written_best_first_and_equal_scores_by_id(tmp_path):
    write_run(tmp_path / "a.trec", {"q2": {"b": 1.0, "a": 1.0, "c": 2.5}, "q1": {"z": -0.1}}, tag="my model")
    assert (tmp_path / "a.trec").read_text().splitlines() == [
        "q2 Q0 c 1 2.5 my_model",
        "q2 Q0 a 2 1.0 my_model",
        "q2 Q0 b 3 1.0 my_model",
        "q1 Q0 z 1 -0.1 my_model",
    ]


def test_ir_measures_reads_the_same_run(tmp_path):
    run = {"q1": {"a": 0.1, "b": 1e-30}, "q2": {"c": -2.0}}
    write_run(tmp_path / "a.trec", run, tag="x")
    theirs: dict[str, dict[str, float]] = {}
    for line in ir_measures.read_trec_run(str(tmp_path / "a.trec")):
        theirs.setdefault(line.query_id, {})[line.doc_id] = line.score
    assert theirs == run


def test_the_scores_of_a_run_count_and_its_ranks_do_not(write):
    path = write("a.trec", "q1 Q0 a 2 1.5 tag\r\n\r\nq1\tQ0\tb\t1\t1e1\ttag\r\n")
    assert read_run(path) == {"q1": {"a": 1.5, "b": 10.0}}


def test_a_compressed_run_is_read_and_written(tmp_path):
    write_run(tmp_path / "a.trec.gz", {"q": {"p": 1.0}}, tag="x")
    assert (tmp_path / "a.trec.gz").read_bytes()[:2] == b"\x1f\x8b"
    assert read_run(tmp_path / "a.trec.gz") == {"q": {"p": 1.0}}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("q Q0 a 1 0.5 t\nq Q0 b 2 t\n", ":2: 5 fields"),
        ("q Q0 a 1 nan t\n", ":1: score 'nan' is not a number"),
        ("q Q0 a 1 inf t\n", ":1: score 'inf' is not a number"),
        ("q Q0 a 1 high t\n", ":1: score 'high' is not a number"),
        ("q Q0 a 1 0.5 t\n\nq Q0 a 2 0.4 t\n", ":3: passage a a second time for query q"),
        ("", " is empty"),
        ("\n \n", " is empty"),
    ],
)
def test_a_broken_run_is_refused_with_its_line(write, content, problem):
    told, fix = refused(read_run, write("a.trec", content))
    assert told.startswith(problem)
    assert fix


def test_a_run_with_damaged_characters_is_refused_with_its_line(write):
    good = "".join(f"é{number} Q0 a 1 1 t\n" for number in range(30)).encode()
    told, fix = refused(read_run, write("a.trec", good + b"\xff Q0 a 1 1 t\n"))
    assert told == ":31: bytes that are no characters in the file's encoding"
    assert fix == "write the file again as UTF-8"


def test_a_run_that_is_not_there_is_refused(tmp_path):
    assert refused(read_run, tmp_path / "none.trec") == (" does not exist", "check the path")


@pytest.mark.parametrize("run", [{"a query": {"p": 1.0}}, {"q": {"a\u00a0passage": 1.0}}, {"": {"p": 1.0}}])
def test_ids_that_a_run_cannot_hold_are_refused_and_nothing_is_written(tmp_path, run):
    with pytest.raises(UserError, match="cannot stand in a TREC run"):
        write_run(tmp_path / "a.trec", run, tag="x")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_scores_that_are_no_numbers_are_not_written(tmp_path, score):
    with pytest.raises(UserError, match=f"the score of passage p for query q is {score}"):
        write_run(tmp_path / "a.trec", {"q": {"p": score}}, tag="x")
    assert list(tmp_path.iterdir()) == []


# --- judgements ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        "q1 0 a 1\nq1 0 b 0\nq2 0 a 2\n",
        "q1\t0\ta\t1\r\nq1\t0\tb\t0\r\n\r\nq2\t0\ta\t2",
        "query-id\tcorpus-id\tscore\nq1\ta\t1\nq1\tb\t0\nq2\ta\t2\n",
        "\ufeffquery-id\tcorpus-id\tscore\nq1\ta\t1.0\nq1\tb\t0\nq2\ta\t2\n",
        "q1 a 1\nq1 b 0\nq2 a 2\n",
        "qid\tQ0\tpid\trelevance\nq1\t0\ta\t1\nq1\t0\tb\t0\nq2\t0\ta\t2\nq2\t0\ta\t2\n",
    ],
)
def test_judgements_are_read_from_trec_and_from_beir(write, content):
    assert read_qrels(write("test.tsv", content)) == {"q1": {"a": 1, "b": 0}, "q2": {"a": 2}}


def test_ids_of_a_tab_separated_table_may_hold_blanks(write):
    path = write("test.tsv", "query-id\tcorpus-id\tscore\na query\ta passage\t1\n")
    assert read_qrels(path) == {"a query": {"a passage": 1}}


@pytest.mark.parametrize(
    ("content", "problem", "fix"),
    [
        ("q 0 a 1\nq 0 b\tyes\n", ":2: 2 columns", "write `query 0 passage relevance`, or BEIR's three columns"),
        ("q 0 a 1\nq 0 b yes\n", ":2: relevance 'yes' is no whole number", "use 0, 1, 2, ..."),
        ("q 0 a 0.5\n", ":1: relevance '0.5' is no whole number", "use 0, 1, 2, ..."),
        ("q 0 a nan\n", ":1: relevance 'nan' is no whole number", "use 0, 1, 2, ..."),
        ("q 0 a 1\nq 0 a 2\n", ":2: passage a is judged 2 for query q, and before 1", "keep one judgement"),
        ("q\n", ":1: 1 columns", "write `query 0 passage relevance`, or BEIR's three columns"),
        ("", " holds no judgement", "name a file with at least one"),
        ("query-id\tcorpus-id\tscore\n", " holds no judgement", "name a file with at least one"),
    ],
)
def test_broken_judgements_are_refused_with_their_line(write, content, problem, fix):
    assert refused(read_qrels, write("test.tsv", content)) == (problem, fix)
