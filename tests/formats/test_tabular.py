"""Tables: quoted, unquoted, and broken ones."""

from __future__ import annotations

import csv
import json

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharprank.errors import UserError
from sharprank.formats.bad_rows import BadRows
from sharprank.formats.readers import iter_file

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1).filter(str.strip)


def read(path, policy="error"):
    bad_rows = BadRows(policy)
    return [dict(record.fields) for record in iter_file(path, bad_rows)], bad_rows.counts


def fields(path):
    return read(path)[0]


@given(cells=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=5), ending=st.sampled_from(["\n", "\r\n"]))
def test_csv_round_trips_whatever_the_texts(tmp_path_factory, cells, ending):
    path = tmp_path_factory.mktemp("tables") / "a.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator=ending, quoting=csv.QUOTE_ALL).writerows([("query", "pos"), *cells])
    assert fields(path) == [{"query": query, "pos": pos} for query, pos in cells]


@given(cells=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=5))
def test_tsv_written_by_csv_libraries_round_trips_but_for_line_breaks(tmp_path_factory, cells):
    path = tmp_path_factory.mktemp("tables") / "a.tsv"
    cells = [tuple(" ".join(text.replace("\t", " ").split("\n")).replace("\r", " ") for text in row) for row in cells]
    cells = [row for row in cells if any(text.strip() for text in row)] or [("a", "b")]
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter="\t", lineterminator="\n").writerows([("query", "pos"), *cells])
    assert fields(path) == [{"query": query, "pos": pos} for query, pos in cells]


def test_quotes_in_a_tsv_are_text(write):
    path = write("a.tsv", 'query\tpos\n"Hello" she said\t5" disk\n"\tb\n"quoted"\t"""both"""\n')
    assert fields(path) == [
        {"query": '"Hello" she said', "pos": '5" disk'},
        {"query": '"', "pos": "b"},
        {"query": "quoted", "pos": '"both"'},
    ]


def test_a_csv_row_over_several_lines_is_named_by_its_first(write):
    path = write("a.csv", 'query,pos\n\n"two\nlines",b\nc,d\n')
    assert [(record.fields["query"], record.place.line) for record in iter_file(path, BadRows())] == [
        ("two\nlines", 3),
        ("c", 5),
    ]


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.CSV"])
def test_a_spreadsheets_mark_and_line_ends_are_no_part_of_the_texts(write, name):
    path = write(name, "query,pos\r\nä,b\r\n", encoding="utf-8-sig")
    assert fields(path) == [{"query": "ä", "pos": "b"}]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("a,b,c", "wrong number of cells"),
        ("a", "wrong number of cells"),
        ('"a"b,c', "malformed csv"),
        (b"\xff,b", "broken characters"),
    ],
)
def test_a_bad_line_is_named_or_skipped_and_counted(write, line, reason):
    good = "好" * 20 + ",b\n"
    data = line if isinstance(line, bytes) else line.encode()
    path = write("a.csv", b"query,pos\n" + good.encode() + data + b"\n" + good.encode())
    with pytest.raises(UserError, match=r"a\.csv:3: "):
        fields(path)
    rows, counts = read(path, "skip")
    assert len(rows) == 2
    assert counts == {reason: 1}


def test_a_quote_that_is_never_closed_is_named_by_the_line_it_opens_on(write):
    with pytest.raises(UserError, match=r"a\.csv:3: malformed csv: unexpected end of data"):
        fields(write("a.csv", 'query,pos\na,b\n"c,d\ne,f\n'))


def test_a_long_cell_is_read(write):
    assert len(fields(write("a.csv", "query,pos\na," + "x" * 300_000 + "\n"))[0]["pos"]) == 300_000


def test_two_columns_of_one_name_are_refused(write):
    with pytest.raises(UserError, match=r"a\.csv:1: two columns are called 'query'"):
        fields(write("a.csv", "query,query\na,b\n"))


@pytest.mark.parametrize("content", ["", "query,pos\n", "\n\n"])
@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_a_table_without_rows_is_refused(write, name, content):
    with pytest.raises(UserError, match="no row in it"):
        fields(write(name, content))


def test_parquet_keeps_lists_and_nulls_and_is_read_in_pieces(tmp_path):
    rows = [{"query": f"q{number}", "pos": ["a", "ü"], "neg": None, "neg_scores": [0.5]} for number in range(1000)]
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    assert fields(path) == rows
    assert [record.place.line for record in iter_file(path, BadRows())][-1] == 1000


def test_a_broken_parquet_file_is_refused(write):
    with pytest.raises(UserError, match=r"a\.parquet: not a complete parquet file"):
        fields(write("a.parquet", b"PAR1 nonsense"))


def test_a_parquet_file_without_rows_is_refused(tmp_path):
    pyarrow.parquet.write_table(pyarrow.table({"query": pyarrow.array([], pyarrow.string())}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match="no row in it"):
        fields(tmp_path / "a.parquet")


@pytest.mark.parametrize("name", ["a.txt", "a.parquet.gz", "a", "a.gz", "a.xlsx"])
def test_an_ending_that_no_reader_takes_is_refused(write, name):
    with pytest.raises(UserError, match="ending that no reader takes"):
        fields(write(name, json.dumps({"query": "a"})))


def test_a_zero_character_in_a_quoted_tsv_cell_is_no_quote(write):
    path = write("a.tsv", 'a\tb\n"x ""y"" \0"\tz\n')
    assert [dict(record.fields) for record in iter_file(path, BadRows())] == [{"a": 'x "y" \0', "b": "z"}]
