"""Long passages in windows, against windows that are scored by hand."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest

from sharprank.mining.config import MineConfig
from sharprank.mining.mine import mine
from sharprank.models.bi_encoder import BiEncoder
from sharprank.models.windows import WindowRule
from tests.conftest import WORDS

RULE = WindowRule(overlap=10)


@pytest.fixture(scope="module")
def model(tiny_encoder) -> BiEncoder:
    return BiEncoder.load(str(tiny_encoder), device="cpu")


@pytest.fixture(scope="module")
def texts() -> list[str]:
    draw = random.Random(4)
    return [" ".join(draw.choices(WORDS, k=draw.choice([5, 60, 150, 400]))) for _ in range(40)]


def test_windows_hold_the_whole_text_overlap_and_fit(model, texts):
    for text, windows in zip(texts, model.windows(texts, RULE), strict=True):
        words = text.split()
        assert (
            windows[0].split() == words[: len(windows[0].split())]
            and windows[-1].split() == words[-len(windows[-1].split()) :]
        )
        assert all(len(model.tokenizer(window)["input_ids"]) <= 128 for window in windows)
        if len(words) <= 126:
            assert windows == [text]
        else:
            assert all(left.split()[-10:] == right.split()[:10] for left, right in zip(windows, windows[1:]))  # noqa: RUF007, B905
            assert sum(len(window.split()) for window in windows) == len(words) + 10 * (len(windows) - 1)


def test_a_text_without_words_is_one_window(model):
    assert model.windows(["", "  "], RULE) == [[""], ["  "]]


def test_a_passage_ranks_where_its_best_window_does(model, texts, tiny_encoder, tmp_path):
    queries = [" ".join(random.Random(i).choices(WORDS, k=6)) for i in range(5)]
    rows = [{"query": query, "pos": ["fish"]} for query in queries]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    flags = {
        "input_file": str(tmp_path / "rows.jsonl"), "candidate_pool": str(tmp_path / "pool.jsonl"), "device": "cpu",
        "model_name_or_path": str(tiny_encoder), "range_for_sampling": "0-12", "negative_number": 12,
        "near_duplicate": 2.0, "output_scores": True, "overlap": 10,
    }  # fmt: skip
    split = mine(MineConfig(**flags, output_file=str(tmp_path / "split.jsonl"), long_passages="split"))
    cut = mine(MineConfig(**flags, output_file=str(tmp_path / "cut.jsonl")))
    mined = [json.loads(line) for line in split.output_path.read_text().splitlines()]
    windows = model.windows(texts, RULE)
    vectors = [model.encode(own, kind="passage") for own in windows]
    asked = model.encode(queries, kind="query")
    for row, query_D in zip(mined, asked, strict=True):
        best = np.array([(own @ query_D).max() for own in vectors])
        order = np.argsort(-best)[:12]
        assert row["neg"] == [texts[i] for i in order]
        assert row["neg_similarity"] == pytest.approx(best[order].tolist(), abs=1e-5)
        assert row["neg_rank"] == list(range(1, 13))
    assert split.output_path.read_bytes() != cut.output_path.read_bytes()


def test_a_positive_outside_the_pool_is_split_too(model, texts, tiny_encoder, tmp_path):
    long = next(text for text in texts if len(text.split()) > 300)
    (tmp_path / "rows.jsonl").write_text(json.dumps({"query": "red fish", "pos": [long]}) + "\n")
    pool = [{"text": text} for text in texts if text != long]
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pool))
    config = MineConfig(
        input_file=str(tmp_path / "rows.jsonl"), output_file=str(tmp_path / "out.jsonl"), device="cpu",
        candidate_pool=str(tmp_path / "pool.jsonl"), model_name_or_path=str(tiny_encoder), range_for_sampling="0-10",
        negative_number=5, output_scores=True, long_passages="split", overlap=10,
    )  # fmt: skip
    record = json.loads(mine(config).output_path.read_text())
    best = (
        model.encode(model.windows([long], RULE)[0], kind="passage") @ model.encode(["red fish"], kind="query")[0]
    ).max()
    assert record["pos_similarity"] == [pytest.approx(float(best), abs=1e-5)]
