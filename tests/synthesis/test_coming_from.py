"""The commands in docs/coming_from.md for reference systems 000 and 004 do what is said there."""

from __future__ import annotations

import csv
import json
import re
import shlex
import sys
from pathlib import Path

import pytest

from sharprank.cli import ablate, convert, rerank, sample, synthesize

from .conftest import KEY

DOCUMENT = Path(__file__).parents[2] / "docs" / "coming_from.md"
COMMANDS = {name: module.main for name, module in (
    ("ablate", ablate), ("convert", convert), ("rerank", rerank), ("sample", sample), ("synthesize", synthesize)
)}  # fmt: skip


def commands_of(section: str) -> list[list[str]]:
    """The words of every `sharprank` command in the code blocks of a section."""
    text = DOCUMENT.read_text(encoding="utf-8").partition(f"\n## {section}")[2].partition("\n## ")[0]
    lines = [
        line
        for block in re.findall(r"```\n(.*?)```", text, re.DOTALL)
        for line in block.replace("\\\n", " ").splitlines()
    ]
    return [shlex.split(line)[1:] for line in lines if line.startswith("sharprank ")]


def run(words: list[str]) -> int:
    return COMMANDS[words[0]](words[1:])


def lines_of(path: str) -> list[dict]:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def test_000_from_its_csvs_to_scores(tmp_path, monkeypatch, capsys, tiny_bert):
    monkeypatch.chdir(tmp_path)
    texts = ["it's a cat", 'the "red" dog', "a \\x41 fish", "a house"]
    for split in ("train", "validation"):
        with open(f"ms_marco_{split}.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["answers", "passages", "query", "query_id", "query_type", "wellFormedAnswers"])
            for number, text in enumerate(texts):
                selected = [int(other == text) for other in texts] if number < 3 else [0] * 4
                passages = {"is_selected": selected, "passage_text": texts, "url": [""] * 4}
                writer.writerow(["['x']", str(passages), f"where is {text}", number, "", "[]"])
    Path("rerank_model").symlink_to(tiny_bert, target_is_directory=True)
    Path("1.json").write_text(json.dumps({"query": "where is it", "kowndges": texts}))
    for words in commands_of("000"):
        if words[0] == "rerank":  # the tiny model has fewer positions than 512
            words[words.index("--max_length") + 1] = "64"
        assert words[0] == "train" or run(words) == 0, capsys.readouterr().err
    assert [row["pos"] for row in lines_of("train.jsonl")] == [[text] for text in texts[:3]]
    assert lines_of("train.jsonl") == lines_of("valid.jsonl")
    assert json.loads(Path("train.jsonl.stats.json").read_text())["dropped"] == {"no positives": 1}
    printed = capsys.readouterr().out
    assert "dropped    1 no positives" in printed
    scores = json.loads(printed.strip().splitlines()[-1])
    assert len(scores) == 4 and all(0 < score < 1 for score in scores)


def test_004_with_and_without_an_endpoint(tmp_path, monkeypatch, capsys, corpus, endpoint):
    pytest.importorskip("openai", reason="needs the extra `llm`: pip install sharprank[llm]")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
    commands = commands_of("004")
    assert [words[0] for words in commands] == ["sample", "synthesize", "synthesize", "ablate"]
    for words in commands:
        assert run(words) == 0, capsys.readouterr().err
    assert len(lines_of("examples.jsonl")) == 4
    drawn = Path("doc_ids.txt").read_text().split()
    assert [attempt["doc_id"] for attempt in lines_of("examples.jsonl.attempts.jsonl")[1:3]] == drawn[:2]
    assert json.loads(Path("examples.jsonl.summary.json").read_text())["settings"]["lambda1"] == 0.85
    assert list(json.loads(Path("ablation.json").read_text())["results"]) == ["standard", "diverse"]
    rows, pool = lines_of("rows.jsonl"), {record["text"] for record in lines_of("pool.jsonl")}
    assert len(rows) == 12 and len(pool) == 20
    assert all(text in pool for row in rows for text in row["neg"])
    assert "openai" in sys.modules


def test_004_an_old_configuration_file_is_read_as_it_is(tmp_path, monkeypatch, capsys, corpus, endpoint):
    pytest.importorskip("openai", reason="needs the extra `llm`: pip install sharprank[llm]")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    config = tmp_path / "config.yaml"
    config.write_text(
        f"""
retrieval_method: gte
method2index: {{gte: ./indexes/gte.index}}
model2path: {{gte: thenlper/gte-large}}
retrieval_use_fp16: true
gpu_id: "0"
seed: 2025
corpus_path: {corpus}
generation_params: {{max_tokens: 32}}
entity_extractor_model: writer
question_generator_model: judge
openai_setting:
  api_key: {KEY}
  base_url: {endpoint.url}
"""
    )
    out = str(tmp_path / "rows.jsonl")
    words = ["--generator", "llm", "--config", str(config), "--num_examples", "2", "--output_file", out]
    assert run(["synthesize", *words]) == 0
    captured = capsys.readouterr()
    assert "retrieval_method, method2index, model2path" in captured.err
    assert {body["model"] for body in endpoint.bodies} == {"writer", "judge"} and len(lines_of(out)) == 2
    assert all(KEY in headers["authorization"] for headers in endpoint.headers_seen)
    written = "".join(path.read_text() for path in tmp_path.iterdir() if path != config and path.is_file())
    assert KEY not in captured.out + captured.err + written
    assert json.loads((tmp_path / "rows.jsonl.summary.json").read_text())["settings"]["seed"] == 2025
