"""Texts on disk by number, held against lists and dicts."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

try:
    import resource
except ImportError:  # not on Windows
    resource = None

from sharprank.errors import UserError
from sharprank.formats.text_store import TextStore, TextWriter, one_spaced

TEXTS = ["b", "a  c", "b", "a c ", "", "搜索 é", "d\n"]


def written(folder, texts, ids=None, **options) -> TextStore:
    with TextWriter(folder, **options) as writer:
        for number, text in enumerate(texts):
            writer.add(text, passage_id=None if ids is None else ids[number])
    return TextStore(folder)


def test_texts_come_back_in_their_order_without_those_that_differ_in_white_space_only(tmp_path):
    store = written(tmp_path / "s", TEXTS)
    assert list(store) == ["b", "a  c", "", "搜索 é", "d\n"]
    assert (store[1], store[-1], store[1:3], store[::-2]) == ("a  c", "d\n", ["a  c", ""], ["d\n", "", "b"])
    assert (len(store), store.num_read) == (5, 7)
    with pytest.raises(IndexError, match="text 5 of 5"):
        store[5]


def test_a_text_is_found_in_any_spelling_of_white_space(tmp_path):
    store = written(tmp_path / "s", TEXTS)
    assert [store.find(text) for text in ("b", " a c\n", "d", "nothing")] == [0, 1, 4, None]


def test_texts_by_key_do_not_depend_on_the_order_of_writing(tmp_path):
    texts = [f"text {i % 300}{' ' * (i % 7)}" for i in range(1000)]
    stores = [
        written(tmp_path / str(seed), random.Random(seed).sample(texts, len(texts)), by_key=True) for seed in (1, 2)
    ]
    assert list(stores[0]) == list(stores[1])
    assert len(stores[0]) == 300
    assert all(stores[0].find(text) == number for number, text in enumerate(stores[0]))


def test_a_store_agrees_with_a_dict_on_many_texts(tmp_path):
    draw = random.Random(5)
    texts = [" ".join(draw.choices(["a", "b", "c", "  d"], k=draw.randint(0, 6))) for _ in range(3000)]
    ids = [f"id {i}" for i in range(3000)]
    expected: dict[str, int] = {}
    numbers = [expected.setdefault(one_spaced(text), len(expected)) for text in texts]
    store = written(tmp_path / "s", texts, ids)
    assert [one_spaced(text) for text in store] == list(expected)
    assert all(store.find(text) == number for text, number in zip(texts, numbers, strict=True))
    assert all(store.number_of(name) == number for name, number in zip(ids, numbers, strict=True))
    assert store.passage_id(0) == "id 0" and store.number_of("id 3000") is None


def test_all_texts_of_a_key_are_found_where_texts_may_repeat(tmp_path):
    with TextWriter(tmp_path / "s", distinct=False) as writer:
        for text, key in (("x", "one"), ("y", "two"), ("x", "one"), ("x", "three")):
            writer.add(text, key=key)
    store = TextStore(tmp_path / "s")
    assert list(store) == ["x", "y", "x", "x"]
    assert (store.numbers("one"), store.numbers("two"), store.numbers("four")) == ([0, 2], [1], [])


def test_ids_may_begin_late_and_an_empty_store_holds_nothing(tmp_path):
    store = written(tmp_path / "s", ["a", "b"], [None, "second"])
    assert (store.passage_id(0), store.passage_id(1), store.number_of("second")) == (None, "second", 1)
    empty = written(tmp_path / "empty", [])
    assert (list(empty), empty[0:9], empty.find("a"), empty.number_of("1")) == ([], [], None, None)


def test_a_store_whose_writing_failed_is_not_there_and_leaves_nothing(tmp_path):
    with pytest.raises(KeyError), TextWriter(tmp_path / "s") as writer:
        writer.add("a", passage_id="1")
        raise KeyError
    assert TextStore.find_in(tmp_path / "s") is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(resource is None, reason="needs limits of file sizes")
def test_a_full_disk_is_a_user_error_with_a_way_out_and_leaves_nothing(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(UserError, match="cannot write") as caught:
            written(tmp_path / "s", [f"{i} {'x' * 100}" for i in range(30_000)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "SHARPRANK_CACHE" in caught.value.fix
    assert list(tmp_path.iterdir()) == []
    assert len(written(tmp_path / "s", ["a"])) == 1


def test_a_store_written_again_replaces_the_old_one_and_keeps_what_it_was_told(tmp_path):
    written(tmp_path / "s", ["old"])
    with TextWriter(tmp_path / "s") as writer:
        writer.add("new")
        writer.about["skipped"] = {"reason": 3}
    found = TextStore.find_in(tmp_path / "s")
    assert found is not None and list(found) == ["new"] and found.about == {"skipped": {"reason": 3}}


def test_a_store_written_again_with_the_same_texts_stays_the_one_that_others_read(tmp_path):
    before = written(tmp_path / "s", TEXTS, ids="abcdefg")
    about = (tmp_path / "s" / "about.json").stat()
    written(tmp_path / "s", TEXTS, ids="abcdefg")
    assert (tmp_path / "s" / "about.json").stat().st_ino == about.st_ino
    assert list(before) == list(TextStore(tmp_path / "s"))
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_many_may_write_one_store_at_a_time(tmp_path):
    def write(number: int) -> None:
        written(tmp_path / "same", TEXTS)
        with TextWriter(tmp_path / "other") as writer:
            writer.add(str(number % 2))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write, range(60)))
    assert list(TextStore(tmp_path / "other")) in (["0"], ["1"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "same"]


def test_a_folder_that_cannot_be_written_is_a_user_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"), TextWriter(tmp_path / "file" / "s"):
        pass


@pytest.mark.parametrize("name", ["texts", "starts", "digests", "about.json"])
def test_a_store_cut_short_or_unfinished_is_not_there(tmp_path, name):
    written(tmp_path / "s", ["a long text", "another"])
    data = (tmp_path / "s" / name).read_bytes()
    (tmp_path / "s" / name).write_bytes(data[: len(data) // 2])
    assert TextStore.find_in(tmp_path / "s") is None
