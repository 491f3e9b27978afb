"""JSON lines and JSON files: every way they are written, and every way they are broken."""

from __future__ import annotations

import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharprank.errors import UserError
from sharprank.formats import jsonl
from sharprank.formats.bad_rows import BadRows
from sharprank.formats.readers import iter_file

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.lists(st.dictionaries(TEXT, VALUES, min_size=1, max_size=4), min_size=1, max_size=5)


def read(path, policy="error"):
    bad_rows = BadRows(policy)
    return [dict(record.fields) for record in iter_file(path, bad_rows)], bad_rows.counts


def fields(path):
    return read(path)[0]


@given(rows=OBJECTS, ending=st.sampled_from(["\n", "\r\n", "\n\n \n"]), escape=st.booleans(), last=st.booleans())
def test_json_lines_round_trip_whatever_the_texts(tmp_path_factory, rows, ending, escape, last):
    path = tmp_path_factory.mktemp("rows") / "a.jsonl"
    lines = ending.join(json.dumps(row, ensure_ascii=escape) for row in rows)
    path.write_bytes((lines + (ending if last else "")).encode())
    assert fields(path) == rows


@given(
    rows=OBJECTS,
    indent=st.sampled_from([None, 0, 2]),
    layout=st.sampled_from(["array", "lines", "values"]),
    chunk=st.integers(1, 40),
)
def test_json_files_round_trip_whatever_their_layout(tmp_path_factory, rows, indent, layout, chunk):
    path = tmp_path_factory.mktemp("rows") / "a.json"
    if layout == "array":
        text = json.dumps(rows, indent=indent, ensure_ascii=False)
    else:
        text = "\n".join(json.dumps(row, indent=None if layout == "lines" else indent) for row in rows)
    path.write_bytes(text.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsonl, "CHUNK_CHARACTERS", chunk)
        assert fields(path) == rows


def test_line_separators_inside_texts_do_not_end_a_line(write):
    text = "a\u2028b\u2029c\x85d\x0be\x0cf"
    path = write("a.jsonl", json.dumps({"query": text}, ensure_ascii=False) + "\n")
    assert fields(path) == [{"query": text}] == fields(write("a.json", path.read_bytes()))


def test_places_name_the_line(write):
    path = write("a.jsonl", '\n{"a": 1}\r\n\r\n{"a": 2}\n')
    assert [str(record.place) for record in iter_file(path, BadRows())] == [f"{path}:2", f"{path}:4"]
    path = write("a.json", '[\n {"a": 1},\n\n {"a":\n 2}\n]\n')
    assert [str(record.place) for record in iter_file(path, BadRows())] == [f"{path}:2", f"{path}:4"]


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.JSONL", "a.json.gz", "a.jsonl.gz"])
def test_json_lines_are_read_under_every_name(write, name):
    assert fields(write(name, '{"a": 1}\n{"a": 2}\n')) == [{"a": 1}, {"a": 2}]


def test_one_object_over_several_lines_is_one_record(write):
    assert fields(write("a.json", '{\n  "query": "a",\n  "pos": []\n}\n')) == [{"query": "a", "pos": []}]


def test_an_array_in_a_jsonl_file_is_refused_with_the_way_out(write):
    with pytest.raises(UserError, match=r"a\.jsonl:1: a list, not an object") as caught:
        fields(write("a.jsonl", '[{"a": 1}]\n'))
    assert ".json" in caught.value.fix


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"a": 1', "malformed JSON"),
        ("{'a': 1}", "malformed JSON"),
        ("nonsense", "malformed JSON"),
        ('{"a": ' + "1" * 5000 + "}", "malformed JSON"),
        ('{"a": ' + "[" * 100_000 + "}", "malformed JSON"),
        ('{"a": 1, "b": 2, "a": 1}', "a field twice"),
        ('"text"', "not an object"),
        ("[1]", "not an object"),
        ("null", "not an object"),
        ("12", "not an object"),
        ('{"a": "\\ud83d"}', "broken characters"),
        (b'{"a": "\xe5\x8c\xff"}', "broken characters"),
    ],
)
@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_a_bad_line_is_named_or_skipped_and_counted(write, line, reason, name):
    good = '{"a": "' + "好" * 30 + '"}\n'
    data = good.encode() + (line if isinstance(line, bytes) else line.encode()) + b"\n" + good.encode()
    path = write(name, data)
    with pytest.raises(UserError, match=rf"{name}:2: ") as caught:
        fields(path)
    assert "--on_bad_row skip" in caught.value.fix
    rows, counts = read(path, "skip")
    assert len(rows) == 2
    assert counts == {reason: 1}


def test_a_bad_first_line_is_skipped_too(write):
    rows, counts = read(write("a.json", '{"a": \n{"a": 2}\n'), "skip")
    assert rows == [{"a": 2}]
    assert counts == {"malformed JSON": 1}


def test_surrogate_pairs_are_characters(write):
    assert fields(write("a.jsonl", '{"a": "\\ud83d\\ude00"}\n')) == [{"a": "😀"}]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('[\n{"a": 1},\n{"a": }\n]', 3),
        ('[\n{"a": 1}\n{"a": 2}\n]', 3),
        ('[\n{"a": 1},\n{"a": 2},\n', 4),
        ('[\n{"a": 1},\n]', 3),
        ('[{"a": 1}]\n[]', 2),
        ('[\n{"a": "never closed},\n{"a": 2}\n]', 2),
        ('[\n{"a": 1},\n{"b', 3),
        ("{\n'a': 1\n}", 2),
    ],
)
@pytest.mark.parametrize("policy", ["error", "skip"])
def test_a_broken_array_is_an_error_with_its_line(write, text, line, policy):
    # Behind the break nothing tells where the next item begins: skipping would lose rows without counting them.
    with pytest.raises(UserError, match=rf"a\.json:{line}: malformed JSON"):
        read(write("a.json", text), policy)


def test_items_that_are_no_objects_are_skipped_and_counted(write):
    rows, counts = read(write("a.json", '[{"a": 1}, 2, "three", null, [4], {"a": 5}]'), "skip")
    assert rows == [{"a": 1}, {"a": 5}]
    assert counts == {"not an object": 4}


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
@pytest.mark.parametrize("content", ["", "\n \r\n\n"])
def test_an_empty_file_is_refused(write, name, content):
    with pytest.raises(UserError, match="no row in it"):
        fields(write(name, content))


@pytest.mark.parametrize("content", ["[]", "[\n]\n"])
def test_an_empty_array_is_refused_or_counted(write, content):
    with pytest.raises(UserError, match="no row in it"):
        fields(write("a.json", content))
    assert read(write("a.json", content), "skip") == ([], {"empty file": 1})


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_rows_before_a_broken_one_are_given_out(write, name):
    opening, between = ("[", ",") if name == "a.json" else ("", "")
    path = write(name, opening + "".join('{"a": "x"}' + between + "\n" for _ in range(20_000)) + '{"a": ')
    records = iter_file(path, BadRows())
    assert next(records).fields == {"a": "x"}


@pytest.mark.parametrize("layout", ["lines", "array", "one_line"])
def test_a_large_file_is_never_in_memory(write, layout):
    row = json.dumps({"query": "q", "pos": ["x" * 1000]})
    text = {"lines": "\n".join([row] * 8000), "array": "[" + ",\n".join([row] * 8000) + "]"}
    path = write("a.json", text.get(layout) or "[" + ",".join([row] * 8000) + "]")
    tracemalloc.start()
    try:
        count = sum(1 for _ in iter_file(path, BadRows()))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 8000
    assert peak < path.stat().st_size / 4


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_a_key_that_stands_twice_is_named_since_one_value_would_be_lost(write, name):
    good, bad = '{"query": "a", "pos": "b"}', '{"query": "a", "pos": "b", "pos": "c"}'
    text = f"{good}\n{bad}\n" if name == "a.jsonl" else f"[{good},\n{bad}]"
    path = write(name, text)
    with pytest.raises(UserError) as caught:
        fields(path)
    assert caught.value.problem == f"{path}:2: 'pos' stands there twice"
    assert caught.value.fix == "keep one of them, or pass --on_bad_row skip"
    assert read(path, "skip") == ([{"query": "a", "pos": "b"}], {"a field twice": 1})


def test_nesting_at_the_edge_of_what_can_be_read_is_a_row_or_an_error(write):
    for depth in range(900, 1000, 3):
        path = write(f"{depth}.jsonl", '{"a": "\\u00e9", "b": ' + "[" * depth + "]" * depth + "}\n")
        rows, counts = read(path, "skip")
        assert len(rows) + counts["malformed JSON"] == 1
