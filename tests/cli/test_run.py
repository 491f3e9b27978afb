"""`sharprank run`: the main job from pairs and a pool to a reranker and its report."""

from __future__ import annotations

import json
import re

import pytest

from sharprank.cli.run import main


@pytest.fixture
def words(world, tiny_bert, tiny_encoder):
    return [
        "--train_data", str(world / "pairs.jsonl"), "--candidate_pool", str(world / "pool.jsonl"),
        "--output_dir", str(world / "out"), "--model_name_or_path", str(tiny_bert),
        "--embedder_name_or_path", str(tiny_encoder), "--range_for_sampling", "1-20", "--negative_number", "5",
        "--max_steps", "3", "--max_len", "64", "--depth", "10", "--device", "cpu",
    ]  # fmt: skip


def test_it_mines_trains_evaluates_and_prints_first_stage_untrained_trained(words, world, capsys):
    assert main(words) == 0
    captured = capsys.readouterr()
    assert re.search(
        r"measure +first stage +untrained +trained +gain +p +fused +gain +95% interval +p +verdict", captured.out
    )
    for measure in ("nDCG@10", "MRR@10", "MAP", "Hit@1"):
        assert re.search(rf"^{re.escape(measure)} +0\.\d+ +0\.\d+ +[01]\.\d+ +[+-]\d", captured.out, re.MULTILINE)
    assert "7 judged queries" in captured.out and f"reranker: {world / 'out' / 'reranker'}" in captured.out
    assert re.search(r"^use: .*validation nDCG@10: first stage [01]\.\d+", captured.out, re.MULTILINE)
    fusion = json.loads((world / "out" / "fusion.json").read_text())
    assert fusion["by_weight"][f"{fusion['weight']:g}"] == max(fusion["by_weight"].values())
    for name in (
        "data/train.jsonl",
        "mined.jsonl",
        "mined.jsonl.stats.json",
        "dense.trec",
        "report.txt",
        "trained.json",
    ):
        assert (world / "out" / name).is_file(), name
    assert (world / "out" / "reranker" / "model.safetensors").is_file()


def test_a_second_run_does_nothing_again_and_prints_the_same(words, world, capsys):
    assert main(words) == 0
    first = capsys.readouterr().out
    before = {path: path.stat().st_mtime_ns for path in (world / "out").rglob("*") if path.is_file()}
    assert main(words) == 0
    assert capsys.readouterr().out == first
    after = {path: path.stat().st_mtime_ns for path in (world / "out").rglob("*") if path.is_file()}
    assert after == before


def test_a_stage_that_is_missing_is_done_again_and_only_what_follows_it(words, world, capsys):
    assert main(words) == 0
    first = capsys.readouterr().out
    mined = (world / "out" / "mined.jsonl").stat().st_mtime_ns
    (world / "out" / "report.txt").unlink()
    (world / "out" / "dense.trec").unlink()
    assert main(words) == 0
    assert capsys.readouterr().out == first
    assert (world / "out" / "mined.jsonl").stat().st_mtime_ns == mined


def test_passages_are_embedded_once_for_mining_and_searching(words, world):
    assert main(words) == 0
    entries = (world / "out" / "embeddings").glob("embeddings-*")
    shards = {
        json.loads((entry / "about.json").read_text())["kind"]: len(list(entry.rglob("*.npy"))) for entry in entries
    }
    assert shards == {"passage": 1, "query": 1}


def test_bm25_can_be_the_first_stage(words, world, capsys):
    assert main([*words, "--first_stage", "bm25"]) == 0
    assert "bm25.trec" in capsys.readouterr().out


BAD = {
    "no data": (["--train_data", "nowhere.jsonl"], "nowhere.jsonl"),
    "no model": (["-m", "./no/such/model"], "./no/such/model"),
    "share of everything": (["--held_out_share", "1"], "--held_out_share 1.0 leaves nothing"),
    "range too narrow": (["--range_for_sampling", "2-4"], "hold 2 candidates, but negative_number is 5"),
    "group of one": (["--train_group_size", "1"], "--train_group_size 1"),
    "too long": (["--max_len", "1000"], "1000 is more than the 128 positions"),
    "unknown measure": (["--measures", "nDCQ@10"], "nDCQ@10"),
    "depth": (["--depth", "1"], "--depth 1"),
}


@pytest.mark.parametrize("case", BAD, ids=list(BAD))
def test_mistakes_are_told_before_anything_is_mined(case, words, world, capsys):
    more, problem = BAD[case]
    assert main([*words, *more]) == 2
    error = capsys.readouterr().err
    assert "error: " in error and problem in error and "\n  fix: " in error
    assert not (world / "out" / "mined.jsonl").exists()


def test_more_flags_of_a_stage_come_from_its_own_file_and_are_checked_first(words, world, capsys):
    (world / "train.yaml").write_text("loss: bce\nreport_to: none\n")
    (world / "mine.yaml").write_text("keep_existng: true\n")
    assert main([*words, "--train_config", str(world / "train.yaml"), "--mine_config", str(world / "mine.yaml")]) == 2
    assert "did you mean keep_existing?" in capsys.readouterr().err
    assert main([*words, "--train_config", str(world / "train.yaml")]) == 0
    assert '"bce"' in (world / "out" / "reranker" / "training.json").read_text()
