"""An output appears under its name whole, or not at all; what stood there before stays until then."""

from __future__ import annotations

import datetime
import decimal
import errno
import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharprank.errors import UserError
from sharprank.formats.sources import Source, data_files, iter_records
from sharprank.formats.writers import (
    atomic_open,
    atomic_path,
    check_apart,
    check_writable,
    json_line,
    refuse_other_settings,
    write_json,
    write_jsonl,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = (
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT
)
ROWS = st.lists(st.dictionaries(TEXT, VALUES | st.lists(VALUES, max_size=3), min_size=1, max_size=4), min_size=1)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- which files ----------------------------------------------------------------------------------------------------


def test_one_file_is_recognised_by_whatever_path_or_link_names_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("link.jsonl").symlink_to("a.jsonl")
    outputs = {"output_file": "a.jsonl", "report": None, "summary": str(tmp_path / "b.jsonl")}
    check_apart(outputs, [("--input_file", "c.jsonl"), ("--run", None)])
    with pytest.raises(UserError, match="--output_file and --pool are both link.jsonl"):
        check_apart({**outputs, "pool": "link.jsonl"}, [])
    with pytest.raises(UserError, match="--summary .*b.jsonl is also --input_file"):
        check_apart(outputs, [("--input_file", "x/../b.jsonl")])
    with pytest.raises(UserError, match="--output_file a.jsonl is also the run ~/a.jsonl"):
        monkeypatch.setenv("HOME", str(tmp_path))
        check_apart(outputs, [("the run ~/a.jsonl", "~/a.jsonl")])
    with pytest.raises(UserError, match="--output_file a.jsonl lies in --input_file"):
        check_apart(outputs, [("--input_file", str(tmp_path))])


# --- whole or not at all ---------------------------------------------------------------------------------------------


def test_nothing_is_visible_until_the_block_ends(tmp_path):
    target = tmp_path / "out.jsonl"
    with atomic_open(target) as file:
        file.write("half")
        file.flush()
        assert not target.exists()
        assert data_files(tmp_path) == []
    assert target.read_text() == "half"
    assert names(tmp_path) == ["out.jsonl"]


@pytest.mark.parametrize("failure", [ValueError("a bug"), KeyboardInterrupt(), UserError("a bad row", fix="mend it")])
def test_a_failure_leaves_the_old_file_and_no_other(tmp_path, failure):
    target = tmp_path / "out.jsonl"
    target.write_text("old")
    with pytest.raises(type(failure)):
        with atomic_open(target) as file:
            file.write("new")
            raise failure
    assert target.read_text() == "old"
    assert names(tmp_path) == ["out.jsonl"]


def test_a_failing_row_leaves_the_old_file(tmp_path):
    target = tmp_path / "out.jsonl"
    target.write_text("old")

    def rows():
        yield {"query": "a"}
        raise UserError("row 2 is bad", fix="mend it")

    with pytest.raises(UserError):
        write_jsonl(target, rows())
    assert target.read_text() == "old"


def test_a_killed_writer_leaves_the_old_file_and_nothing_that_a_reader_takes(tmp_path):
    target = tmp_path / "out.jsonl"
    target.write_text('{"query": "old"}\n')
    program = (
        "import os, signal, sys\n"
        "from sharprank.formats.writers import atomic_open\n"
        "with atomic_open(sys.argv[1]) as file:\n"
        "    file.write('new' * 10000)\n"
        "    file.flush()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", program, str(target)], check=False).returncode != 0
    assert [dict(record.fields) for record in iter_records(Source(str(tmp_path)))] == [{"query": "old"}]
    left_over = [name for name in names(tmp_path) if name != "out.jsonl"]
    assert all(name.startswith(".") and name.endswith(".partial") for name in left_over)
    with atomic_open(target) as file:
        file.write("new")
    assert target.read_text() == "new"


class FullDisk:
    """A file that takes a few bytes and then says what a full disk says."""

    def __init__(self, file):
        self._file = file

    def write(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    def __getattr__(self, name):
        return getattr(self._file, name)


def test_a_full_disk_is_said_and_leaves_the_old_file(tmp_path):
    target = tmp_path / "out.jsonl"
    target.write_text("old")
    with pytest.raises(UserError) as caught:
        with atomic_open(target, "wb") as file:
            FullDisk(file).write(b"new")
    assert caught.value.problem == f"cannot write {target}: No space left on device"
    assert caught.value.fix == "name an output in a folder with room and write access"
    assert target.read_text() == "old"
    assert names(tmp_path) == ["out.jsonl"]


def test_a_disk_that_is_full_only_when_flushed_is_said_as_well(tmp_path, monkeypatch):
    def no_room(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_room)
    with pytest.raises(UserError, match="No space left on device"):
        write_jsonl(tmp_path / "out.jsonl", [{"query": "a"}])
    assert names(tmp_path) == []


def test_an_error_that_is_not_the_disks_keeps_its_traceback(tmp_path):
    with pytest.raises(ConnectionResetError):
        with atomic_open(tmp_path / "out.jsonl"):
            raise ConnectionResetError(errno.ECONNRESET, "reset by peer")


def test_a_link_stays_a_link_and_what_it_points_to_is_replaced(tmp_path):
    (tmp_path / "store").mkdir()
    real, link = tmp_path / "store" / "real.txt", tmp_path / "link.txt"
    real.write_text("old")
    link.symlink_to(real)
    with atomic_open(link) as file:
        file.write("new")
    assert link.is_symlink()
    assert real.read_text() == "new"


def test_missing_folders_are_made_and_long_names_are_no_trouble(tmp_path):
    target = tmp_path / "a" / "b" / ("n" * 250)
    with atomic_path(target) as temporary:
        temporary.write_text("x")
    assert target.read_text() == "x"


def test_a_new_file_has_the_rights_of_any_new_file(tmp_path):
    with atomic_open(tmp_path / "ours"):
        pass
    (tmp_path / "plain").touch()
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


# --- what is written -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.gz", "OUT.JSONL.GZ"])
@given(rows=ROWS)
def test_rows_survive_writing_and_reading(tmp_path_factory, name, rows):
    path = tmp_path_factory.mktemp("out") / name
    assert write_jsonl(path, rows) == len(rows)
    assert [dict(record.fields) for record in iter_records(Source(str(path)))] == rows


@given(data=st.dictionaries(TEXT, VALUES))
def test_a_json_document_survives(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("out") / "a.json"
    write_json(path, data)
    assert json.loads(path.read_bytes()) == data


def test_texts_are_written_as_they_are_one_row_a_line(tmp_path):
    write_jsonl(tmp_path / "a.jsonl", [{"query": "çé 中文 😀"}, {"query": "two\nlines\u2028three"}])
    assert (tmp_path / "a.jsonl").read_bytes().decode() == (
        '{"query": "çé 中文 😀"}\n{"query": "two\\nlines\u2028three"}\n'
    )


def test_the_same_rows_give_the_same_compressed_bytes_under_any_name_and_at_any_time(tmp_path, monkeypatch):
    rows = [{"query": "a"}] * 100
    write_jsonl(tmp_path / "one.jsonl.gz", rows)
    monkeypatch.setattr("time.time", lambda: 2_000_000_000.0)
    write_jsonl(tmp_path / "two.jsonl.gz", rows)
    first, second = (tmp_path / "one.jsonl.gz").read_bytes(), (tmp_path / "two.jsonl.gz").read_bytes()
    assert first == second
    assert gzip.decompress(first).count(b"\n") == 100


def test_bytes_are_written_as_bytes(tmp_path):
    with atomic_open(tmp_path / "a.bin", "wb") as file:
        file.write(b"\xff\r\n")
    assert (tmp_path / "a.bin").read_bytes() == b"\xff\r\n"


def test_what_json_lacks_becomes_what_it_has(tmp_path):
    data = {
        "array": np.arange(2),
        "number": np.float32(0.5),
        "nan": float("nan"),
        "infinities": [float("inf"), np.float64("-inf")],
        "path": Path("a/b"),
        "day": datetime.date(2024, 2, 29),
        "price": decimal.Decimal("1.10"),
        "set": {"b", "a"},
    }
    write_json(tmp_path / "a.json", data)
    assert json.loads((tmp_path / "a.json").read_text()) == {
        "array": [0, 1], "number": 0.5, "nan": None, "infinities": [None, None], "path": "a/b", "day": "2024-02-29",
        "price": "1.10", "set": ["a", "b"],
    }  # fmt: skip


def test_bytes_in_a_row_are_refused_and_other_objects_are_a_bug():
    with pytest.raises(UserError, match="bytes, which JSON cannot hold"):
        json_line({"image": b"\x89PNG"})
    with pytest.raises(TypeError, match="object"):
        json_line({"what": object()})


# --- outputs that cannot be written ----------------------------------------------------------------------------------


def test_an_output_that_can_be_written_is_accepted_and_left_alone(tmp_path):
    target = tmp_path / "new" / "out.jsonl"
    check_writable(target)
    assert names(target.parent) == []
    target.write_text("old")
    check_writable(target)
    assert target.read_text() == "old"


def test_an_output_below_a_file_is_refused_by_its_flag(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError) as caught:
        check_writable(tmp_path / "file" / "out.jsonl", flag="--output_run")
    assert caught.value.problem.startswith(f"--output_run {tmp_path}/file/out.jsonl cannot be written: ")
    assert caught.value.fix == "name a file in a folder you can write to"
    with pytest.raises(UserError, match="cannot write"):
        write_json(tmp_path / "file" / "out.json", {})


def test_an_output_without_permission_is_refused(tmp_path, monkeypatch):
    def forbidden(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", forbidden)  # tests may run as root, whom nothing is forbidden
    with pytest.raises(UserError, match="out.jsonl cannot be written: Permission denied"):
        check_writable(tmp_path / "out.jsonl")


def test_a_folder_or_a_device_is_no_output(tmp_path):
    with pytest.raises(UserError) as caught:
        check_writable(tmp_path)
    assert (caught.value.problem, caught.value.fix) == (f"--output_file {tmp_path} is a folder", "name a file")
    with pytest.raises(UserError, match="is a folder"):
        write_jsonl(tmp_path, [])
    with pytest.raises(UserError, match="is a device or a pipe"):
        check_writable(os.devnull)


# --- outputs that exist ----------------------------------------------------------------------------------------------


@pytest.fixture
def output(tmp_path):
    path = tmp_path / "out.jsonl"
    path.write_text("rows")
    write_json(f"{path}.stats.json", {"settings": {"seed": 1, "window": (2, 200), "model": None}})
    return path


def test_an_output_of_the_same_settings_is_done(output):
    assert refuse_other_settings(output, {"seed": 1, "window": (2, 200), "model": None}) == "done"
    assert refuse_other_settings(output.with_name("other.jsonl"), {"seed": 1}) == "new"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"seed": 2, "window": (2, 200), "model": None}, "seed 1, not 2"),
        ({"seed": 1, "window": (2, 100), "model": None}, "window [2, 200], not [2, 100]"),
        ({"seed": 1, "window": (2, 200)}, "model null, not (not set)"),
        ({"seed": 1, "window": (2, 200), "model": None, "top_up": "é"}, 'top_up (not set), not "é"'),
    ],
)
def test_an_output_of_other_settings_is_refused_naming_the_setting(output, settings, told):
    with pytest.raises(UserError) as caught:
        refuse_other_settings(output, settings)
    assert caught.value.problem == f"{output} exists and was made with {told}"
    assert caught.value.fix == "name another output, set it as it was, or pass --overwrite True"
    assert refuse_other_settings(output, settings, overwrite=True) == "new"


@pytest.mark.parametrize("manifest", [None, "", "no json", "[]", '{"settings": 3}', "[" * 100_000, b"\xff\xfe\x00"])
def test_an_output_that_does_not_say_how_it_was_made_is_refused(output, manifest):
    beside = Path(f"{output}.stats.json")
    if manifest is None:
        beside.unlink()
    else:
        beside.write_bytes(manifest if isinstance(manifest, bytes) else manifest.encode())
    with pytest.raises(UserError) as caught:
        refuse_other_settings(output, {"seed": 1})
    assert caught.value.problem == f"{output} exists, and no {beside.name} beside it says how it was made"
    assert caught.value.fix == "name another output, or pass --overwrite True"


def test_settings_may_stand_in_another_file(output, tmp_path):
    write_json(tmp_path / "about.json", {"settings": {"seed": 5}})
    assert refuse_other_settings(output, {"seed": 5}, manifest_path=tmp_path / "about.json") == "done"
