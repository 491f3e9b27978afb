"""Candidate pools in every shape."""

from __future__ import annotations

import json

import pytest

from sharprank.errors import UserError
from sharprank.formats.bad_rows import BadRows
from sharprank.formats.pool import read_passages
from sharprank.formats.sources import Source


def passages(path, **options):
    return [(passage.passage_id, passage.text) for passage in read_passages(Source(str(path)), **options)]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"text": "t"}, (None, "t")),
        ({"_id": "1", "title": "T", "text": "t"}, ("1", "T t")),
        ({"id": 7, "title": "", "text": "t"}, ("7", "t")),
        ({"docid": "d", "title": None, "content": "c"}, ("d", "c")),
        ({"id": True, "contents": " c "}, (None, " c ")),
        ({"title": "T", "text": ""}, (None, "T")),
        ({"text": "t", "content": "c"}, (None, "t")),
    ],
)
def test_passages_have_a_text_and_perhaps_a_title_and_an_id(write, fields, expected):
    assert passages(write("pool.jsonl", json.dumps(fields) + "\n")) == [expected]


@pytest.mark.parametrize("name", ["pool.txt", "pool.txt.gz", "pool.TXT"])
def test_lines_of_text_are_passages(write, name):
    path = write(name, "first\u2028line\r\n\n  second \n\t\nthird")
    assert passages(path) == [(None, "first\u2028line"), (None, "  second "), (None, "third")]
    assert [passage.place.line for passage in read_passages(Source(str(path)))] == [1, 3, 5]


@pytest.mark.parametrize("row", [{"title": "T"}, {"text": None}, {"text": "  "}, {"text": ["t"]}, {}])
def test_a_passage_without_text_is_named_or_skipped_and_counted(write, row):
    path = write("pool.jsonl", '{"text": "a"}\n' + json.dumps(row) + "\n")
    with pytest.raises(UserError, match=r"pool\.jsonl:2: .*'text'"):
        passages(path)
    bad_rows = BadRows("skip")
    assert passages(path, bad_rows=bad_rows) == [(None, "a")]
    assert bad_rows.counts == {"passage without text": 1}


def test_a_damaged_line_is_named_or_skipped_and_counted(write):
    path = write("pool.txt", ("好" * 20 + "\n").encode() + b"\xff\n")
    with pytest.raises(UserError, match=r"pool\.txt:2: "):
        passages(path)
    bad_rows = BadRows("skip")
    assert len(passages(path, bad_rows=bad_rows)) == 1
    assert bad_rows.counts == {"broken characters": 1}


@pytest.mark.parametrize("name", ["pool.txt", "pool.jsonl"])
def test_a_pool_without_passages_is_refused(write, name):
    with pytest.raises(UserError, match=r"holds no passage|no row in it"):
        passages(write(name, "\n\n"))


def test_all_files_of_a_folder_are_the_pool_whatever_their_names(write, tmp_path):
    write("pool/train.jsonl", '{"text": "a"}\n')
    write("pool/test.jsonl", '{"text": "b"}\n')
    assert passages(tmp_path / "pool") == [(None, "b"), (None, "a")]


def test_of_a_collection_only_the_corpus_is_the_pool(write, tmp_path):
    write("corpus.csv", "_id,title,text\n1,T,t\n")
    write("queries.jsonl", '{"_id": "q", "text": "not a passage"}\n')
    write("qrels/test.tsv", "q\t1\t1\n")
    write("train.jsonl", '{"query": "q", "pos": ["p"]}\n')
    assert passages(tmp_path) == [("1", "T t")]
