"""What a path means: file, folder, split, subset, dataset."""

from __future__ import annotations

import errno
import json
import os
import shutil

import pyarrow
import pyarrow.parquet
import pytest

from sharprank.errors import UserError
from sharprank.formats.pool import read_passages
from sharprank.formats.rows import read_rows
from sharprank.formats.sources import Source, iter_records, source_files


def line(name: str) -> str:
    return json.dumps({"query": name, "pos": ["p"]}) + "\n"


def names(path, subset=None, split=None, **options) -> list[str]:
    return [record.fields["query"] for record in iter_records(Source(str(path), subset, split), **options)]


@pytest.fixture
def folder(write, tmp_path):
    """A folder with files named after the queries they hold."""

    def make(*files: str):
        for name in files:
            write(f"data/{name}", line(name))
        return tmp_path / "data"

    return make


def test_a_folder_is_read_sorted_and_nested_in_every_format(write, tmp_path):
    write("data/b/c.jsonl", line("c"))
    write("data/a.json", json.dumps([{"query": "a"}]))
    write("data/b/a.csv", "query,pos\nb,p\n")
    write("data/z.tsv.gz", "query\tpos\nz,\tp\n")
    pyarrow.parquet.write_table(pyarrow.table({"query": ["m"]}), tmp_path / "data" / "m.parquet")
    assert names(tmp_path / "data") == ["a", "b", "c", "m", "z,"]


def test_what_is_no_data_is_left_out(folder, write):
    root = folder("a.jsonl", ".hidden.jsonl", "_temp/b.jsonl", ".cache/c.jsonl", ".a.jsonl.1.partial")
    write("data/a.jsonl.stats.json", '{"settings": {}}')
    write("data/notes.txt", "no data")
    write("data/README.md", "# no data\n")
    assert names(root) == ["a.jsonl"]


def test_a_file_is_read_whatever_split_is_the_default(folder):
    assert names(folder("a.jsonl") / "a.jsonl", default_split="test") == ["a.jsonl"]


def test_a_file_has_no_split(folder):
    root = folder("a.jsonl", "test.jsonl")
    for path, subset in ((root / "a.jsonl", None), (root / "test.jsonl", None), (root, "a")):
        with pytest.raises(UserError, match="is a file and has no split 'test'"):
            names(path, subset, "test")


def test_a_folder_laid_out_by_split_gives_the_default_split_and_says_so(folder, capsys):
    root = folder("data/train-00000-of-00002.jsonl", "data/train-00001-of-00002.jsonl", "data/test.jsonl")
    assert names(root) == ["data/train-00000-of-00002.jsonl", "data/train-00001-of-00002.jsonl"]
    assert "reading split 'train', 2 of 3 files" in capsys.readouterr().err
    assert names(root, default_split="test") == ["data/test.jsonl"]
    assert names(root, split="test") == ["data/test.jsonl"]
    assert len(names(root, default_split=None)) == 3


def test_split_folders_and_their_other_names_are_understood(folder):
    root = folder("train/a.jsonl", "dev/b.jsonl")
    assert names(root) == ["train/a.jsonl"]
    for split in ("validation", "dev", "val"):
        assert names(root, split=split) == ["dev/b.jsonl"]


def test_a_folder_without_the_wanted_split_is_refused_rather_than_read_whole(folder):
    with pytest.raises(UserError, match="has no split 'test'") as caught:
        names(folder("train.jsonl", "valid.jsonl"), default_split="test")
    assert "train, validation" in caught.value.fix


def test_split_names_inside_longer_names_count_where_no_name_is_exact(folder):
    root = folder("my_train_1.jsonl", "my-train2.jsonl", "scifact.test.jsonl", "testing.jsonl")
    assert names(root) == ["my-train2.jsonl", "my_train_1.jsonl"]


def test_an_exact_name_goes_before_longer_ones(folder):
    root = folder("train.jsonl", "test.jsonl", "test_unseen.jsonl")
    assert names(root, default_split="test") == ["test.jsonl"]
    assert names(root, split="test_unseen") == ["test_unseen.jsonl"]


def test_one_split_alone_is_no_layout(folder):
    assert len(names(folder("train.jsonl", "train_more.jsonl", "extra.jsonl"), default_split="test")) == 3


def test_a_subset_is_a_sub_folder_or_a_file(folder):
    root = folder("en/train.jsonl", "en/test.jsonl", "de/a.jsonl", "fr.jsonl")
    assert names(root, "en") == ["en/train.jsonl"]
    assert names(root, "en", default_split="test") == ["en/test.jsonl"]
    assert names(root, "de") == ["de/a.jsonl"]
    assert names(root, "fr") == ["fr.jsonl"]


def test_an_unknown_subset_is_refused_with_those_there(folder):
    with pytest.raises(UserError, match="has no subset 'es'") as caught:
        names(folder("en/a.jsonl", "de/a.jsonl", "fr.jsonl"), "es")
    assert "de, en, fr" in caught.value.fix
    with pytest.raises(UserError, match=r"is a file and has no subset 'en'"):
        names(folder("a.jsonl") / "a.jsonl", "en")


def test_a_folder_without_data_is_refused(tmp_path, write):
    write("readme.txt", "nothing here")
    with pytest.raises(UserError, match="holds no data files"):
        names(tmp_path)
    write("state.json.d/data-00000-of-00001.arrow", b"")
    with pytest.raises(UserError, match=r"save_to_disk"):
        names(tmp_path)


@pytest.mark.parametrize("name", ["./none", "/none", "none.jsonl", "a/b/c", "~/none"])
def test_a_path_that_is_not_there_is_refused(name):
    with pytest.raises(UserError, match="does not exist"):
        names(name)


def test_a_path_that_cannot_even_be_looked_at_is_refused(folder, monkeypatch):
    long = "n" * 5000 + ".jsonl"
    for read in (iter_records, read_rows, read_passages):
        with pytest.raises(UserError, match=r"n\.jsonl (cannot be read: File name too long|does not exist)"):
            list(read(Source(long)))
    root = folder("a.jsonl", "sub/b.jsonl")
    real = os.scandir

    def forbidden(path):
        if str(path).endswith("sub"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", forbidden)  # tests may run as root, who may look everywhere
    with pytest.raises(UserError, match="/sub cannot be read: Permission denied"):
        names(root)


def test_source_files_are_those_read(folder):
    root = folder("train.jsonl", "test.jsonl")
    assert source_files(Source(str(root))) == [root / "train.jsonl"]
    with pytest.raises(UserError, match="does not exist"):
        source_files(Source("some/dataset"))


REPOSITORY = """---
license: mit
configs:
- config_name: en
  data_files:
  - split: train
    path: en/train.jsonl
  - split: test
    path: en/test.jsonl
- config_name: de
  data_files: de/*.jsonl
---
# Pairs
"""


@pytest.fixture
def repository(folder, write):
    write("data/README.md", REPOSITORY)
    return folder("en/train.jsonl", "en/test.jsonl", "de/a.jsonl")


def test_a_local_dataset_repository_is_read_by_its_own_configuration(repository):
    assert names(repository, "en") == ["en/train.jsonl"]
    assert names(repository, "en", "test") == names(repository, "en", default_split="test") == ["en/test.jsonl"]
    assert names(repository, "de", default_split="test") == ["de/a.jsonl"]  # its only split


def test_places_in_a_dataset_name_subset_split_and_row(repository):
    record = next(iter_records(Source(str(repository), "en")))
    assert str(record.place) == f"{repository} (en, train):1"


def test_a_dataset_repository_refuses_what_it_does_not_have(repository):
    for subset, split, problem, there in [
        ("fr", None, "no subset 'fr'", "en, de"),
        (None, None, "several subsets", "en, de"),
        ("en", "dev", "no split 'dev'", "train, test"),
    ]:
        with pytest.raises(UserError, match=problem) as caught:
            names(repository, subset, split)
        assert set(there.split(", ")) <= set(caught.value.fix.removeprefix("name one of: ").split(", "))


def test_a_row_that_the_dataset_library_cannot_read_is_an_error_with_its_place(repository, write):
    write("data/de/a.jsonl", line("a") + "{broken\n")
    with pytest.raises(UserError, match=r"de"):
        names(repository, "de")


def test_a_readme_without_configuration_leaves_a_folder_a_folder(folder, write):
    write("data/README.md", "---\nlicense: mit\n---\n# configs: none\n")
    assert names(folder("a.jsonl")) == ["a.jsonl"]


@pytest.mark.parametrize("name", ["nobody/nothing-of-this-name", "nothing-of-this-name"])
def test_a_dataset_out_of_reach_is_an_error_with_a_way_out(name):
    with pytest.raises(UserError, match="cannot be loaded") as caught:
        names(name)
    assert "\n" not in caught.value.problem
    assert "network" in caught.value.fix


def test_a_dataset_loaded_before_is_read_without_network(tmp_path, write, monkeypatch):
    import datasets

    path = write("a.jsonl", line("cached"))
    datasets.load_dataset("json", data_files={"train": str(path)}, cache_dir=str(tmp_path / "made"))
    made = next((tmp_path / "made").rglob("dataset_info.json")).parent
    cached = tmp_path / "cache" / "some___pairs" / "default" / "0.0.0" / "abc"
    shutil.copytree(made, cached)
    info = json.loads((cached / "dataset_info.json").read_text(encoding="utf-8"))
    info |= {"dataset_name": "pairs", "config_name": "default", "version": "0.0.0"}
    (cached / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")
    next(cached.glob("*.arrow")).rename(cached / "pairs-train.arrow")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    assert names("some/pairs", default_split="test") == ["cached"]
