"""The training command as a user runs it, on tiny models."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from sharprank.cli.train import main
from sharprank.training.resume import RUN_FILE, checkpoints
from sharprank.training.trainer import COMPLETE_MARK
from tests.training.conftest import make_rows, write_rows

PAIRS = [("cat and dog 1", "cat dog tree"), ("cat and dog 1", "river house green " * 30), ("read", "file")]


def losses(folder: Path) -> list[float]:
    history = json.loads((folder / "trainer_state.json").read_text())["log_history"]
    return [entry["loss"] for entry in history if "loss" in entry]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def assert_same_weights(left: Path, right: Path) -> None:
    a, b = weights(left), weights(right)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


def constant_model(arguments, tmp_path: Path) -> Path:
    """The tiny model with a head that gives every pair the score 0."""
    folder = tmp_path / "constant"
    shutil.copytree(arguments()[1], folder)
    state = load_file(folder / "model.safetensors")
    for name in ("classifier.weight", "classifier.bias"):
        state[name].zero_()
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def error_of(capsys) -> str:
    return capsys.readouterr().err


def test_training_learns_and_leaves_a_complete_checkpoint(arguments, eval_file, tmp_path, capsys):
    assert main(arguments(eval_data=eval_file, num_train_epochs=6)) == 0
    out = tmp_path / "out"
    captured = capsys.readouterr()
    assert "nDCG@10: " in captured.out and f"reranker: {out}" in captured.out
    assert "22 queries" in captured.err and "4 groups x 1 processes x 1 accumulation = 4 groups" in captured.err
    curve = losses(out)
    assert len(curve) == 36
    assert curve[0] == pytest.approx(math.log(4), abs=0.6)
    assert np.mean(curve[-6:]) < 0.7 * np.mean(curve[:6])
    assert (out / "model.safetensors").is_file() and not list(out.glob("*.bin.*"))
    assert "base_model" in (out / "README.md").read_text()
    assert json.loads((out / RUN_FILE).read_text())["finished"] is True


def test_a_checkpoint_loads_in_the_other_libraries_with_the_same_scores(arguments, tmp_path):
    from FlagEmbedding import FlagReranker
    from sentence_transformers import CrossEncoder

    from sharprank import Reranker

    assert main(arguments()) == 0
    for folder in (tmp_path / "out", checkpoints(tmp_path / "out")[-1]):
        path = str(folder)
        scores = Reranker.from_pretrained(path, dtype="float32", device="cpu").compute_score(PAIRS)
        flag = FlagReranker(path, use_fp16=False, devices="cpu", max_length=128).compute_score(PAIRS)
        model = CrossEncoder(path, device="cpu", activation_fn=torch.nn.Identity())
        plain = AutoModelForSequenceClassification.from_pretrained(path, dtype=torch.float32).eval()
        batch = AutoTokenizer.from_pretrained(path)(
            [list(pair) for pair in PAIRS], padding=True, truncation="only_second", max_length=128, return_tensors="pt"
        )
        np.testing.assert_allclose(flag, scores, atol=1e-5)
        np.testing.assert_allclose(model.predict(PAIRS), scores, atol=1e-5)
        np.testing.assert_allclose(plain(**batch).logits[:, 0].detach(), scores, atol=1e-5)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(arguments, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert main(arguments(output_dir=tmp_path / name, seed=seed)) == 0
    assert_same_weights(tmp_path / "a", tmp_path / "b")
    assert losses(tmp_path / "a") != losses(tmp_path / "c")


def test_micro_batches_change_memory_and_not_the_losses(arguments, tmp_path):
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    folder = tmp_path / "still"
    shutil.copytree(arguments()[1], folder)
    config = json.loads((folder / "config.json").read_text()) | still
    (folder / "config.json").write_text(json.dumps(config))
    for name, flags in {
        "whole": {},
        "micro-batches": {"micro_batch_tokens": 80},
        "pieces of groups": {"micro_batch_tokens": 20},
        "accumulated": {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2},
        "checkpointed": {"gradient_checkpointing": True},
    }.items():
        assert main(arguments(output_dir=tmp_path / name, model_name_or_path=folder, **flags)) == 0
        np.testing.assert_allclose(losses(tmp_path / name), losses(tmp_path / "whole"), atol=2e-4, err_msg=name)


def test_the_loss_of_a_short_last_batch_is_that_of_its_groups(arguments, tmp_path):
    # 22 rows, batches of 4: the last holds 2 groups. A constant model must log ln 4 on it, as on every other batch.
    folder = constant_model(arguments, tmp_path)
    assert main(arguments(model_name_or_path=folder, learning_rate=0.0, num_train_epochs=1)) == 0
    np.testing.assert_allclose(losses(tmp_path / "out"), [math.log(4)] * 6, atol=1e-4)


def test_bce_is_the_mean_over_all_pairs(arguments, tmp_path):
    folder = constant_model(arguments, tmp_path)
    flags = {"model_name_or_path": folder, "learning_rate": 0.0, "num_train_epochs": 1, "loss": "bce"}
    assert main(arguments(**flags)) == 0
    np.testing.assert_allclose(losses(tmp_path / "out"), [math.log(2)] * 6, atol=1e-4)


def test_a_finished_training_is_not_repeated_and_another_one_is_refused(arguments, tmp_path, capsys):
    assert main(arguments(num_train_epochs=1)) == 0
    before = (tmp_path / "out" / "model.safetensors").stat().st_mtime_ns
    assert main(arguments(num_train_epochs=1)) == 0
    assert "is finished" in error_of(capsys)
    assert (tmp_path / "out" / "model.safetensors").stat().st_mtime_ns == before
    assert main(arguments(num_train_epochs=1, learning_rate=5e-4)) == 2
    assert "learning_rate = 0.001, this run has 0.0005" in error_of(capsys)
    assert main([*arguments(num_train_epochs=1, learning_rate=5e-4), "--overwrite_output_dir"]) == 0
    assert (tmp_path / "out" / "model.safetensors").stat().st_mtime_ns > before


def test_an_interrupted_training_continues_to_the_same_weights(arguments, eval_file, tmp_path, monkeypatch):
    flags = {"eval_data": eval_file, "num_train_epochs": 2, "save_steps": 4}
    assert main(arguments(output_dir=tmp_path / "whole", **flags)) == 0

    from sharprank.training.trainer import RerankTrainer

    original = RerankTrainer.training_step

    def stop_at_step_7(self, *args, **kwargs):
        if self.state.global_step == 7:
            raise KeyboardInterrupt
        return original(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(RerankTrainer, "training_step", stop_at_step_7)
        assert main(arguments(output_dir=tmp_path / "broken", **flags)) == 130
    torn = tmp_path / "broken" / "checkpoint-6"
    torn.mkdir()
    (torn / "model.safetensors").write_bytes(b"half a file")
    assert main(arguments(output_dir=tmp_path / "broken", **flags)) == 0
    assert not torn.exists()
    assert_same_weights(tmp_path / "whole", tmp_path / "broken")
    assert losses(tmp_path / "broken") == losses(tmp_path / "whole")
    assert all((folder / COMPLETE_MARK).is_file() for folder in checkpoints(tmp_path / "broken"))


def test_evaluation_picks_the_best_checkpoint(arguments, eval_file, tmp_path, capsys):
    assert main(arguments(eval_data=eval_file, num_train_epochs=3, learning_rate=3e-3)) == 0
    state = json.loads((tmp_path / "out" / "trainer_state.json").read_text())
    measured = [entry["eval_nDCG@10"] for entry in state["log_history"] if "eval_nDCG@10" in entry]
    assert state["best_metric"] == max(measured)
    assert f"nDCG@10: {max(measured):.4f}" in capsys.readouterr().out
    assert_same_weights(tmp_path / "out", Path(state["best_model_checkpoint"]))


def test_early_stopping_ends_a_run_that_no_longer_improves(arguments, eval_file, tmp_path):
    flags = {"num_train_epochs": 30, "learning_rate": 0.0, "early_stopping_patience": 2, "save_steps": 3}
    assert main(arguments(eval_data=eval_file, **flags)) == 0
    assert len(losses(tmp_path / "out")) <= 9


def test_rows_without_negatives_are_left_out_and_counted(arguments, tmp_path, capsys):
    rows = make_rows(12, seed=5)
    for row in rows[:3]:
        row["neg"] = []
    rows[3]["neg"] = rows[3]["neg"][:1]
    data = write_rows(tmp_path / "some.jsonl", rows)
    assert main(arguments(train_data=data, num_train_epochs=1)) == 0
    said = error_of(capsys)
    assert "3 of 12 rows" in said and "1 rows have fewer than 3 negatives" in said


def test_a_half_precision_checkpoint_is_trained_and_saved_in_float32(arguments, tiny_bert, tmp_path):
    folder = tmp_path / "half"
    AutoModelForSequenceClassification.from_pretrained(tiny_bert, dtype=torch.float16).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(folder)
    assert main(arguments(model_name_or_path=folder, num_train_epochs=1)) == 0
    assert {tensor.dtype for tensor in weights(tmp_path / "out").values()} == {torch.float32}


def test_bf16_trains_with_float32_weights(arguments, tmp_path):
    assert main([*arguments(num_train_epochs=3), "--bf16"]) == 0
    curve = losses(tmp_path / "out")
    assert np.isfinite(curve).all() and np.mean(curve[-4:]) < np.mean(curve[:4])
    assert {tensor.dtype for tensor in weights(tmp_path / "out").values()} == {torch.float32}


@pytest.mark.parametrize("family", ["tiny_xlmr", "tiny_modernbert"])
def test_other_families_train(family, arguments, tmp_path, request):
    folder = request.getfixturevalue(family)
    assert main(arguments(model_name_or_path=folder, num_train_epochs=6)) == 0
    curve = losses(tmp_path / "out")
    assert np.mean(curve[-6:]) < np.mean(curve[:6])


def test_flags_of_transformers_5_and_4_work_bare_and_valued(arguments, tmp_path):
    words = [*arguments(num_train_epochs=1), "--warmup_ratio", "0.5", "--overwrite_output_dir", "True"]
    assert main([*words, "--dataloader-drop-last", "--weight_decay", "0.01", "--report_to", "none"]) == 0
    assert len(losses(tmp_path / "out")) == 5


def test_a_collapsed_model_is_reported_while_it_trains(arguments, tmp_path, capsys):
    folder = constant_model(arguments, tmp_path)
    assert main(arguments(model_name_or_path=folder, learning_rate=0.0, num_train_epochs=8)) == 0
    said = error_of(capsys)
    assert "scores all passages of a query alike" in said and "ln G = 1.386" in said and "--warmup_ratio" in said


@pytest.mark.parametrize("name", ["a_file", "a_file/below"])
def test_an_output_folder_that_cannot_be_is_refused_before_the_model_is_loaded(name, arguments, tmp_path, capsys):
    (tmp_path / "a_file").write_text("text")
    assert main(arguments(output_dir=tmp_path / name)) == 2
    assert "--output_dir" in error_of(capsys)


def test_a_damaged_description_of_a_run_is_a_user_error(arguments, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / RUN_FILE).write_text('{"settings": ')
    assert main(arguments()) == 2
    assert "is damaged" in error_of(capsys)


def test_a_backend_for_several_processes_does_no_harm_to_one(arguments, tmp_path):
    assert main(arguments(num_train_epochs=1, ddp_backend="gloo")) == 0
    assert len(losses(tmp_path / "out")) == 6


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"max_len": 129}, "--max_len 129 is more than the 128 positions"),
        ({"dropout": 1.0}, "--dropout 1.0"),
        ({"fp16": True}, "--fp16 does not train on a CPU"),
        ({"train_group_size": 1}, "--train_group_size 1"),
        ({"loss": "cosine"}, "--loss 'cosine'"),
        ({"train_data": "/nowhere/rows.jsonl"}, "/nowhere/rows.jsonl does not exist"),
        ({"model_name_or_path": "/nowhere/model"}, "/nowhere/model does not exist"),
        ({"early_stopping_patience": 2}, "--early_stopping_patience"),
        ({"eval_strategy": "steps"}, "nothing to rank"),
        ({"warmup_ratio": 1.5}, "--warmup_ratio 1.5"),
        ({"on_bad_row": "ignore"}, "--on_bad_row 'ignore'"),
        ({"no_such_flag": 1}, "unknown flag --no_such_flag"),
    ],
)
def test_what_the_user_set_wrong_is_one_line_and_exit_2(flags, message, arguments, capsys):
    assert main(arguments(**flags)) == 2
    said = error_of(capsys)
    assert message in said and "fix: " in said and "Traceback" not in said


def test_rows_that_all_lack_negatives_point_to_the_miner(arguments, tmp_path, capsys):
    data = write_rows(tmp_path / "bare.jsonl", [{"query": "cat", "pos": ["dog"]}])
    assert main(arguments(train_data=data)) == 2
    assert "sharprank mine" in error_of(capsys)


def test_bad_rows_stop_before_the_model_is_looked_for_or_are_skipped_and_counted(arguments, tmp_path, capsys):
    data = write_rows(tmp_path / "bad.jsonl", [*make_rows(8, seed=3), {"query": "", "pos": ["x"], "neg": ["y"]}])
    assert main(arguments(train_data=data, model_name_or_path="/nowhere")) == 2
    assert f"{data}:9: 'query' is empty" in error_of(capsys)
    assert main(arguments(train_data=data, num_train_epochs=1, on_bad_row="skip")) == 0
    assert "1 rows" in error_of(capsys)


def test_files_that_are_no_training_run_are_not_overwritten(arguments, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    assert main(arguments()) == 2
    assert "no training run" in error_of(capsys)
    assert (tmp_path / "out" / "thesis.txt").read_text() == "mine"
