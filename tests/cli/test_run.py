"""`sharprank run`: the main job from pairs and a pool to a reranker and its report."""

from __future__ import annotations

import json
import re

import pytest

from sharprank.cli.mine import main as mine_main
from sharprank.cli.options import parse
from sharprank.cli.run import main
from sharprank.cli.train import main as train_main
from sharprank.evaluation.evaluate import read_task
from sharprank.evaluation.rerank import score_candidates, with_tails
from sharprank.formats.collections import read_collection
from sharprank.formats.trec import read_run
from sharprank.metrics.fusion import WEIGHTS
from sharprank.metrics.orders import best_first
from sharprank.metrics.ranking import measure_run
from sharprank.models.bi_encoder import BiEncoder
from sharprank.models.kinds import Asked
from sharprank.models.scoring import PairScorer
from sharprank.pipeline.config import RunConfig
from sharprank.pipeline.run import make_plan
from sharprank.retrieval.dense import dense_run


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
    sentence = r"^use: undecided; 3 queries are too few .*validation nDCG@10: first stage [01]\.\d+"
    assert re.search(sentence, captured.out, re.MULTILINE)
    assert not (world / "out" / "reranker" / "fusion.json").exists()  # as nothing was decided
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
    (world / "out" / "data" / "notes.txt").write_text("a file that nothing reads")
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


def test_a_weight_that_another_left_beside_the_reranker_is_not_taken_for_what_the_report_found(words, world, capsys):
    assert main(words) == 0
    first = capsys.readouterr().out
    fusion = world / "out" / "reranker" / "fusion.json"
    found = fusion.read_bytes() if fusion.is_file() else None
    fusion.write_text('{"weight": 0.9, "first_stage": "another"}')
    assert main(words) == 0
    assert capsys.readouterr().out == first
    assert (fusion.read_bytes() if fusion.is_file() else None) == found
    fusion.unlink(missing_ok=True)
    assert main(words) == 0
    assert (fusion.read_bytes() if fusion.is_file() else None) == found


def test_overwrite_does_every_stage_again_the_report_too(words, world, capsys):
    assert main(words) == 0
    first = capsys.readouterr().out
    files = ("data/train.jsonl", "mined.jsonl", "dense.trec", "report.txt", "report.json")
    before = {name: (world / "out" / name).stat().st_mtime_ns for name in files}
    assert main([*words, "--overwrite", "True"]) == 0
    captured = capsys.readouterr()
    assert captured.out == first and "done before" not in captured.err
    assert all((world / "out" / name).stat().st_mtime_ns > before[name] for name in files)


def test_passages_are_embedded_once_for_mining_and_searching(words, world):
    assert main(words) == 0
    entries = (world / "out" / "embeddings").glob("embeddings-*")
    shards = {
        json.loads((entry / "about.json").read_text())["kind"]: len(list(entry.rglob("*.npy"))) for entry in entries
    }
    assert shards == {"passage": 1, "query": 1}


DECIDED = ["--first_stage", "bm25", "--validation_share", "0.4"]
"""BM25 ranks every relevant passage of this world first, and a dozen validation queries show it."""


def test_bm25_can_be_the_first_stage_and_what_its_queries_say_is_left_beside_the_reranker(words, world, capsys):
    assert main([*words, *DECIDED]) == 0
    said = capsys.readouterr().out
    assert "bm25.trec" in said and "\nuse: no reranker; " in said
    fusion = json.loads((world / "out" / "reranker" / "fusion.json").read_text())
    assert [float(weight) for weight in fusion["by_weight"]] == list(WEIGHTS) and fusion["fitted_weight"] in WEIGHTS
    assert (fusion["use"], fusion["weight"], fusion["first_stage"]) == ("first stage", 1.0, "bm25, top 10")
    assert fusion["num_queries"] == 12 and fusion["p"] < 0.05


BAD = {
    "no data": (["--train_data", "nowhere.jsonl"], "nowhere.jsonl"),
    "no model": (["-m", "./no/such/model"], "./no/such/model"),
    "split of nothing": (["--eval_split", "dev"], "--eval_split dev says how --eval_data is read"),
    "share of everything": (["--held_out_share", "1"], "--held_out_share 1.0 leaves nothing"),
    "range too narrow": (["--range_for_sampling", "2-4"], "hold 2 candidates, but negative_number is 5"),
    "group of one": (["--train_group_size", "1"], "--train_group_size 1"),
    "too long": (["--max_len", "1000"], "1000 is more than the 128 positions"),
    "unknown measure": (["--measures", "nDCQ@10"], "nDCQ@10"),
    "depth": (["--depth", "1"], "--depth 1"),
    "seed": (["--seed", "-1"], "--seed -1"),
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
    (world / "train.yaml").write_text("loss: bce\ntrain_group_size: 4\n")
    capsys.readouterr()
    assert main([*words, "--train_config", str(world / "train.yaml")]) == 2
    assert "train_group_size = 8, this run has 4" in capsys.readouterr().err
    (world / "mine.yaml").write_text("sampling: top\n")
    assert main([*words, "--train_config", str(world / "train.yaml"), "--mine_config", str(world / "mine.yaml")]) == 2
    assert 'sampling "random", not "top"' in capsys.readouterr().err


MINE_FILE = {"negative_number": 30, "range_for_sampling": "10-200", "top_up": "random", "seed": 1, "dtype": "float32"}
MINE_FILE["embedding_cache"] = "elsewhere"
TRAIN_FILE = {"train_group_size": 16, "max_steps": 5, "seed": 2, "max_len": 32, "learning_rate": 0.125}


@pytest.fixture
def plan_with_files(world, tiny_bert, tiny_encoder):
    """The plan of a run with a file for each stage, and with these words typed."""
    (world / "mine.json").write_text(json.dumps(MINE_FILE))
    (world / "train.json").write_text(json.dumps(TRAIN_FILE))
    words = ["--train_data", world / "pairs.jsonl", "--output_dir", world / "out", "--device", "cpu"]
    words += ["--model_name_or_path", tiny_bert, "--embedder_name_or_path", tiny_encoder]
    words += ["--mine_config", world / "mine.json", "--train_config", world / "train.json"]

    def plan(*more):
        return make_plan(parse(RunConfig, [*map(str, words), *more], prog="sharprank run", description=""))

    return plan


def test_a_stages_own_file_counts_more_than_the_defaults_of_run(plan_with_files):
    plan = plan_with_files()
    assert {name: getattr(plan.mine, name) for name in MINE_FILE} == MINE_FILE
    train = {name: value for part in plan.train for name, value in vars(part).items()}
    assert {name: train[name] for name in TRAIN_FILE} == TRAIN_FILE and "learning_rate" not in train["left_open"]
    assert {stage.max_length for stage in (*plan.evaluations, plan.validation)} == {32}


@pytest.mark.parametrize("typed", [15, 20], ids=["the default", "another value"])
def test_what_is_typed_counts_more_than_a_stages_own_file(plan_with_files, world, typed):
    words = ["--negative_number", str(typed), "--range-for-sampling=2-100", "--seed", "42", "--train_group_size", "8"]
    plan = plan_with_files(*words, "--max_steps=-1")
    assert (plan.mine.negative_number, plan.mine.range_for_sampling) == (typed, "2-100")
    assert (plan.mine.seed, plan.train[2].seed, plan.train[2].max_steps) == (42, 42, -1)
    assert plan.train[1].train_group_size == 8 and plan.mine.top_up == "random"
    (world / "run.yaml").write_text(f"negative_number: {typed}\n")
    assert plan_with_files("--config", str(world / "run.yaml")).mine.negative_number == typed


def test_another_start_in_the_file_of_training_is_the_one_that_is_measured_untrained(words, world, tiny_xlmr):
    del words[words.index("--model_name_or_path") : words.index("--embedder_name_or_path")]
    (world / "train.json").write_text(json.dumps({"model_name_or_path": str(tiny_xlmr), "trust_remote_code": True}))
    words += ["--train_config", str(world / "train.json")]
    plan = make_plan(parse(RunConfig, words, prog="sharprank run", description=""))
    assert plan.train[0].model_name_or_path == str(tiny_xlmr)
    assert plan.evaluations[0].model_name_or_path == [str(tiny_xlmr)]
    assert all(stage.trust_remote_code for stage in (*plan.evaluations, plan.validation))


def test_what_the_file_of_mining_says_of_the_bi_encoder_holds_for_the_first_stage(words, world, tiny_bert, capsys):
    words[words.index("--embedder_name_or_path") + 1] = str(tiny_bert)  # which does not say how it pools
    assert main(words) == 2
    error = capsys.readouterr().err
    assert "does not say how its token states become one vector" in error and "--mine_config" in error
    assert not (world / "out" / "data").exists()
    said = {"pooling_method": "mean", "query_instruction_for_retrieval": "find the ", "embedder_query_max_length": 6}
    (world / "mine.json").write_text(json.dumps(said))
    assert main([*words, "--mine_config", str(world / "mine.json")]) == 0
    encoder = BiEncoder.load(
        str(tiny_bert), pooling="mean", query_instruction="find the ", query_max_length=6, device="cpu"
    )
    judged = read_collection(world / "out" / "data", split="test")
    queries = {query_id: judged.queries[query_id] for query_id in judged.qrels}
    expected = dense_run(encoder, judged.passages, queries, 100)
    found = read_run(world / "out" / "dense.trec")
    assert {q: list(scores) for q, scores in found.items()} == {q: best_first(scores) for q, scores in expected.items()}


def test_the_head_that_is_trained_is_the_one_that_is_measured_untrained(words, world, tiny_encoder):
    words[words.index("--model_name_or_path") + 1] = str(tiny_encoder)
    (world / "train.json").write_text('{"pooling": "plain"}')
    words += ["--train_config", str(world / "train.json")]
    assert main(words) == 0
    task = read_task(make_plan(parse(RunConfig, words, prog="sharprank run", description="")).evaluations[0])
    scorer = PairScorer.load(
        str(tiny_encoder), asked=Asked(pooling="plain"), max_length=64, seed=42, dtype="auto", device="cpu"
    )
    plain = with_tails(score_candidates(task, scorer), task)
    untrained = json.loads((world / "out" / "untrained.json").read_text())["models"][0]["per_query"]
    assert untrained == measure_run(task.qrels, plain, list(untrained))


@pytest.mark.parametrize(
    ("stage", "name"),
    [("mine", "input_file"), ("mine", "candidate_pool"), ("mine", "query_key"), ("train", "output_dir")],
)
def test_what_other_stages_build_on_is_refused_in_the_file_of_one(words, world, capsys, stage, name):
    (world / f"{stage}.json").write_text(json.dumps({name: "other"}))
    assert main([*words, f"--{stage}_config", str(world / f"{stage}.json")]) == 2
    assert f"{stage}.json: {name} is for `sharprank run` to set" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("learning_rate", 1e-3),
        ("per_device_train_batch_size", 3),
        ("num_train_epochs", 2.0),
        ("distillation_weight", 0.5),
    ],
)
def test_what_is_given_reaches_training_and_what_is_not_is_left_for_it_to_choose(words, flag, value):
    open_plan = make_plan(parse(RunConfig, words, prog="sharprank run", description=""))
    assert flag in open_plan.train[2].left_open
    plan = make_plan(parse(RunConfig, [*words, f"--{flag}", str(value)], prog="sharprank run", description=""))
    assert getattr(plan.train[2], flag) == value and flag not in plan.train[2].left_open


@pytest.mark.parametrize(("dtype", "bf16"), [("float32", False), ("bfloat16", True)])
def test_the_precision_of_the_passes_is_that_of_training_too(words, dtype, bf16):
    plan = make_plan(parse(RunConfig, [*words, "--dtype", dtype], prog="sharprank run", description=""))
    assert plan.train[2].bf16 is bf16 and "bf16" not in plan.train[2].left_open


def test_run_chooses_as_mine_and_train_do_by_hand(words, world, tiny_encoder, capsys):
    words[words.index("--model_name_or_path") + 1] = str(tiny_encoder)
    assert main(words) == 0
    assert "--start_share 0.5 (new head that ranks already)" in capsys.readouterr().err
    mine = [
        "--model_name_or_path",
        tiny_encoder,
        "--input_file",
        world / "out/data/train.jsonl",
        "--output_file",
        world / "mined.jsonl",
    ]
    mine += ["--candidate_pool", world / "pool.jsonl", "--range_for_sampling", "1-20", "--negative_number", "5"]
    assert mine_main([str(word) for word in [*mine, "--device", "cpu", "--dtype", "auto"]]) == 0
    train = ["-m", tiny_encoder, "--train_data", world / "mined.jsonl", "--output_dir", world / "by_hand"]
    assert train_main([str(word) for word in [*train, "--max_steps", "3", "--max_len", "64"]]) == 0
    by_run, by_hand = (json.loads((world / f / "training.json").read_text()) for f in ("out/reranker", "by_hand"))
    assert by_run["chosen"] == by_hand["chosen"] and {"learning_rate", "dropout", "start_share"} <= set(
        by_run["chosen"]
    )
    del by_run["settings"]["train_data"], by_hand["settings"]["train_data"]
    assert by_run["settings"] == by_hand["settings"]
    weights = [(world / f / "model.safetensors").read_bytes() for f in ("out/reranker", "by_hand")]
    assert weights[0] == weights[1]
