"""The floors: imports point down only, heavy libraries stay on the floors that own them, files stay small."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src" / "sharprank").rglob("*.py"))
BIN = Path(sys.executable).parent

SIGNATURES_GIVEN_BY_TRANSFORMERS = {"packed_attention"}

needs_linter = pytest.mark.skipif(not (BIN / "lint-imports").exists(), reason="needs the extra `dev` (import-linter)")
needs_ruff = pytest.mark.skipif(not (BIN / "ruff").exists(), reason="needs the extra `dev` (ruff)")


def lint_imports(folder: Path) -> subprocess.CompletedProcess:
    words = [str(BIN / "lint-imports"), "--config", str(folder / "pyproject.toml"), "--no-cache"]
    environment = {"PYTHONPATH": str(folder / "src"), "PATH": str(BIN)}
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, env=environment)


@needs_linter
def test_imports_point_down_only():
    process = lint_imports(ROOT)
    assert process.returncode == 0, process.stdout


@needs_linter
@pytest.mark.parametrize(
    ("lower", "upper"),
    [("formats/new.py", "models.scoring"), ("mining/new.py", "training.train"), ("models/new.py", "cli.main")],
)
def test_an_import_that_points_up_or_sideways_is_caught(tmp_path, lower, upper):
    shutil.copytree(ROOT / "src", tmp_path / "src")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "src" / "sharprank" / lower).write_text(f"import sharprank.{upper}\n")
    process = lint_imports(tmp_path)
    assert process.returncode != 0 and "BROKEN" in process.stdout


@needs_ruff
@pytest.mark.parametrize("library", ["torch", "transformers", "faiss", "datasets"])
@pytest.mark.parametrize("floor", ["formats", "metrics", "mining", "evaluation", "cli", "retrieval"])
def test_heavy_libraries_are_refused_at_the_top_of_a_file_of_other_floors(floor, library):
    words = [str(BIN / "ruff"), "check", "--stdin-filename", f"src/sharprank/{floor}/new.py", "--select", "TID253", "-"]
    process = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, input=f"import {library}\n")
    assert "TID253" in process.stdout


@pytest.mark.parametrize("path", SOURCES, ids=[str(path.relative_to(ROOT)) for path in SOURCES])
def test_a_file_opens_with_what_it_is_and_stays_small(path):
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    if tree.body:
        assert ast.get_docstring(tree), "a module docstring says what the file is"
    assert _num_code_lines(text) < 300
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            body = text.splitlines()[node.body[0].lineno - 1 : node.end_lineno]
            assert _num_code_lines("\n".join(body)) <= 60, node.name
            if node.name not in SIGNATURES_GIVEN_BY_TRANSFORMERS:
                assert _num_positional(node.args) <= 5, f"{node.name}: at most 5 positional parameters"


def _num_positional(arguments: ast.arguments) -> int:
    return sum(argument.arg not in ("self", "cls") for argument in (*arguments.posonlyargs, *arguments.args))


def _num_code_lines(text: str) -> int:
    return sum(bool(line.strip()) and not line.strip().startswith("#") for line in text.splitlines())
