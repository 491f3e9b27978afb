"""What an output folder says about the run in it, and what that means for a run with other settings."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

from sharprank.cli.train import main
from sharprank.errors import UserError
from sharprank.training.choices import Choice
from sharprank.training.resume import RUN_FILE, Begun, prepare_folder, refuse_other
from sharprank.training.settle import GROUPS, _continued
from tests.training.conftest import make_rows, write_rows

CHOSEN = {GROUPS: Choice(8, "20 queries"), "learning_rate": Choice(2e-4, "new head")}


def refused(before: dict, now: dict) -> UserError:
    with pytest.raises(UserError) as caught:
        refuse_other(before, now, where="out")
    return caught.value


@pytest.mark.parametrize(
    ("name", "before", "now", "problem", "fix"),
    [
        ("learning_rate", 1e-3, 5e-4, "--learning_rate = 0.001, this run has 0.0005", "repeat --learning_rate 0.001"),
        ("max_len", 64, 128, "--max_len = 64, this run has 128", "repeat --max_len 64"),
        ("query_max_len", None, 16, "--query_max_len = None, this run has 16", "leave --query_max_len out"),
        ("eval_data", {"a": "1f"}, {}, "--eval_data = a: 1f, this run has none", "the same --eval_data and --eval_run"),
        ("global_batch_size", 8, 9, "--per_device_train_batch_size x processes = 8, this run has 9", "divides it"),
        ("kept_for_the_end", 60, 0, "queries kept for the comparison at the end = 60", "repeat --validation_split"),
        ("weights", "1f", "2e", "weights to start from = '1f', this run has '2e'", "start from the same model"),
        ("lora", None, {"rank": 4}, "the adapter = None, this run has rank: 4", "repeat --use_lora"),
    ],
)
def test_a_setting_that_differs_is_called_by_the_flags_that_set_it(name, before, now, problem, fix):
    error = refused({name: before}, {name: now})
    assert problem in error.problem and fix in str(error.fix)
    assert "kept_for_the_end" not in error.problem and "global_batch_size" not in error.problem


def test_a_flag_is_named_before_what_follows_from_it():
    before = {"num_rows": 54, "kept_for_the_end": 6, "validation_split": None}
    error = refused(before, {"num_rows": 48, "kept_for_the_end": 0, "validation_split": 0.2})
    assert "--validation_split = None, this run has 0.2" in error.problem


def test_what_an_older_version_did_not_record_is_named_and_not_compared(capsys):
    refuse_other({"seed": 1}, {"seed": 1, "pos_scores_key": "pos_scores"}, where="out")
    assert "an older version, which did not record pos_scores_key: not compared" in capsys.readouterr().err


@pytest.mark.parametrize(("processes", "groups"), [(1, 8), (2, 4), (8, 1), (3, 3)])
def test_the_groups_that_a_run_chose_are_shared_by_the_processes_there_are(processes, groups):
    begun = Begun({"global_batch_size": 8}, CHOSEN)
    now = _continued({GROUPS: Choice(32, "more"), "bf16": Choice(True, "fast")}, begun, {GROUPS}, world_size=processes)
    assert now == {GROUPS: Choice(groups, "20 queries"), "bf16": Choice(True, "fast")}


def test_what_a_run_left_alone_is_not_chosen_when_it_goes_on():
    chosen = {"bf16": Choice(True, "fast here"), "dropout": Choice(0.0, "few passes"), **CHOSEN}
    begun = Begun({"bf16": False, "dropout": None, "learning_rate": 2e-4, "global_batch_size": 8}, CHOSEN)
    assert _continued(chosen, begun, set(chosen), world_size=1) == CHOSEN


# --- through the command --------------------------------------------------------------------------------------------


def taught_rows() -> list[dict]:
    rows = make_rows(8, seed=1)
    for place, row in enumerate(rows):
        for name in ("one", "other"):
            row[f"pos_{name}"], row[f"neg_{name}"] = [1.0 * place], [float(len(name))] * len(row["neg"])
    return rows


def test_other_teacher_scores_are_another_training(arguments, tmp_path, capsys):
    data = write_rows(tmp_path / "taught.jsonl", taught_rows())
    for name, code in (("one", 0), ("one", 0), ("other", 2)):
        keys = {"pos_scores_key": f"pos_{name}", "neg_scores_key": f"neg_{name}"}
        assert main(arguments(train_data=data, loss="kl", max_steps=1, **keys)) == code
    assert "--neg_scores_key = 'neg_one', this run has 'neg_other'" in capsys.readouterr().err


@pytest.fixture
def interrupted(arguments, eval_file, tmp_path):
    """Words of a training with evaluation that was stopped after its second step of four."""
    out = tmp_path / "out"

    def words(**flags) -> list[str]:
        return arguments(**{"eval_data": eval_file, "max_steps": 4, "save_steps": 1, "save_total_limit": 9, **flags})

    assert main(words()) == 0
    for step in (3, 4):
        shutil.rmtree(out / f"checkpoint-{step}")
    change(out, finished=False)
    return words


def change(out: Path, *, without: tuple[str, ...] = (), **fields) -> None:
    """Write other things into a run's description."""
    run = json.loads((out / RUN_FILE).read_text())
    settings = {name: value for name, value in run["settings"].items() if name not in without}
    (out / RUN_FILE).write_text(json.dumps({**run, "settings": settings, **fields}))


@pytest.mark.parametrize(
    ("flag", "value"), [("eval_data", ""), ("early_stopping_patience", 3), ("metric_for_best_model", "MRR@10")]
)
def test_what_decides_which_checkpoint_is_kept_cannot_change_in_the_middle(flag, value, interrupted, tmp_path, capsys):
    value = value or write_rows(tmp_path / "others.jsonl", make_rows(9, seed=3))
    capsys.readouterr()
    assert main(interrupted(**{flag: value})) == 2
    said = capsys.readouterr().err
    assert f"was made with --{flag} = " in said and "fix: " in said and "Traceback" not in said


def test_another_tokenizer_or_other_weights_of_the_same_name_are_another_training(
    arguments, tiny_bert, tiny_tokenizer, tmp_path, capsys
):
    base, other = tmp_path / "base", tmp_path / "other"
    shutil.copytree(tiny_bert, base)
    tiny_tokenizer.save_pretrained(other)
    flags = {"model_name_or_path": base, "max_steps": 1}
    assert main(arguments(**flags)) == 0
    assert main(arguments(tokenizer_name=other, **flags)) == 2
    assert "was made with --tokenizer_name = None" in capsys.readouterr().err
    weights = load_file(base / "model.safetensors")
    save_file({name: value + 1 for name, value in weights.items()}, base / "model.safetensors", {"format": "pt"})
    assert main(arguments(**flags)) == 2
    assert "was made with weights to start from = " in capsys.readouterr().err


def test_a_run_of_an_older_version_goes_on_and_may_learn_to_stop_early(interrupted, tmp_path, capsys):
    change(tmp_path / "out", without=("early_stopping_patience", "eval_data"))
    assert main(interrupted(early_stopping_patience=3)) == 0
    said = capsys.readouterr().err
    assert "did not record early_stopping_patience, eval_data:" in said and "continuing from" in said
    state = json.loads((tmp_path / "out" / "trainer_state.json").read_text())
    assert state["stateful_callbacks"]["EarlyStoppingCallback"]["args"]["early_stopping_patience"] == 3


def test_a_continued_run_stops_as_early_as_one_that_was_not_interrupted(arguments, eval_file, tmp_path):
    out = tmp_path / "out"
    flags = {"eval_data": eval_file, "max_steps": 6, "save_steps": 1, "save_total_limit": 9, "learning_rate": 0.0}
    for _ in range(2):
        assert main(arguments(early_stopping_patience=2, **flags)) == 0
        assert json.loads((out / "trainer_state.json").read_text())["global_step"] == 3
        shutil.rmtree(out / "checkpoint-3")
        change(out, finished=False)


def test_a_checkpoint_that_overwriting_would_delete_is_no_start(tmp_path):
    (tmp_path / "out" / "checkpoint-3").mkdir(parents=True)
    start = (str(tmp_path / "out" / "checkpoint-3"), "org/name")
    with pytest.raises(UserError, match="lies in --output_dir .*out, whose checkpoints --overwrite_output_dir deletes"):
        prepare_folder(tmp_path / "out", {}, {}, overwrite=True, start=start)
    assert (tmp_path / "out" / "checkpoint-3").exists()
