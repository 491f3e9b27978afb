"""The card of a checkpoint says how it was made."""

from __future__ import annotations

import pytest

from sharprank.training.card import Made, write_card

SETTINGS = {
    "model_name_or_path": "encoder",
    "num_rows": 9,
    "train_group_size": 8,
    "loss": "listwise_ce",
    "learning_rate": 2e-5,
    "num_train_epochs": 3.0,
    "seed": 42,
    "max_len": 512,
}


@pytest.mark.parametrize(
    ("max_steps", "length", "other"), [(-1, ", 3 epochs, seed", "steps"), (2, ", 2 steps, seed", "epochs, ")]
)
def test_steps_that_were_asked_for_are_said_in_place_of_the_epochs(max_steps, length, other, tmp_path):
    made = Made({**SETTINGS, "max_steps": max_steps}, {}, loads_with="It is plain.")
    write_card(tmp_path, made, measures={}, versions={})
    (line,) = [line for line in (tmp_path / "README.md").read_text().splitlines() if "groups of 8" in line]
    assert length in line and other not in line
