"""docs/formats.md is true: its examples are read by the readers that it says read them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from sharprank.formats.collections import read_collection
from sharprank.formats.groups import read_groups
from sharprank.formats.pool import read_passages
from sharprank.formats.readers import READERS
from sharprank.formats.rows import read_rows
from sharprank.formats.sources import Source
from sharprank.formats.trec import read_run

PAGE = Path(__file__).parents[2] / "docs" / "formats.md"


@pytest.fixture(scope="module")
def page() -> str:
    if not PAGE.is_file():
        pytest.skip("docs/ is not installed")
    return PAGE.read_text(encoding="utf-8")


def blocks(page: str, info: str) -> list[str]:
    found = re.findall(rf"^```{info}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert found, f"no block ```{info} in {PAGE}"
    return found


def test_the_rows_are_rows(page, write):
    for number, block in enumerate(blocks(page, "jsonl rows")):
        rows = list(read_rows(Source(str(write(f"rows{number}.jsonl", block)))))
        assert len(rows) == block.count("\n")


def test_graded_pairs_and_lists_are_training_data(page, write):
    graded = [read_groups(Source(str(write("g.jsonl", block)))) for block in blocks(page, "jsonl graded")]
    graded += [read_groups(Source(str(write("g.tsv", block)))) for block in blocks(page, "tsv graded")]
    assert [len(data.groups[0].passages) for data in graded] == [3, 2]
    assert all(data.groups[0].relevance[0] == 1.0 for data in graded)
    [block] = blocks(page, "jsonl lists")
    first, second, third = read_groups(Source(str(write("l.jsonl", block)))).groups
    assert (first.relevance, first.teacher_scores) == ((1.0, 0.0), None)
    assert (second.relevance, second.teacher_scores) == ((1.0, 0.0), (7.1, -3.25))
    assert (third.relevance, third.teacher_scores) == (None, (6.5, -4.0))


def test_the_pool_is_a_pool(page, write):
    [block] = blocks(page, "jsonl pool")
    passages = list(read_passages(Source(str(write("pool.jsonl", block)))))
    assert [(passage.text, passage.passage_id) for passage in passages] == [
        ("list.sort() sorts in place.", None),
        ("dict A mapping of keys to values.", None),
        ("open() opens a file.", "p7"),
    ]


def test_the_collection_is_a_collection(page, write, tmp_path):
    for name, info in (
        ("corpus.jsonl", "jsonl corpus"),
        ("queries.jsonl", "jsonl queries"),
        ("qrels/test.tsv", "tsv qrels"),
    ):
        [block] = blocks(page, info)
        write(name, block)
    collection = read_collection(tmp_path)
    assert collection.qrels == {"q1": {"p1": 1}}
    assert collection.passages == {"p1": "list.sort Sorts in place."}


def test_the_run_is_a_run(page, write):
    [block] = blocks(page, "text run")
    assert read_run(write("a.trec", block)) == {"q1": {"p1": 13.25, "p4": 11.5}}


def test_the_error_is_the_error(page, write):
    [block] = blocks(page, "")[:1]
    good = '{"query": "q", "pos": ["a"]}\n'
    path = write("pairs.jsonl", good * 16 + '{"query": "q", "pos": ["a", null]}\n')
    with pytest.raises(Exception) as caught:
        list(read_rows(Source(str(path))))
    assert str(caught.value).replace(str(path), path.name) == block.rstrip("\n")


def test_the_json_examples_are_json(page):
    for block in blocks(page, "json"):
        json.loads(block)


def test_every_ending_is_named(page):
    for ending in READERS:
        assert f"| `{ending}` |" in page


def test_every_format_that_is_converted_is_named(page):
    from sharprank.cli.convert import FORMATS

    section = page.partition("### `sharprank convert")[2].partition("###")[0]
    for name in FORMATS:
        assert f"`{name}`" in section
