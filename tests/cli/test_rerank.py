"""`sharprank rerank` as a command: 000's flags, pipes, exit codes."""

from __future__ import annotations

import ast
import json
import subprocess
import sys

import pytest

from sharprank import Reranker
from sharprank.cli.rerank import main

PASSAGES = ["a cat is not a dog", "the tree and the river", "open the file, read it"]


@pytest.fixture
def request_path(tmp_path):
    path = tmp_path / "1.json"
    path.write_text(json.dumps({"query": "what is a cat", "kowndges": PASSAGES}))
    return path


def test_the_flags_of_000_print_one_list_in_input_order(request_path, tiny_bert, capsys):
    words = ["--model_dir", str(tiny_bert), "--data_path", str(request_path), "--max_length", "64", "--device", "cpu"]
    assert main(words) == 0
    scores = ast.literal_eval(capsys.readouterr().out)
    pairs = [("what is a cat", passage) for passage in PASSAGES]
    expected = Reranker.from_pretrained(str(tiny_bert), max_length=64, device="cpu").compute_score(
        pairs, normalize=True
    )
    assert scores == pytest.approx(expected, abs=1e-6)


def test_a_machine_without_cuda_uses_the_cpu_and_says_so(request_path, tiny_bert, capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert main(["--model_dir", str(tiny_bert), "--data_path", str(request_path), "--device", "cuda"]) == 0
    captured = capsys.readouterr()
    assert "using the CPU" in captured.err and len(ast.literal_eval(captured.out)) == 3


def test_split_reads_what_cut_leaves_out(tmp_path, tiny_bert, capsys):
    ranked = Reranker.from_pretrained(str(tiny_bert), device="cpu").rank("what is a cat", [p * 30 for p in PASSAGES])
    worst_first = f"{ranked[-1].passage} {ranked[0].passage}"
    path = tmp_path / "1.json"
    path.write_text(json.dumps({"query": "what is a cat", "documents": [worst_first, "a dog"]}))
    lists = []
    for how in ("cut", "split"):
        assert main(["-m", str(tiny_bert), "-d", str(path), "--long_passages", how, "--scores", "raw"]) == 0
        lists.append(json.loads(capsys.readouterr().out))
    assert lists[1][0] > lists[0][0] + 0.01 and lists[1][1] == pytest.approx(lists[0][1], abs=1e-6)


def test_it_stands_in_a_pipe(tiny_bert):
    rows = [{"query": "what is a cat", "documents": PASSAGES}, {"query": "tree", "documents": PASSAGES}]
    process = subprocess.run(
        [sys.executable, "-m", "sharprank", "rerank", "-m", str(tiny_bert), "-d", "-", "--top_k", "1"],
        input="".join(json.dumps(row) + "\n" for row in rows), capture_output=True, text=True,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    lines = [json.loads(line) for line in process.stdout.splitlines()]
    assert [len(line["ranking"]) for line in lines] == [1, 1]


@pytest.mark.parametrize(
    "words", [["-d", "no/such.json"], ["--max_length", "100000"], ["-m", "no/such/model"], ["--device", "abacus"]]
)
def test_mistakes_exit_with_2_and_a_fix_and_print_nothing(request_path, tiny_bert, capsys, words):
    assert main(["-m", str(tiny_bert), "-d", str(request_path), *words]) == 2
    captured = capsys.readouterr()
    assert "fix:" in captured.err and not captured.out
