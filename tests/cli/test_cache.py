"""`sharprank cache` as it is typed."""

from __future__ import annotations

import os
import time

import pytest

from sharprank.cli.cache import main
from sharprank.formats.cache import cache_folder, check_cache, entry_folder, key_of


@pytest.fixture
def filled(cache):
    for kind, size in (("embeddings", 5_000_000), ("pool", 2000)):
        folder = entry_folder(cache, kind, key_of(kind), {"model": f"the model of {kind}"})
        (folder / "data").write_bytes(bytes(size))
    return cache


def names(folder) -> list[str]:
    return sorted(path.name.rpartition("-")[0] for path in folder.iterdir())


def test_ls_lists_the_largest_first_with_size_and_what_it_is(filled, capsys):
    assert main(["ls"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "5.0 MB" in lines[0] and "embeddings-" in lines[0] and "the model of embeddings" in lines[0]
    assert "pool-" in lines[1]
    assert lines[2].endswith(f"in 2 entries of {filled}")


def test_ls_of_a_cache_that_is_not_there_lists_nothing(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("SHARPRANK_CACHE", str(tmp_path / "none"))
    assert main(["ls"]) == 0
    assert "0 bytes  in 0 entries" in capsys.readouterr().out


def test_rm_deletes_what_is_named_by_its_beginning_and_nothing_else(filled, capsys):
    assert main(["rm", "embed"]) == 0
    assert names(filled) == ["pool"]
    assert "5.0 MB freed" in capsys.readouterr().out


def test_rm_all_empties_the_cache_and_another_cache_is_left_alone(filled, tmp_path):
    other = tmp_path / "other"
    entry_folder(other, "pool", "0", {})
    assert main(["--embedding_cache", str(filled), "rm", "--all"]) == 0
    assert (names(filled), names(other)) == ([], ["pool"])


def test_rm_by_age_goes_by_the_last_use(filled):
    old = next(filled.glob("pool-*")) / "about.json"
    os.utime(old, (time.time() - 10 * 86_400,) * 2)
    assert main(["rm", "--unused_days", "7"]) == 0
    assert names(filled) == ["embeddings"]


@pytest.mark.parametrize("words", [["rm"], ["rm", "nonsense"]])
def test_rm_without_a_name_that_fits_deletes_nothing(filled, words, capsys):
    assert main(words) == 2
    assert "cache ls" in capsys.readouterr().err
    assert names(filled) == ["embeddings", "pool"]


def test_what_a_process_that_died_left_is_cleared_after_a_day(cache):
    young, old = cache / ".young.partial", cache / "pool-1" / ".old.partial"
    for folder in (young, old):
        folder.mkdir(parents=True)
        (folder / "texts").write_bytes(b"x")
    os.utime(old, (time.time() - 2 * 86_400,) * 2)
    check_cache(cache)
    assert young.exists() and not old.exists()


def test_the_cache_is_where_the_variable_or_the_system_says(monkeypatch, tmp_path):
    assert str(cache_folder()) == os.environ["SHARPRANK_CACHE"]
    monkeypatch.delenv("SHARPRANK_CACHE")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "sharprank"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "sharprank"
