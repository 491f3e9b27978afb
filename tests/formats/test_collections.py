"""Collection folders: which judgements, which texts, and what is refused."""

from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharprank.errors import UserError
from sharprank.formats.collections import is_collection, iter_corpus, read_collection

NO_TEXT = "no field 'text' (nor 'content', 'contents', 'passage'; fields there: '_id', 'body')"
QRELS = "query-id\tcorpus-id\tscore\nq1\tp1\t1\n"


def lines(*rows) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def folder(write, tmp_path):
    write(
        "corpus.jsonl",
        lines(
            {"_id": "p1", "title": "A cat", "text": "sleeps."},
            {"_id": "p2", "title": "", "text": "No title."},
            {"_id": "p3", "title": None, "text": "Null title."},
            {"_id": "p4", "title": "Only a title", "text": ""},
        ),
    )
    write("queries.jsonl", lines({"_id": "q1", "text": "what sleeps?"}, {"_id": "q2", "text": "unjudged"}))
    write("qrels/test.tsv", QRELS)
    return tmp_path


def refused(folder, **options) -> tuple[str, str]:
    with pytest.raises(UserError) as caught:
        read_collection(folder, **options)
    return caught.value.problem.removeprefix(str(folder)), caught.value.fix


def test_texts_are_title_and_text_joined_by_a_space(folder):
    collection = read_collection(folder)
    assert collection.passages == {
        "p1": "A cat sleeps.",
        "p2": "No title.",
        "p3": "Null title.",
        "p4": "Only a title",
    }
    assert collection.queries == {"q1": "what sleeps?", "q2": "unjudged"}
    assert (collection.qrels, collection.split) == ({"q1": {"p1": 1}}, "test")


def test_other_names_for_ids_and_texts_and_other_formats_are_read(folder, write):
    (folder / "corpus.jsonl").unlink()
    (folder / "queries.jsonl").unlink()
    write("corpus.tsv", "docid\tcontents\np1\tA cat sleeps.\n")
    write("queries.jsonl.gz", lines({"id": "q1", "query": "what sleeps?"}))
    collection = read_collection(folder)
    assert collection.passages == {"p1": "A cat sleeps."}
    assert collection.queries == {"q1": "what sleeps?"}


def test_numbers_as_ids_are_texts(folder, write):
    write("corpus.jsonl", lines({"_id": 0, "text": "zero"}))
    write("queries.jsonl", lines({"_id": 7, "text": "seven"}))
    write("qrels/test.tsv", "query-id\tcorpus-id\tscore\n7\t0\t1\n")
    collection = read_collection(folder)
    assert (collection.passages, collection.qrels) == ({"0": "zero"}, {"7": {"0": 1}})


def test_an_empty_passage_stays_and_is_counted_aloud(folder, write, capsys):
    write("corpus.jsonl", lines({"_id": "p1", "title": "", "text": " "}, {"_id": "p2", "text": "x"}))
    assert read_collection(folder).passages == {"p1": "", "p2": "x"}
    assert f"note: {folder}/corpus.jsonl: 1 of 2 passages are empty" in capsys.readouterr().err


# --- splits ----------------------------------------------------------------------------------------------------------


def test_the_test_split_is_the_default_and_others_have_to_be_named(folder, write):
    write("qrels/train.tsv", "query-id\tcorpus-id\tscore\nq2\tp2\t1\n")
    assert read_collection(folder).split == "test"
    assert read_collection(folder, split="train").qrels == {"q2": {"p2": 1}}


def test_the_only_split_is_the_default(folder):
    (folder / "qrels/test.tsv").rename(folder / "qrels/dev.tsv")
    assert read_collection(folder).split == "dev"


def test_an_unknown_split_is_refused_naming_those_there(folder, write):
    write("qrels/train.tsv.gz", QRELS)
    assert refused(folder, split="dev") == (": no split 'dev'", "use one of: test, train")
    (folder / "qrels/test.tsv").rename(folder / "qrels/dev.tsv")
    assert refused(folder) == (": which of its splits?", "use one of: dev, train")


def test_one_file_of_judgements_beside_the_corpus_will_do(folder, write):
    (folder / "qrels/test.tsv").unlink()
    (folder / "qrels").rmdir()
    write("qrels.tsv", QRELS)
    collection = read_collection(folder)
    assert (collection.qrels, collection.split) == ({"q1": {"p1": 1}}, "all")
    assert refused(folder, split="test") == (
        ": no split 'test'",
        "use one of: none, qrels.tsv belongs to no split: leave the split out",
    )


# --- what is a collection --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["corpus.jsonl", "queries.jsonl", "qrels/test.tsv"])
def test_a_folder_without_corpus_queries_or_judgements_is_no_collection(folder, missing):
    assert is_collection(folder)
    (folder / missing).unlink()
    assert not is_collection(folder)
    with pytest.raises(UserError, match=r"holds no (corpus|queries|judgements)"):
        read_collection(folder)


def test_a_file_or_nothing_is_no_collection(folder):
    assert not is_collection(folder / "corpus.jsonl")
    assert not is_collection(folder / "none")


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "row", "problem", "fix"),
    [
        ("corpus", {"text": "x"}, "no '_id'", "give every passage its '_id'"),
        ("corpus", {"_id": "", "text": "x"}, "no '_id'", "give every passage its '_id'"),
        ("corpus", {"_id": "p9", "body": "x"}, NO_TEXT, "give every passage its 'text'"),
        ("corpus", {"_id": "p9", "text": None}, "'text' is null, not a text", "give every passage its 'text'"),
        ("corpus", {"_id": "p9", "text": ["x"]}, "'text' is ['x'], not a text", "give every passage its 'text'"),
        ("corpus", {"_id": "p9", "text": "x", "title": 3}, "'title' is 3, not a text", "give every passage its 'text'"),
        ("corpus", {"_id": "p0", "text": "x"}, "id p0 a second time", "keep one of them"),
        ("queries", {"text": "x"}, "a query without '_id'", "give every query its '_id'"),
        ("queries", {"_id": "q9", "text": " "}, "a query without 'text'", "give every query its 'text'"),
        ("queries", {"_id": "q9", "text": 5}, "a query without 'text'", "give every query its 'text'"),
        ("queries", {"_id": "q0", "text": "x"}, "id q0 a second time", "keep one of them"),
    ],
)  # fmt: skip
def test_a_bad_line_is_refused_with_its_place(folder, write, file, row, problem, fix):
    write(f"{file}.jsonl", lines({"_id": f"{file[0].replace('c', 'p')}0", "text": "good"}, row))
    assert refused(folder) == (f"/{file}.jsonl:2: {problem}", fix)


def test_malformed_json_in_a_corpus_cannot_be_skipped_and_the_message_does_not_say_so(folder, write):
    write("corpus.jsonl", lines({"_id": "p1", "text": "x"}) + "{oops\n")
    problem, fix = refused(folder)
    assert problem.startswith("/corpus.jsonl:2: malformed JSON")
    assert "skip" not in fix


def test_judged_queries_without_text_are_refused(folder, write):
    write("qrels/test.tsv", QRELS + "q7\tp1\t1\nq8\tp1\t1\n")
    problem, fix = refused(folder)
    assert problem == f"/qrels/test.tsv: 2 judged queries have no text in {folder}, first: q7"
    assert fix == "add them to queries.jsonl, or remove their judgements"


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip),
        st.text(st.characters(exclude_categories=["Cs"])),
        min_size=1,
    )
)
def test_every_text_of_a_corpus_comes_out_as_it_was_written(tmp_path_factory, passages):
    folder = tmp_path_factory.mktemp("collection")
    rows = "".join(json.dumps({"_id": k, "text": v}, ensure_ascii=False) + "\n" for k, v in passages.items())
    (folder / "corpus.jsonl.gz").write_bytes(gzip.compress(rows.encode()))
    found = {passage.passage_id: passage.text for passage in iter_corpus(folder)}
    assert found == {name: text if text.strip() else "" for name, text in passages.items()}
