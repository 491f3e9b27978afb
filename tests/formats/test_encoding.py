"""Texts come out as they were written, in whatever encoding."""

from __future__ import annotations

import errno
import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharprank.errors import UserError
from sharprank.formats import encoding as encoding_module
from sharprank.formats.encoding import is_broken, open_text
from sharprank.formats.sources import Source, iter_records

FRENCH = "Le café de l'été est très agréable à côté de la forêt\n"
GERMAN = "Größe und Maße: wie groß ist die Straße?\n"
CHINESE = "北京大学的学生正在图书馆里学习信息检索的相关知识\n"
POLISH = "Zażółć gęślą jaźń. Wyszukiwarka powinna znaleźć najlepsze wyniki dla każdego zapytania, również tu.\n" * 2
RUSSIAN = "Привет, как дела? Москва столица России, большой город\n"
JAPANESE = "東京は日本の首都です。検索エンジンのことを知りたい\n"


def text_of(path) -> str:
    with open_text(path) as file:
        return file.read()


@pytest.mark.parametrize(
    ("text", "encoding", "said"),
    [
        (FRENCH, "latin-1", "latin-1"),
        (GERMAN, "latin-1", "latin-1"),
        (FRENCH * 20, "latin-1", "latin-1"),
        ("The shop \u2013 \u201cChez Rémi\u201d \u2013 is closed\n", "cp1252", "cp1252"),
        ("it \u2013 is\n" * 100, "cp1252", "cp1252"),
        ("M\u00fcller said.\n" * 100, "latin-1", "latin-1"),
        (CHINESE, "gb18030", "gb18030"),
        ("模型\n", "gb18030", "gb18030"),
        (CHINESE * 50, "gbk", "gb18030"),
        (POLISH, "cp1250", "windows-1250"),
        (RUSSIAN, "cp1251", "windows-1251"),
        (JAPANESE, "shift_jis", "cp932"),
        (CHINESE, "utf-16", "utf-16 (byte-order mark)"),
        (FRENCH, "utf-16-le", "utf-16-le"),
        (CHINESE, "utf-16-be", "utf-16-be"),
        ("\u4e00\u4e8c\u4e09\n" * 20, "utf-16-le", "utf-16-le"),
        ("\u4e00" * 50 + "\n", "utf-16-be", "utf-16-be"),
        (RUSSIAN, "utf-16-le", "utf-16-le"),
        (RUSSIAN.strip(), "utf-16-be", "utf-16-be"),
        (CHINESE, "utf-32", "utf-32 (byte-order mark)"),
    ],
)
def test_other_encodings_are_recognised_and_said(write, capsys, text, encoding, said):
    path = write("a.txt", text, encoding=encoding)
    assert text_of(path) == text
    assert capsys.readouterr().err.count(f"read as {said}") == 1
    assert text_of(path) == text
    assert capsys.readouterr().err == ""  # once per file


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("text", ["plain\n", FRENCH, CHINESE, "😀\n", "", "a zero \0 is\nno reason to doubt\n"])
def test_utf8_is_read_without_a_word(write, capsys, text, encoding):
    assert text_of(write("a.txt", text, encoding=encoding)) == text
    assert capsys.readouterr().err == ""


def test_json_rows_in_chinese_encoding_are_read(write):
    path = write("a.jsonl", '{"query": "模型", "pos": ["重排序"]}\n{"query": "b", "pos": ["c"]}\n', encoding="gb18030")
    assert [record.fields["query"] for record in iter_records(Source(str(path)))] == ["模型", "b"]


def test_a_file_whose_first_accent_comes_late_is_judged_by_what_comes_there(write):
    ascii_lines = "nothing but ascii here\n" * 20_000
    assert text_of(write("a.txt", ascii_lines + FRENCH, encoding="latin-1")) == ascii_lines + FRENCH
    assert text_of(write("b.txt.gz", ascii_lines + CHINESE, encoding="gb18030")) == ascii_lines + CHINESE


def test_a_character_on_a_block_border_is_no_reason_to_guess(write, capsys):
    text = "a" * (encoding_module.BLOCK_BYTES * 2 - 1) + "é" * 10
    assert text_of(write("a.txt", text)) == text
    assert capsys.readouterr().err == ""


def test_detection_reads_only_a_stretch_of_the_file(write, monkeypatch):
    path = write("a.txt", CHINESE * 100_000)
    read = []

    class Counting:
        def __init__(self, file):
            self._file = file

        def read(self, size=-1):
            read.append(size)
            return self._file.read(size)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self._file.close()

    real = encoding_module.open_bytes
    monkeypatch.setattr(encoding_module, "open_bytes", lambda path: Counting(real(path)))
    status = path.stat()
    assert encoding_module.detect_encoding(path, status.st_size, status.st_mtime_ns) == "utf-8"
    assert 0 < sum(read) <= 2 * encoding_module.BLOCK_BYTES


def test_utf8_with_a_damaged_byte_stays_utf8(write, capsys):
    path = write("a.jsonl", CHINESE.encode() + b"\xff\n")
    assert is_broken(text_of(path))
    assert text_of(path).startswith(CHINESE)
    assert capsys.readouterr().err == ""


def test_what_is_no_text_is_refused(write):
    with pytest.raises(UserError, match="not text in any encoding"):
        text_of(write("a.txt", bytes(range(256)) * 20))


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        text_of(tmp_path / "none.txt")


def test_a_file_that_may_not_be_read_is_refused(write, monkeypatch):
    path = write("secret.txt", "x")

    def forbidden(_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(encoding_module, "open_bytes", forbidden)  # tests may run as root, who may read everything
    with pytest.raises(UserError) as caught:
        text_of(path)
    assert caught.value.problem == f"{path} cannot be read: Permission denied"
    assert caught.value.fix == "name a file that you may read"


def test_a_cut_or_false_gzip_file_is_refused(write, tmp_path):
    whole = gzip.compress(FRENCH.encode() * 1000)
    for name, content in [
        ("cut.txt.gz", whole[:-20]),
        ("false.txt.gz", b"no gzip"),
        ("bad.txt.gz", whole[:15] + b"x" * 9),
    ]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match="not a complete gzip file"):
            text_of(tmp_path / name)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_every_text_survives_utf8(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("texts") / "a.txt"
    path.write_bytes(text.encode())
    encoding_module.detect_encoding.cache_clear()
    if "\0" in text or text.startswith("\ufeff"):
        return  # a byte-order mark is no character, and no text holds a zero
    assert text_of(path) == text


@given(st.text())
def test_broken_means_that_utf8_cannot_hold_it(text):
    assert is_broken(text) == any("\ud800" <= char <= "\udfff" for char in text)
