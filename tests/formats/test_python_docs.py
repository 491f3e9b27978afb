"""The demo's data: pairs from docstrings, parsed and never imported, split so that no module is on both sides."""

from __future__ import annotations

import csv
import json
from collections import Counter
from textwrap import indent

import pytest

from sharprank.errors import UserError
from sharprank.formats import python_docs
from sharprank.formats.python_docs import DocPair, read_doc_pairs, split_by_module, write_python_docs

REST = "It goes on for long enough to be worth a search, with more than eighteen words in it, all told {}."


@pytest.fixture
def stdlib(tmp_path):
    """A standard library of two modules and much that is none of it."""

    def write(path: str, text: str) -> None:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")

    function = 'def {}():\n    """{}\n\n    {}\n    """\n'
    write(
        "json/__init__.py",
        'raise SystemExit("imported")\n' + function.format("dump", "Write an object to a file.", REST),
    )
    method = f"class Decoder:\n{indent(function.format('decode', 'Read an object from text.', REST.format(2)), '    ')}"
    write("json/decoder.py", method)
    write("heapq.py", f'"""Keep the smallest item first.\n\n{REST.format(3)}\n"""\n')
    for path in ("site-packages/x.py", "json/test/x.py", "test/x.py", "stranger.py", "idlelib/x.py"):
        write(path, f'"""Nothing to see at {path}.\n\n{REST.format(path)}\n"""\n')
    write("broken.py", "def (:\n")
    return tmp_path


MODULES = frozenset({"json", "heapq", "broken", "test", "idlelib"})


def test_only_the_standard_library_is_read_and_nothing_is_imported(stdlib):
    pairs = read_doc_pairs(stdlib, modules=MODULES)
    assert [(p.name, p.module, p.query) for p in pairs] == [
        ("heapq", "heapq", "Keep the smallest item first."),
        ("json.dump", "json", "Write an object to a file."),
        ("json.decoder.Decoder.decode", "json", "Read an object from text."),
    ]
    assert pairs[0].passage == REST.format(3)


@pytest.mark.parametrize(
    "docstring",
    [
        "Only a summary line here.",
        "Too short.\n\n" + REST,
        "A summary of\ntwo lines.\n\n" + REST,
        "dump(obj, file, indent, more)\n\n" + REST,
        "dump obj and file -> None\n\n" + REST,
        "A good summary, thin rest.\n\nSee below.",
        "It goes on for long enough\n\n" + REST,
    ],
)
def test_docstrings_that_make_no_fair_pair_are_left_out(tmp_path, docstring):
    (tmp_path / "heapq.py").write_text(f'"""{docstring}\n"""\n')
    assert read_doc_pairs(tmp_path, modules=MODULES) == []


def test_repeated_queries_and_passages_stay_once(tmp_path):
    text = "".join(
        f'def f{i}():\n    """{query}\n\n    {REST.format(rest)}\n    """\n'
        for i, (query, rest) in enumerate(
            [("Say what it is.", "a"), ("Say  what it IS.", "b"), ("Say what it does.", "a"), ("Say how it does.", "c")]
        )
    )
    (tmp_path / "heapq.py").write_text(text)
    names = [pair.name for pair in read_doc_pairs(tmp_path, modules=MODULES)]
    assert names == ["heapq.f0", "heapq.f3"]


def _pairs(sizes: dict[str, int]) -> list[DocPair]:
    return [
        DocPair(f"{m}.{i}", m, f"query {m} {i}", f"passage {m} {i}") for m, size in sizes.items() for i in range(size)
    ]


def test_no_module_is_on_both_sides_and_twins_stay_together():
    pairs = _pairs({f"m{i}": 5 for i in range(30)} | {"_pyio": 4, "io": 4, "_pydatetime": 3, "datetime": 3})
    splits = split_by_module(pairs, seed=0)
    home = {}
    for split, members in splits.items():
        for pair in members:
            module = pair.module.removeprefix("_py")
            assert home.setdefault(module, split) == split
    sizes = {split: len(members) for split, members in splits.items()}
    assert sum(sizes.values()) == len(pairs)
    assert sizes["test"] <= 0.2 * len(pairs) < sizes["test"] + 6 and sizes["validation"] <= 0.1 * len(pairs)


def test_the_split_follows_the_seed_and_not_the_order_of_the_pairs():
    pairs = _pairs({f"m{i}": 5 for i in range(30)})
    modules = [
        {pair.module for pair in split_by_module(p, seed=s)["test"]}
        for p, s in [(pairs, 0), (pairs[::-1], 0), (pairs, 1)]
    ]
    assert modules[0] == modules[1] != modules[2]


def test_the_written_folder_is_a_collection_with_training_rows(tmp_path):
    counts = write_python_docs(tmp_path / "docs")
    folder = tmp_path / "docs"
    read = {
        name: [json.loads(line) for line in (folder / name).open(encoding="utf-8")]
        for name in ("corpus.jsonl", "queries.jsonl", "train.jsonl")
    }
    passages = {row["_id"]: row["text"] for row in read["corpus.jsonl"]}
    queries = {row["_id"]: row["text"] for row in read["queries.jsonl"]}
    assert 1200 < len(passages) == len(queries) == sum(counts.values()) < 2200
    assert counts["train"] > 0.6 * len(passages) and counts["test"] > 0.15 * len(passages)
    judged = Counter()
    for split in ("train", "validation", "test"):
        with (folder / "qrels" / f"{split}.tsv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        assert len(rows) == counts[split]
        for row in rows:
            assert row["score"] == "1" and row["corpus-id"] in passages
            judged[row["query-id"]] += 1
    assert judged == Counter(queries.keys())
    texts = set(passages.values())
    assert len(read["train.jsonl"]) == counts["train"] and all(set(row["pos"]) <= texts for row in read["train.jsonl"])
    assert json.loads((folder / "python_docs.json").read_text())["pairs"] == counts


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    pairs = _pairs({f"m{i}": 5 for i in range(30)})
    write_python_docs(tmp_path / "a", seed=3, pairs=pairs)
    write_python_docs(tmp_path / "b", seed=3, pairs=pairs[::-1])
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert len(files) == 7
    assert all((tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes() for path in files)


def test_a_python_without_its_sources_is_told_so(monkeypatch, tmp_path):
    monkeypatch.setattr(python_docs.sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.raises(UserError, match="came without its sources"):
        read_doc_pairs()
