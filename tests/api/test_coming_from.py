"""The snippets in docs/coming_from.md for reference systems 001 and 002 run as they stand, on tiny models."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from sharprank.models.scoring import PairScorer
from tests.training.conftest import make_rows, write_rows

DOCUMENT = Path(__file__).parents[2] / "docs" / "coming_from.md"


def snippets_of(section: str) -> list[str]:
    text = DOCUMENT.read_text(encoding="utf-8").partition(f"\n## {section}")[2].partition("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def run(snippet: str, **names: object) -> dict[str, object]:
    """Execute a snippet with the models it names replaced; everything else stays as it is printed."""
    for name, path in names.items():
        assert name.replace("__", "/").replace("_", "-") in snippet
        snippet = snippet.replace(name.replace("__", "/").replace("_", "-"), str(path))
    space: dict[str, object] = {}
    exec(compile(snippet, "docs/coming_from.md", "exec"), space)
    return space


@pytest.fixture
def quiet():
    level = transformers.logging.get_verbosity()
    yield
    transformers.logging.set_verbosity(level)


@pytest.fixture
def deberta(tmp_path, tiny_tokenizer) -> Path:
    config = transformers.DebertaV2Config(
        vocab_size=len(tiny_tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=128, type_vocab_size=0, initializer_range=0.2,
        relative_attention=True, pos_att_type=["p2c", "c2p"],
    )  # fmt: skip
    folder = tmp_path / "deberta"
    transformers.DebertaV2Model(config).save_pretrained(folder)
    tiny_tokenizer.save_pretrained(folder)
    return folder


def test_001_trains_with_its_own_optimizer_and_schedule(tmp_path, monkeypatch, deberta, quiet):
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "t2rank.json", make_rows(20, seed=1))
    space = run(snippets_of("001")[0], microsoft__deberta_v3_base=deberta)
    trainer, scheduler = space["trainer"], space["scheduler"]
    assert trainer.state.global_step == 30 == space["num_train_steps"]
    assert scheduler.last_epoch == 30 and trainer.lr_scheduler is scheduler
    rates = {e["step"]: e["learning_rate"] for e in trainer.state.log_history if "learning_rate" in e}
    assert all(rate < 1e-9 for step, rate in rates.items() if step == 30)
    stepped = {id(p) for group in space["optimizer"].param_groups for p in group["params"]}
    assert stepped == {id(p) for p in space["model"].parameters()} and len(space["optimizer"].state) == len(stepped)
    scores = PairScorer.load("checkpoints/checkpoint-30", device="cpu").score([("what is 1", "cat dog")])
    found = space["model"].compute_score(["what is 1", "cat dog"])
    assert isinstance(found, float) and found == pytest.approx(float(scores[0]), abs=1e-5)


def test_001_scores_and_reranks(tiny_bert, capsys):
    space = run(snippets_of("001")[1], BAAI__bge_reranker_base=tiny_bert)
    assert isinstance(space["scores_list"], float)
    assert set(space["ranked"]) == {"rerank_document", "rerank_scores", "rerank_ids"}
    assert space["ranked"]["rerank_scores"] == sorted(space["ranked"]["rerank_scores"], reverse=True)


def test_002_gives_raw_scores_that_torch_turns_into_probabilities(tiny_bert, tmp_path, capsys):
    space = run(snippets_of("002")[0].replace("./bge-reranker-m3-base", str(tiny_bert)))
    pairs = [tuple(pair) for pair in space["input_lst"]]
    expected = PairScorer.load(str(tiny_bert), device="cpu").score(pairs)
    assert [score.shape for score in space["res"]] == [torch.Size([1])] * 2
    np.testing.assert_allclose(torch.cat(space["res"]), expected, atol=1e-6)
    assert capsys.readouterr().out.count("tensor([0.") == 2


def test_the_files_that_002_launches_with_are_there():
    section = DOCUMENT.read_text(encoding="utf-8").partition("\n## 002")[2].partition("\n## ")[0]
    (now,) = re.findall(r"--config_file (configs/\S+\.yaml)", section)
    assert (DOCUMENT.parents[1] / now).is_file()
    for name in re.findall(r"`(\w+\.yaml)`", section):
        assert (DOCUMENT.parents[1] / "configs" / name).is_file()
