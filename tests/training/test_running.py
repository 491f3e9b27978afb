"""Running it: one YAML, schedules, checkpoints by epoch, trackers, the picture of the curves, the golden loss curve."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from sharprank.cli.train import main
from sharprank.training.curves import CURVES_FILE
from sharprank.training.resume import checkpoints
from tests.training.conftest import make_rows, write_rows
from tests.training.test_train import assert_same_weights, losses

GOLDEN = Path(__file__).parents[1] / "golden" / "loss_curves.json"

RERANK_YML = """
model_type: "rerank"
model:
  model_name_or_path: {model}
  device: "cpu"
traininng:
  batch_size: 4
  epochs: 4
  learning_rate: 0.001
  optimizer: "AdamW"
  weight_decay: 1e-4
  clip_max_norm: 0.5
  factor: 0.3
  patience: 0
  device: "cpu"
dataset_type: "rerank"
dataset:
  train_data_path: {train}
  test_data_path: {test}
  valid_data_path: {valid}
  max_padding_length: 64
  train_group_size: 4
logging:
  eval_interval: {interval}
  save_dir: {out}
"""


def state_of(folder: Path) -> dict:
    return json.loads((folder / "trainer_state.json").read_text())


def steps_measured(folder: Path) -> list[int]:
    return [entry["step"] for entry in state_of(folder)["log_history"] if "eval_nDCG@10" in entry]


@pytest.fixture
def rerank_yml(tiny_bert, train_file, eval_file, tmp_path):
    def write(interval=1, old="", new="") -> str:
        test = write_rows(tmp_path / "test.jsonl", make_rows(5, seed=9))
        text = RERANK_YML.format(
            model=tiny_bert, train=train_file, valid=eval_file, test=test, out=tmp_path / "out", interval=interval
        )
        path = tmp_path / "rerank.yml"
        path.write_text(text.replace(old, new) if old else text)
        return str(path)

    return write


def test_the_three_file_yaml_of_000_runs_as_it_is_misspelling_included(rerank_yml, tmp_path, capsys):
    assert main(["--model_config_path", rerank_yml(), "--seed", "3"]) == 0
    captured = capsys.readouterr()
    assert "nDCG@10: " in captured.out and "test nDCG@10: " in captured.out
    state, settings = (
        state_of(tmp_path / "out"),
        json.loads((tmp_path / "out" / "training.json").read_text())["settings"],
    )
    assert state["num_train_epochs"] == 4 and state["max_steps"] == 24
    assert settings["max_len"] == 64 and settings["train_group_size"] == 4 and settings["max_grad_norm"] == 0.5
    assert settings["lr_scheduler_type"] == "reduce_lr_on_plateau" and settings["weight_decay"] == 1e-4
    assert steps_measured(tmp_path / "out")[:4] == [6, 12, 18, 24]
    rates = [entry["learning_rate"] for entry in state["log_history"] if "learning_rate" in entry]
    assert rates[0] == 1e-3  # no warm-up
    assert min(rates) < 1e-3  # patience 0: it fell once the measure had reached its top


def test_an_evaluation_every_few_epochs_is_one(rerank_yml, tmp_path):
    assert main(["--config", rerank_yml(interval=2)]) == 0
    assert steps_measured(tmp_path / "out")[:2] == [12, 24]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("AdamW", "Lion", "optimizer 'Lion' is unknown"),
        ('model_type: "rerank"', "model_type: embedding", "model_type 'embedding' is unknown"),
        ("epochs: 4", "epochs: 4\n  num_train_epochs: 3", "num_train_epochs is set twice"),
        ("epochs: 4", "epoch: 4", "unknown key 'epoch'"),
        ("eval_interval: 1", "eval_interval: 0", "eval_interval 0 is no number of epochs"),
        ("batch_size: 4", "batch_size: four", "four"),
    ],
)
def test_a_yaml_that_says_what_cannot_be_is_refused_by_name(old, new, message, rerank_yml, capsys):
    assert main(["--config", rerank_yml(old=old, new=new)]) == 2
    said = capsys.readouterr().err
    assert "rerank.yml" in said and message in said and "Traceback" not in said


def test_sections_may_hold_our_own_flags_and_the_command_line_wins(arguments, tmp_path, tiny_bert, train_file):
    path = tmp_path / "run.yaml"
    path.write_text(
        f"model: {{model_name_or_path: {tiny_bert}, dropout: 0.0}}\n"
        f"training: {{per_device_train_batch_size: 4, num_train_epochs: 3, lr_scheduler_type: cosine, use_cpu: true}}\n"
        f"data: {{train_data: {train_file}, train_group_size: 4}}\n"
        f"output_dir: {tmp_path / 'out'}\n"
    )
    assert main(["--config", str(path), "--num_train_epochs", "1"]) == 0
    assert state_of(tmp_path / "out")["max_steps"] == 6


@pytest.mark.parametrize(("schedule", "at_half"), [("linear", 0.5), ("cosine", 0.5), ("constant_with_warmup", 1.0)])
def test_schedules_follow_their_curve_after_warm_up_counted_in_optimizer_steps(schedule, at_half, arguments, tmp_path):
    flags = {"lr_scheduler_type": schedule, "warmup_ratio": 0.2, "max_steps": 10, "gradient_accumulation_steps": 2}
    assert main(arguments(**flags)) == 0
    rates = [entry["learning_rate"] for entry in state_of(tmp_path / "out")["log_history"] if "learning_rate" in entry]
    assert rates[:3] == pytest.approx([0.0, 0.5e-3, 1e-3])
    assert rates[6] == pytest.approx(at_half * 1e-3)


def test_a_plateau_without_anything_to_measure_is_refused(arguments, capsys):
    assert main(arguments(lr_scheduler_type="reduce_lr_on_plateau")) == 2
    said = capsys.readouterr().err
    assert "--lr_scheduler_type reduce_lr_on_plateau asks for measures" in said and "--validation_split" in said


def test_a_plateau_that_was_interrupted_continues_to_the_same_weights(arguments, eval_file, tmp_path, monkeypatch):
    flags = {"eval_data": eval_file, "num_train_epochs": 4, "save_strategy": "epoch", "weight_decay": 0.1}
    flags |= {"lr_scheduler_type": "reduce_lr_on_plateau", "lr_scheduler_kwargs": '{"patience": 0, "factor": 0.5}'}
    assert main(arguments(output_dir=tmp_path / "whole", **flags)) == 0

    from sharprank.training.trainer import RerankTrainer

    original = RerankTrainer.training_step

    def stop_at_step_20(self, *args, **kwargs):
        if self.state.global_step == 20:
            raise KeyboardInterrupt
        return original(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(RerankTrainer, "training_step", stop_at_step_20)
        assert main(arguments(output_dir=tmp_path / "broken", **flags)) == 130
    assert (tmp_path / "broken" / CURVES_FILE).is_file()  # as far as the last checkpoint
    assert main(arguments(output_dir=tmp_path / "broken", **flags)) == 0
    rates = {
        entry["learning_rate"] for entry in state_of(tmp_path / "whole")["log_history"] if "learning_rate" in entry
    }
    assert len(rates) > 1
    assert losses(tmp_path / "broken") == losses(tmp_path / "whole")
    assert_same_weights(tmp_path / "broken", tmp_path / "whole")


def test_checkpoints_are_kept_by_epoch_and_rotated(arguments, tmp_path):
    assert main(arguments(save_strategy="epoch", save_total_limit=2, num_train_epochs=4)) == 0
    assert [folder.name for folder in checkpoints(tmp_path / "out")] == ["checkpoint-18", "checkpoint-24"]


def test_a_tracker_that_is_not_installed_stops_nothing_and_a_name_that_is_none_does(arguments, tmp_path, capsys):
    from transformers.integrations.integration_utils import get_available_reporting_integrations

    absent = next(
        name
        for name in ("wandb", "comet_ml", "neptune", "clearml")
        if name not in get_available_reporting_integrations()
    )
    assert main([*arguments(max_steps=1), "--report_to", absent]) == 0
    assert f"{absent} is not installed here" in capsys.readouterr().err
    assert (tmp_path / "out" / "model.safetensors").is_file()
    assert main([*arguments(max_steps=1, output_dir=tmp_path / "b"), "--report_to", "wandbb"]) == 2


FAKE_TENSORBOARD = """
import json

class SummaryWriter:
    def __init__(self, log_dir=None, **options):
        self.file = open({path!r}, "a")

    def add_scalar(self, name, value, step):
        self.file.write(json.dumps([name, value, step]) + "\\n")

    def add_text(self, *args): ...
    def flush(self): self.file.flush()
    def close(self): self.file.close()
"""


def test_a_tracker_that_is_installed_gets_losses_and_measures(arguments, eval_file, tmp_path, monkeypatch):
    """A package that TensorBoard's own name would be taken from, in the place of the real one."""
    if importlib.util.find_spec("tensorboard") is not None:
        pytest.skip("the real tensorboard is here, and is preferred to the fake")
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / "tensorboardX.py").write_text(FAKE_TENSORBOARD.format(path=str(tmp_path / "log")))
    monkeypatch.syspath_prepend(tmp_path / "fake")
    assert main([*arguments(eval_data=eval_file, num_train_epochs=1), "--report_to", "tensorboard"]) == 0
    logged = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    curve = [value for name, value, _ in logged if name == "train/loss"]
    assert curve == losses(tmp_path / "out")
    assert [step for name, _, step in logged if name == "eval/nDCG@10"] == steps_measured(tmp_path / "out")


def test_the_curves_are_drawn_beside_the_checkpoint(arguments, eval_file, tmp_path):
    assert main(arguments(eval_data=eval_file, num_train_epochs=2)) == 0
    root = ElementTree.parse(tmp_path / "out" / CURVES_FILE).getroot()
    lines = {line[0].text: line.get("points").split() for line in root.iter("{http://www.w3.org/2000/svg}polyline")}
    assert set(lines) == {"loss", "nDCG@10", "MRR@10", "MAP", "Hit@1"}
    assert len(lines["loss"]) == 12
    measured = len(set(steps_measured(tmp_path / "out")))
    assert len(lines["nDCG@10"]) == measured > 1
    heights = [float(point.split(",")[1]) for point in lines["loss"]]
    assert np.argmin(heights) == np.argmax(losses(tmp_path / "out"))  # the y axis of SVG points down


@pytest.mark.parametrize("loss", ["bce", "listwise_ce"])
def test_the_loss_curve_of_003s_settings_is_the_golden_one(loss, arguments, tmp_path, request):
    """003's own flags: groups of 4, batches of 8, weight decay 0.01, its loss (bce) and ours."""
    data = write_rows(tmp_path / "golden.jsonl", make_rows(40, seed=7))
    flags = {"train_data": data, "loss": loss, "per_device_train_batch_size": 8, "num_train_epochs": 4}
    flags |= {"weight_decay": 0.01, "dataloader_drop_last": True, "learning_rate": 6e-4, "max_len": 64, "seed": 42}
    assert main(arguments(**flags)) == 0
    curve = losses(tmp_path / "out")
    assert len(curve) == 20
    goldens = json.loads(GOLDEN.read_text()) if GOLDEN.is_file() else {}
    if request.config.getoption("--refresh_goldens"):
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(json.dumps({**goldens, loss: curve}, indent=1) + "\n")
    else:
        np.testing.assert_allclose(curve, goldens[loss], atol=5e-4)
