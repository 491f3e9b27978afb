"""Defaults that choose themselves: by the head, the width, the number of queries and the device; flags always win."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

from sharprank.cli.train import main
from sharprank.models.lora import ADAPTER_LEARNING_RATE
from sharprank.training import choices, launcher, settle
from sharprank.training.choices import Choice, Facts, choose, learning_rate
from tests.training.conftest import make_rows, write_rows

OPEN = (
    "learning_rate", "per_device_train_batch_size", "num_train_epochs", "dropout", "distillation_weight",
    "teacher_temperature", "bf16",
)  # fmt: skip
NEW, TRAINED = Facts(head_is_new=True, width=384, num_queries=1_999), Facts(head_is_new=False, width=384, num_queries=9)


def values(facts, left_open=OPEN, **given):
    given = {"num_train_epochs": 9.0, "per_device_train_batch_size": 9, **given}
    return {name: choice.value for name, choice in choose(left_open, given, facts).items()}


def facts_of(**changes):
    return Facts(**{"head_is_new": True, "width": 384, "num_queries": 1_999, **changes})


def test_a_new_head_learns_slower_in_a_wide_model_and_a_trained_one_slowly_in_any():
    assert learning_rate(head_is_new=True, width=64) == choices.NEW_HEAD_LEARNING_RATE
    assert learning_rate(head_is_new=True, width=384) == choices.NEW_HEAD_LEARNING_RATE
    assert learning_rate(head_is_new=True, width=768) == choices.NEW_HEAD_LEARNING_RATE / 4
    assert learning_rate(head_is_new=True, width=768, ranks_already=True) == choices.RANKING_HEAD_LEARNING_RATE / 4
    assert learning_rate(head_is_new=False, width=384) == learning_rate(head_is_new=False, width=1024) == 2e-5


@pytest.mark.parametrize("head_is_new", [True, False])
def test_an_adapter_has_a_rate_of_its_own_whatever_the_width(head_is_new):
    for width in (384, 4096):
        facts = facts_of(head_is_new=head_is_new, width=width, adapter_rate=2e-4, has_whole_weights=False)
        assert values(facts)["learning_rate"] == 2e-4


@pytest.mark.parametrize("name", ["GROUPS_A_STEP", "EPOCHS"])
def test_the_table_changes_at_its_bounds_and_nowhere_else(name):
    flag = {"GROUPS_A_STEP": "per_device_train_batch_size", "EPOCHS": "num_train_epochs"}[name]
    table = getattr(choices, name)
    assert table[-1][0] == 0 and [bound for bound, _ in table] == sorted((b for b, _ in table), reverse=True)
    for (bound, value), (_, below) in pairwise(table):
        assert values(facts_of(num_queries=bound))[flag] == value
        assert values(facts_of(num_queries=bound - 1))[flag] == below


def test_few_queries_get_more_steps_than_one_pass_of_large_batches():
    few, many = values(facts_of(num_queries=500)), values(facts_of(num_queries=500_000))
    assert few["per_device_train_batch_size"] < many["per_device_train_batch_size"]
    assert few["num_train_epochs"] > many["num_train_epochs"]
    assert "num_train_epochs" not in values(facts_of(max_steps=10))


@pytest.mark.parametrize(("shares", "groups"), [(1, 8), (2, 4), (8, 1), (16, 1), (3, 3)])
def test_processes_and_accumulation_share_the_groups_of_a_step(shares, groups):
    assert values(facts_of(shares=shares))["per_device_train_batch_size"] == groups


def test_dropout_goes_where_a_new_head_sees_no_query_often():
    few, short = facts_of(num_queries=50_000), facts_of(max_steps=10)
    assert values(few)["dropout"] == values(short)["dropout"] == choices.NEW_HEAD_DROPOUT
    assert "dropout" not in values(facts_of(num_queries=100))
    assert "dropout" not in values(facts_of(num_queries=50_000), ["dropout"], num_train_epochs=5.0)
    assert "dropout" not in values(facts_of(head_is_new=False, num_queries=50_000))


def test_similarities_teach_a_new_head_and_none_that_ranks_already_or_was_trained():
    assert values(facts_of(has_similarities=True))["distillation_weight"] == choices.SIMILARITIES_WEIGHT
    assert values(facts_of(has_similarities=True))["teacher_temperature"] == choices.SIMILARITIES_TEMPERATURE
    assert not {"distillation_weight", "teacher_temperature"} & set(values(facts_of(has_similarities=False)))
    assert not {"distillation_weight", "teacher_temperature"} & set(
        values(facts_of(has_similarities=True, head_is_new=False))
    )
    assert not {"distillation_weight", "teacher_temperature"} & set(
        values(facts_of(has_similarities=True, ranks_already=True))
    )


def test_the_start_counts_where_it_ranks_and_few_queries_could_make_it_forget():
    few = facts_of(ranks_already=True)
    assert values(few, ["start_share"]) == {"start_share": 0.5}
    assert values(facts_of(ranks_already=True, num_queries=20_000), ["start_share"]) == {"start_share": 0.0}
    for others in ({"ranks_already": False}, {"ranks_already": True, "has_whole_weights": False}):
        assert values(facts_of(**others), ["start_share"]) == {}


def test_a_given_weight_brings_the_temperature_of_cosines_and_a_weight_of_none_does_not():
    trained = facts_of(has_similarities=True, head_is_new=False)
    assert values(trained, ["teacher_temperature"], distillation_weight=0.5) == {"teacher_temperature": 0.05}
    assert values(trained, ["teacher_temperature"], distillation_weight=0.0) == {}
    new = facts_of(has_similarities=True)
    assert values(new, ["teacher_temperature"], distillation_weight=None) == {}


@pytest.mark.parametrize("given", OPEN)
def test_a_given_flag_is_never_chosen(given):
    facts = facts_of(has_similarities=True, has_fast_bf16=True, num_queries=50_000)
    assert given in values(facts)
    left_open = [name for name in OPEN if name != given]
    told = {"num_train_epochs": 1.0, "per_device_train_batch_size": 4, "distillation_weight": 1.0}
    assert given not in values(facts, left_open, **told)


# --- through the command --------------------------------------------------------------------------------------------


def similar_rows(count: int) -> list[dict]:
    rows = make_rows(count, seed=1)
    return [{**row, "pos_similarity": [0.8], "neg_similarity": [0.5 - 0.01 * i for i in range(5)]} for row in rows]


@pytest.fixture
def words(tiny_encoder, tmp_path):
    """A `sharprank train` that leaves everything open, on mined rows and an encoder."""

    def of(*more, rows=None, model=tiny_encoder):
        data = write_rows(tmp_path / "mined.jsonl", rows or similar_rows(20))
        fixed = ["-m", model, "--train_data", data, "--output_dir", tmp_path / "out", "--max_steps", "2", "--use_cpu"]
        return [str(word) for word in [*fixed, *more]]

    return of


def run_of(folder) -> dict:
    return json.loads((folder / "training.json").read_text())


def test_one_line_says_what_was_chosen_and_why_and_it_is_recorded(words, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(settle, "bf16_is_fast", lambda device: True)
    assert main(words("--pooling", "mean")) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("chosen")]
    rate = learning_rate(head_is_new=True, width=32)
    for part in (
        f"--learning_rate {rate:g} (new head, width 32)",
        "--per_device_train_batch_size 8 (20 queries)",
        "--distillation_weight 1 (new head, rows with the miner's similarities)",
        "--teacher_temperature 0.05",
        "--bf16 True (fast here)",
    ):
        assert part in line, line
    run = run_of(tmp_path / "out")
    assert run["settings"]["learning_rate"] == run["chosen"]["learning_rate"]["value"] == rate
    assert run["settings"]["distillation_weight"] == 1 and run["settings"]["bf16"] is True
    assert f"Chosen by itself: `--learning_rate {rate:g}" in (tmp_path / "out" / "README.md").read_text()


def test_an_adapter_is_told_apart_from_whole_weights(words, tiny_bert, tmp_path, capsys):
    assert main(words("--use_lora", "True", model=tiny_bert)) == 0
    assert run_of(tmp_path / "out")["chosen"]["learning_rate"] == {"value": ADAPTER_LEARNING_RATE, "why": "adapter"}
    assert "--learning_rate 0.0002 (adapter)" in capsys.readouterr().err


def test_a_head_that_ranks_already_takes_smaller_steps_and_learns_labels_alone(words, tmp_path, capsys):
    assert main(words()) == 0
    rate = learning_rate(head_is_new=True, width=32, ranks_already=True)
    assert f"--learning_rate {rate:g} (new head that ranks already, width 32)" in capsys.readouterr().err
    settings = run_of(tmp_path / "out")["settings"]
    assert (settings["pooling"], settings["learning_rate"], settings["distillation_weight"]) == ("late", rate, None)


def test_flags_and_configuration_files_win(words, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(settle, "bf16_is_fast", lambda device: True)
    (tmp_path / "c.yaml").write_text("learning_rate: 1e-3\nnum_train_epochs: 7\ndropout: 0.2\n")
    more = ("--config", tmp_path / "c.yaml", "--per_device_train_batch_size", 5, "--bf16", "False", "--start_share", 0)
    assert main(words(*more, "--distillation_weight", 0)) == 0
    assert "chosen" not in capsys.readouterr().err
    run = run_of(tmp_path / "out")
    assert run["chosen"] == {}
    settings = run["settings"]
    assert (settings["learning_rate"], settings["num_train_epochs"], settings["dropout"]) == (1e-3, 7, 0.2)
    assert (settings["global_batch_size"], settings["bf16"], settings["distillation_weight"]) == (5, False, 0)


def test_a_trained_head_keeps_small_steps_and_its_own_labels(words, tiny_bert, tmp_path):
    assert main(words("--bf16", "False", model=tiny_bert)) == 0
    run = run_of(tmp_path / "out")
    assert run["settings"]["learning_rate"] == 2e-5 and run["settings"]["distillation_weight"] is None
    assert set(run["chosen"]) == {"learning_rate", "per_device_train_batch_size"}


def test_a_run_that_continues_keeps_what_it_chose_when_it_began(words, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(settle, "bf16_is_fast", lambda device: True)
    assert main(words()) == 0
    before = run_of(tmp_path / "out")
    monkeypatch.setattr(choices, "RANKING_HEAD_LEARNING_RATE", 1.0)
    monkeypatch.setattr(choices, "GROUPS_A_STEP", ((0, 4),))
    monkeypatch.setattr(settle, "bf16_is_fast", lambda device: False)
    assert main(words()) == 0
    assert "is finished" in capsys.readouterr().err and run_of(tmp_path / "out") == before
    assert main(words("--overwrite_output_dir", "True")) == 0
    assert run_of(tmp_path / "out")["settings"]["global_batch_size"] == 4


def test_a_given_weight_takes_the_similarities_for_a_teacher(words, tiny_bert, tmp_path):
    assert main(words("--distillation_weight", "0.5", "--bf16", "False", model=tiny_bert)) == 0
    settings = run_of(tmp_path / "out")["settings"]
    assert (settings["distillation_weight"], settings["teacher_temperature"]) == (0.5, 0.05)


def without(rows, key):
    return [{name: value for name, value in row.items() if name != key} for row in rows]


NOT_TAUGHT = {
    "no similarities": lambda rows: without(without(rows, "pos_similarity"), "neg_similarity"),
    "of other texts": lambda rows: [{**row, "neg_similarity": [0.1]} for row in rows],
    "not numbers": lambda rows: [{**row, "pos_similarity": ["high"]} for row in rows],
    "a teacher of their own": lambda rows: [{**row, "pos_scores": [5.0], "neg_scores": [0.0] * 5} for row in rows],
}


@pytest.mark.parametrize("case", NOT_TAUGHT, ids=list(NOT_TAUGHT))
def test_without_the_miners_similarities_a_new_head_learns_the_labels_alone(case, words, tmp_path):
    assert main(words("--pooling", "mean", rows=NOT_TAUGHT[case](similar_rows(20)))) == 0
    assert run_of(tmp_path / "out")["settings"]["distillation_weight"] is None


def test_a_row_that_lacks_a_similarity_keeps_them_from_teaching_and_that_is_said(words, tmp_path, capsys):
    rows = similar_rows(20)
    rows[3]["neg_similarity"][1] = None
    assert main(words("--pooling", "mean", rows=rows)) == 0
    assert "note: 1 of 20 queries have passages without the miner's similarity" in capsys.readouterr().err
    assert run_of(tmp_path / "out")["settings"]["distillation_weight"] is None


@pytest.mark.parametrize("loss", ["bce", "mse"])
def test_losses_that_take_pairs_one_by_one_get_no_teacher_by_themselves(loss, words, tmp_path):
    assert main(words("--loss", loss, "--pooling", "mean")) == 0
    assert run_of(tmp_path / "out")["settings"]["distillation_weight"] is None


def test_a_launcher_that_was_told_a_precision_is_left_to_it(monkeypatch):
    assert not launcher.launcher_decides_precision()
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    assert launcher.launcher_decides_precision()


def test_choices_come_back_from_their_record():
    chosen = {"learning_rate": Choice(2e-4, "new head"), "bf16": Choice(True, "fast here")}
    assert choices.from_record(json.loads(json.dumps(choices.as_record(chosen)))) == chosen
