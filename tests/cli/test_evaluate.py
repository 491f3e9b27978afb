"""`sharprank evaluate` as a command: its flags, stdout and stderr, exit codes, and the door."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sharprank.cli.evaluate import main

REPOSITORY = Path(__file__).parents[2]
ROWS = [
    {"query": "red apple", "pos": ["a red apple"], "neg": ["blue fish", "house"]},
    {"query": "fast dog", "pos": ["a fast dog"], "neg": ["slow cat"]},
]


@pytest.fixture
def rows_folder(tmp_path):
    (tmp_path / "data" / "part").mkdir(parents=True)
    for name, row in zip(("a.jsonl", "b.jsonl"), ROWS, strict=True):
        (tmp_path / "data" / "part" / name).write_text(json.dumps(row) + "\n")
    return tmp_path / "data"


def test_rows_print_the_four_lines_first_and_nothing_else_above(rows_folder, tiny_bert, capsys):
    assert main(["-m", str(tiny_bert), "-d", str(rows_folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in lines[:4]] == ["precision", "recall", "f1", "auc"]
    assert all(0 <= float(line.split(": ")[1]) <= 1 for line in lines[:4])
    table = {line.split()[0] for line in lines[5:]}
    assert {"nDCG@10", "MRR@10", "MAP", "Hit@1", "PairAccuracy"} <= table


def test_a_file_a_folder_and_a_subset_are_all_read(rows_folder, tiny_bert, capsys):
    counts = []
    for arguments in (["-d", str(rows_folder / "part" / "a.jsonl")], ["-d", str(rows_folder)],
                      ["-d", str(rows_folder), "-sd", "part"]):  # fmt: skip
        assert main(["-m", str(tiny_bert), *arguments, "--output_format", "json"]) == 0
        counts.append(json.loads(capsys.readouterr().out)["data"]["counts"]["rows"])
    assert counts == [1, 2, 2]


def test_an_unknown_subset_is_named_with_those_there(rows_folder, tiny_bert, capsys):
    assert main(["-m", str(tiny_bert), "-d", str(rows_folder), "-sd", "nope"]) == 2
    err = capsys.readouterr().err
    assert "nope" in err and "part" in err and "fix:" in err


def test_mistakes_exit_with_2_and_a_fix(rows_folder, tiny_bert, capsys):
    for arguments in (["-d", "x"], ["-m", "no/such/model", "-d", str(rows_folder)],
                      ["-m", str(tiny_bert), "-d", str(rows_folder), "--depth", "0"]):  # fmt: skip
        assert main(arguments) == 2
        captured = capsys.readouterr()
        assert "error:" in captured.err and "fix:" in captured.err and not captured.out


def test_several_models_and_measures_are_taken(rows_folder, tiny_bert, tiny_modernbert, capsys):
    arguments = ["-m", str(tiny_bert), str(tiny_modernbert), "-d", str(rows_folder), "--measures", "MRR", "P@1"]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert out.count("precision:") == 2 and out.count("MRR ") == 2 and "MAP" not in out


def test_the_door_runs_from_its_own_folder(rows_folder, tiny_bert):
    done = subprocess.run(
        [sys.executable, "eval.py", "-m", str(tiny_bert), "-d", str(rows_folder), "-sd", "part"],
        cwd=REPOSITORY / "reranker",
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("precision: ")


def test_help_loads_no_torch():
    code = (
        "import sys\nfrom sharprank.cli.evaluate import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "assert not {'torch', 'faiss', 'datasets', 'bm25s'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--output_run" in done.stdout
