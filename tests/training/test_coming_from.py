"""The training commands in docs/coming_from.md run as they stand, on tiny models and tiny data."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
from pathlib import Path

import pytest

from sharprank.cli.train import main
from tests.training.conftest import make_rows, write_rows
from tests.training.test_forms import graded_lists, pairs_of

DOCUMENT = Path(__file__).parents[2] / "docs" / "coming_from.md"


def section(number: str) -> str:
    return DOCUMENT.read_text(encoding="utf-8").partition(f"\n## {number}")[2].partition("\n## ")[0]


def commands_of(number: str, block: str = "sh", start: str = "sharprank train ") -> list[list[str]]:
    """The words after `sharprank train` of every such command in a section's blocks."""
    text = "\n".join(re.findall(rf"^```{block}\n(.*?)^```", section(number), re.DOTALL | re.MULTILINE))
    lines = text.replace("\\\n", " ").splitlines()
    return [shlex.split(line.partition(start)[2]) for line in lines if start in line]


def on(model: Path, words: list[str]) -> list[str]:
    """The words with a tiny model in the place of the named one, which has fewer positions."""
    words = list(words)
    for flag in ("--model_name_or_path", "--model_path"):
        if flag in words:
            words[words.index(flag) + 1] = str(model)
    if "--max_len" in words:
        words[words.index("--max_len") + 1] = "64"
    return [*words, "--use_cpu"]


def settings_of(folder: str) -> dict:
    return json.loads((Path(folder) / "training.json").read_text())["settings"]


def test_000s_yaml_trains(tmp_path, monkeypatch, capsys, tiny_bert):
    monkeypatch.chdir(tmp_path)
    (text,) = re.findall(r"```yaml\n(.*?)```", section("000"), re.DOTALL)
    text = text.replace("BAAI/bge-reranker-base", str(tiny_bert)).replace(
        "max_padding_length: 512", "max_padding_length: 64"
    )
    Path("rerank.yml").write_text(text)
    for seed, name in enumerate(("train", "valid", "test")):
        write_rows(tmp_path / f"{name}.jsonl", make_rows(6, seed=seed))
    (words,) = commands_of("000")
    assert main(words) == 0, capsys.readouterr().err
    settings = settings_of("saved_model")
    assert settings["learning_rate"] == 2e-5 and settings["lr_scheduler_type"] == "reduce_lr_on_plateau"
    assert "test nDCG@10: " in capsys.readouterr().out


def test_002s_two_formats_train(tmp_path, monkeypatch, capsys, tiny_bert):
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "t2rank_100.jsonl", make_rows(10, seed=1))
    pairs = pairs_of([{**row, "scores": [label + 1 for label in row["scores"]]} for row in graded_lists(10, seed=1)])
    Path("graded.tsv").write_text("".join(f"{p['query']}\t{p['doc']}\t{p['label']}\n" for p in pairs))
    binary, graded = commands_of("002")
    assert main(on(tiny_bert, binary)) == 0, capsys.readouterr().err
    settings = settings_of("out_binary")
    assert (settings["loss"], settings["lr_scheduler_type"], settings["learning_rate"]) == ("bce", "cosine", 5e-5)
    assert settings["seed"] == 666 and len(list(Path("out_binary").glob("checkpoint-*"))) == 2
    capsys.readouterr()
    assert main(on(tiny_bert, graded)) == 0, capsys.readouterr().err
    assert settings_of("out_graded")["loss"] == "mse"
    assert "3 (1): " in (said := capsys.readouterr().err) and "1 (0.5): " in said


def test_003s_command_trains(tmp_path, monkeypatch, capsys, tiny_bert):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reranker").mkdir()
    (tmp_path / "embedding").mkdir()
    write_rows(tmp_path / "embedding" / "mined.jsonl", make_rows(17, seed=1))
    monkeypatch.chdir(tmp_path / "reranker")
    (words,) = commands_of("003", block="", start="run.py ")
    assert main(on(tiny_bert, words)) == 0, capsys.readouterr().err
    settings = settings_of("rerank_output")
    assert settings["train_group_size"] == 4 and settings["weight_decay"] == 0.01
    assert (
        json.loads(Path("rerank_output/trainer_state.json").read_text())["max_steps"] == 10
    )  # 5 x 2, the rest dropped


def test_004s_flags_train(tmp_path, monkeypatch, capsys, tiny_bert):
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "examples.jsonl", make_rows(6, seed=1))
    (words,) = commands_of("004")
    if importlib.util.find_spec("deepspeed") is None:
        assert main(on(tiny_bert, words)) == 2 and "deepspeed" in capsys.readouterr().err
        at = words.index("--ds_config")
        words = [*words[:at], *words[at + 2 :]]
    assert main(on(tiny_bert, words)) == 0, capsys.readouterr().err
    assert settings_of("output")["learning_rate"] == 5e-6 and settings_of("output")["num_train_epochs"] == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--loss_type", "rank"], "--loss_type 'rank' is unknown"),
        (["--mixed_precision=int8"], "--mixed_precision 'int8' is unknown"),
        (["--save_on_epoch_end", "2"], "--save_on_epoch_end '2'"),
    ],
)
def test_values_that_those_trainers_never_had_are_refused(words, message, capsys):
    assert main(["-m", "x", "--train_data", "y", *words]) == 2
    assert message in capsys.readouterr().err
