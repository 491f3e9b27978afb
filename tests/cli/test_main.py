"""The console command: it finds its sub-commands, and help comes up without torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sharprank import __version__
from sharprank.cli.main import COMMANDS, main

WITHOUT_TORCH = sorted(set(COMMANDS) - {"train"})


def python(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *words], capture_output=True, text=True)


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_without_a_command_it_lists_the_commands(capsys, words):
    assert main(words) == 0
    text = capsys.readouterr().out
    assert all(f"\n  {name} " in text for name in COMMANDS)


def test_the_version_is_the_packages(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"sharprank {__version__}\n"


def test_an_unknown_command_is_named_with_those_there_are(capsys):
    assert main(["mne"]) == 2
    text = capsys.readouterr().err
    assert "no command 'mne'" in text and "mine" in text


def test_python_m_sharprank_is_the_console_command():
    assert python("-m", "sharprank", "--version").stdout == f"sharprank {__version__}\n"


def test_importing_sharprank_loads_no_torch_and_no_transformers():
    code = "import sharprank, sys; assert not {'torch', 'transformers', 'datasets', 'faiss'} & set(sys.modules)"
    process = python("-c", code)
    assert process.returncode == 0, process.stderr


@pytest.mark.parametrize("command", WITHOUT_TORCH)
def test_help_comes_up_without_torch(command):
    code = (
        "import sys\n"
        "from sharprank.cli.main import main\n"
        "try:\n"
        f"    code = main(['{command}', '--help'])\n"
        "except SystemExit as stop:\n"
        "    code = stop.code\n"
        "loaded = {'torch', 'datasets', 'faiss', 'FlagEmbedding', 'sentence_transformers'} & set(sys.modules)\n"
        "raise SystemExit(code or ', '.join(loaded) or None)\n"
    )
    process = python("-c", code)
    assert process.returncode == 0, process.stderr
    assert f"sharprank {command}" in process.stdout


def test_train_has_help_too():
    process = python("-m", "sharprank", "train", "--help")
    assert process.returncode == 0 and "--train_group_size" in process.stdout and "--fsdp" in process.stdout
