"""`sharprank calibrate`: fitted on validation pairs, stored beside the model, used wherever probabilities are given."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from sharprank import Reranker
from sharprank.cli.calibrate import main
from sharprank.cli.evaluate import main as evaluate_main
from sharprank.cli.rerank import main as rerank_main
from sharprank.errors import UserError
from sharprank.evaluation.calibrate import calibrate, fit
from sharprank.evaluation.calibrate_config import CalibrateConfig
from sharprank.evaluation.config import EvaluationConfig
from sharprank.evaluation.evaluate import evaluate
from sharprank.evaluation.rows import row_task
from sharprank.formats.calibration import CALIBRATION_FILE, read_calibration
from sharprank.metrics.calibration import fit_temperature_and_bias
from sharprank.metrics.pairs import sigmoid
from sharprank.records import TrainRow

from .conftest import QRELS, config, write_collection, write_jsonl


def drawn_task(num_queries: int = 200, shift: float = 4.0):
    """Rows, and scores whose true probability is sigmoid(score / 2 - shift / 2)."""
    rng = np.random.default_rng(0)
    rows, scores = [], {}
    for number in range(1, num_queries + 1):
        values = rng.normal(shift, 4, 8)
        relevant = rng.random(8) < sigmoid((values - shift) / 2)
        pos, neg = values[relevant].tolist(), values[~relevant].tolist()
        rows.append(TrainRow(query=f"q{number}", positives=tuple(map(str, pos)), negatives=tuple(map(str, neg))))
        names = [f"{number}.pos{i}" for i in range(1, len(pos) + 1)] + [
            f"{number}.neg{i}" for i in range(1, len(neg) + 1)
        ]
        scores[str(number)] = dict(zip(names, [*pos, *neg], strict=True))
    return row_task(rows), scores


@pytest.fixture
def model(tiny_bert, tmp_path):
    return shutil.copytree(tiny_bert, tmp_path / "model")


@pytest.fixture
def validation(tmp_path, model):
    """Rows whose labels mostly follow the model's own scores, shifted."""
    reranker = Reranker.from_pretrained(str(model), device="cpu")
    passages = [
        f"{a} {b} of the {c}" for a in ("red", "blue") for b in ("cat", "dog", "tree") for c in ("river", "house")
    ]
    rows = []
    for number, query in enumerate(
        ("what is a cat", "read the file", "river", "a fast dog", "tree house", "green fish")
    ):
        ranked = [one.passage for one in reranker.rank(query, passages)]
        ranked[2], ranked[-1] = ranked[-1], ranked[2]
        rows.append({"query": f"{query}", "pos": ranked[: 3 + number % 2], "neg": ranked[3 + number % 2 :]})
    return write_jsonl(tmp_path / "validation.jsonl", rows)


def test_the_fit_finds_the_truth_and_says_how_good_it_is_on_queries_it_did_not_see():
    task, scores = drawn_task()
    result = fit(task, scores)
    assert result.calibration.temperature == pytest.approx(2.0, rel=0.15)
    assert result.calibration.bias == pytest.approx(-2.0, abs=0.3)
    errors = result.errors
    assert errors["temperature and bias"] < 0.05 < 0.2 < errors["sigmoid"] and errors["isotonic"] < 0.08
    assert result.at["fitted threshold"]["f1"] >= result.at["calibrated at 0.5"]["f1"]
    assert result.thresholds["precision 0.8"]["precision"] >= 0.8
    assert (result.num_pairs, result.num_queries) == (1600, 200)


def test_a_wanted_precision_or_recall_sets_the_threshold():
    task, scores = drawn_task()
    assert fit(task, scores, precision=0.9).at["fitted threshold"]["precision"] >= 0.9
    assert fit(task, scores, recall=0.95).at["fitted threshold"]["recall"] >= 0.95


@pytest.mark.parametrize(
    ("scores", "problem"),
    [
        ({"1": {"1.pos1": 1.0, "1.neg1": 1.0}}, "all 2 scores are 1.0"),
        ({"1": {"1.pos1": 1.0, "1.neg1": 2.0}}, "higher scores are not more relevant"),
        ({"1": {"1.pos1": 1.0}}, "both kinds"),
    ],
)
def test_scores_that_cannot_become_probabilities_are_refused(scores, problem):
    task = row_task([TrainRow(query="q", positives=("a",), negatives=("b",))])
    with pytest.raises(UserError, match=problem):
        fit(task, scores)


def test_a_precision_out_of_reach_is_refused():
    task = row_task([TrainRow(query="q", positives=("a", "c"), negatives=("b", "d"))])
    scores = {"1": {"1.neg1": 3.0, "1.pos1": 2.0, "1.pos2": 1.0, "1.neg2": 0.0}}
    with pytest.raises(UserError, match=r"no threshold reaches precision 0.99"):
        fit(task, scores, precision=0.99)


def test_what_is_stored_is_what_every_user_of_the_model_gets(model, validation, tmp_path, capsys):
    assert main(["-m", str(model), "-d", str(validation), "--device", "cpu"]) == 0
    captured = capsys.readouterr()
    assert "expected calibration error" in captured.out and str(model / CALIBRATION_FILE) in captured.out
    reranker = Reranker.from_pretrained(str(model), device="cpu")
    assert reranker.calibration == read_calibration(model)
    pairs = [("what is a cat", "red cat of the river"), ("river", "tree")]
    expected = reranker.calibration.probabilities(reranker.compute_score(pairs))
    assert reranker.compute_score(pairs, normalize=True) == pytest.approx(expected.tolist())
    assert reranker.compute_score(pairs, normalize=True) != pytest.approx(
        sigmoid(reranker.compute_score(pairs)).tolist()
    )
    (tmp_path / "1.json").write_text(json.dumps({"query": "what is a cat", "docs": ["red cat of the river"]}))
    assert rerank_main(["-m", str(model), "-d", str(tmp_path / "1.json"), "--device", "cpu"]) == 0
    assert json.loads(capsys.readouterr().out) == pytest.approx([expected[0]], abs=1e-6)
    assert evaluate_main(["-m", str(model), "-d", str(validation), "--device", "cpu"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines[:4]] == ["precision", "recall", "f1", "auc"]
    assert lines[4].startswith("(calibrated, at the fitted threshold")
    stored = json.loads((model / CALIBRATION_FILE).read_text())
    assert f"f1 {stored['at']['fitted threshold']['f1']:.4f}" in lines[4]
    assert stored["inputs"] and stored["reliability"]["calibrated"]


def test_the_fit_equals_one_by_hand(model, validation):
    result = calibrate(CalibrateConfig(model_name_or_path=str(model), data=str(validation), dry_run=True, device="cpu"))
    rows = [json.loads(line) for line in validation.read_text().splitlines()]
    pairs = [(row["query"], text, key == "pos") for row in rows for key in ("pos", "neg") for text in row[key]]
    scores = Reranker.from_pretrained(str(model), device="cpu").compute_score([pair[:2] for pair in pairs])
    by_hand = fit_temperature_and_bias([pair[2] for pair in pairs], scores)
    assert result.calibration.temperature == pytest.approx(by_hand.temperature, rel=1e-3)
    assert not (model / CALIBRATION_FILE).exists() and result.path is None


def test_a_calibration_of_other_weights_is_not_used_and_a_damaged_one_is_named(model, validation, tiny_xlmr, capsys):
    main(["-m", str(model), "-d", str(validation), "--device", "cpu"])
    content = json.loads((model / CALIBRATION_FILE).read_text())
    shutil.copy(tiny_xlmr / "model.safetensors", model / "model.safetensors")
    assert read_calibration(model) is None
    assert "other weights" in capsys.readouterr().err
    for damage in ({"temperature": -1}, {"bias": "x"}, {"threshold": None}):
        (model / CALIBRATION_FILE).write_text(json.dumps({**content, **damage}))
        with pytest.raises(UserError, match="is damaged"):
            read_calibration(model)
    (model / CALIBRATION_FILE).write_text("{")
    with pytest.raises(UserError, match="is damaged"):
        read_calibration(model)


def test_a_collection_is_calibrated_on_the_split_named(model, tmp_path, capsys):
    words = ["red", "apple", "fish", "river", "dog", "tree", "house", "cat"]
    corpus = {f"p{i}": f"{words[i % 8]} {words[(i * 3 + 1) % 8]}" for i in range(24)}
    queries = {f"q{i}": f"{words[i]} {words[(i + 1) % 8]}" for i in range(8)}
    rng = np.random.default_rng(0)
    qrels = {q: {p: int(rng.integers(2)) for p in corpus} for q in queries}
    folder = write_collection(tmp_path / "collection", corpus, queries, {"test": QRELS and qrels, "dev": qrels})
    assert main(["-m", str(model), "-d", str(folder), "--dry_run"]) == 2
    assert "which judgements" in capsys.readouterr().err
    code = main(["-m", str(model), "-d", str(folder), "--split", "dev", "--dry_run", "--output_format", "json"])
    captured = capsys.readouterr()
    assert code == 0 or "higher scores are not more relevant" in captured.err


# --- a calibration in a file of its own -----------------------------------------------------------------------------


@pytest.fixture
def hub_model(model, tmp_path, monkeypatch):
    """The model as `maker/model` in the cache of the hub, which nothing of ours may write to."""
    snapshot = tmp_path / "hub" / "models--maker--model" / "snapshots" / ("a" * 40)
    shutil.copytree(model, snapshot)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("a" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return "maker/model"


def test_a_model_of_the_hub_keeps_its_calibration_in_a_file_that_is_named(hub_model, validation, tmp_path, capsys):
    file = tmp_path / "model.calibration.json"
    assert main(["-m", hub_model, "-d", str(validation), "--output_file", str(file), "--device", "cpu"]) == 0
    assert f"stored in {file}" in capsys.readouterr().out
    assert not list((tmp_path / "hub").rglob(CALIBRATION_FILE))
    plain = Reranker.from_pretrained(hub_model, device="cpu")
    reranker = Reranker.from_pretrained(hub_model, device="cpu", calibration=file)
    pair = ("what is a cat", "red cat of the river")
    assert plain.calibration is None and reranker.calibration is not None
    assert reranker.compute_score(pair, normalize=True) != pytest.approx(plain.compute_score(pair, normalize=True))
    (tmp_path / "1.json").write_text(json.dumps({"query": pair[0], "docs": [pair[1]]}))
    words = ["-m", hub_model, "-d", str(tmp_path / "1.json"), "--device", "cpu", "--calibration", str(file)]
    assert rerank_main(words) == 0
    assert json.loads(capsys.readouterr().out) == pytest.approx([reranker.compute_score(pair, normalize=True)])
    words = ["-m", hub_model, "-d", str(validation), "--device", "cpu", "--calibration", str(file)]
    assert evaluate_main(words) == 0
    assert capsys.readouterr().out.splitlines()[4].startswith("(calibrated, at the fitted threshold")


def test_a_named_calibration_is_refused_before_it_gives_wrong_probabilities(
    model, validation, tiny_xlmr, tmp_path, capsys
):
    file = tmp_path / "c.json"
    words = ["-m", str(model), "-d", str(validation), "--output_file", str(file), "--device", "cpu"]
    assert main(words) == 0 and not (model / CALIBRATION_FILE).exists()
    with pytest.raises(UserError, match="other weights than this model's"):
        Reranker.from_pretrained(str(tiny_xlmr), device="cpu", calibration=file)
    assert main(words) == 0 and main([*words, "--precision", "0.5"]) == 2
    assert "was made with precision" in capsys.readouterr().err
    for named in ([str(tmp_path / "none.json")], [str(validation)], [str(file), str(file)]):
        assert evaluate_main(["-m", str(model), "-d", str(validation), "--calibration", *named]) == 2
        captured = capsys.readouterr()
        assert "fix:" in captured.err and not captured.out
    assert rerank_main(["-m", str(model), "-d", str(validation), "--calibration", str(validation)]) == 2
    assert rerank_main(["-m", "m", "-d", "d", "--calibration", str(file), "--scores", "raw"]) == 2
    assert "no say in raw scores" in capsys.readouterr().err


def test_the_calibrations_of_all_models_are_read_before_the_first_of_them_is_loaded(
    model, validation, tiny_xlmr, tmp_path, prepare
):
    file = str(tmp_path / "c.json")
    assert main(["-m", str(model), "-d", str(validation), "--output_file", file, "--device", "cpu"]) == 0
    with pytest.raises(UserError, match="other weights than this model's"):
        evaluate(config(validation, str(model), str(tiny_xlmr), calibration=[file, file]), prepare=prepare)
    assert prepare.loaded == []


def test_changed_data_are_no_reason_to_replace_a_file_that_was_named(model, validation, tmp_path, capsys):
    words = ["-m", str(model), "-d", str(validation), "--output_file", str(tmp_path / "c.json"), "--device", "cpu"]
    assert main(words) == 0 and main(words) == 0
    validation.write_text("".join(validation.read_text().splitlines(keepends=True)[:-1]))
    assert main(words) == 2
    assert "was made from other data" in capsys.readouterr().err
    assert main([*words, "--overwrite", "True"]) == 0


def test_calibrate_reads_as_evaluate_does():
    mine, theirs = CalibrateConfig.__dataclass_fields__, EvaluationConfig.__dataclass_fields__
    shared = [name for name in mine if name in theirs and name not in ("model_name_or_path", "data", "output_file")]
    assert {name for name in shared if mine[name].default != theirs[name].default} == set()
    given = CalibrateConfig(model_name_or_path="m", data="d", first_stage="minilm", depth=7, max_length=9, seed=3)
    found = given.evaluation()
    assert (found.first_stage, found.depth, found.max_length, found.seed) == ("minilm", 7, 9, 3)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--precision", "2"], "--precision 2.0"),
        (["--precision", "0.9", "--recall", "0.9"], "two thresholds"),
        (["-m", "some/hub-id"], "no folder of yours"),
        (["--output_file", "."], "is a folder"),
        (["-d", "no/such.jsonl"], "does not exist"),
        (["--depth", "0"], "--depth 0"),
        (["--seed", "-1"], "--seed -1"),
    ],
)
def test_mistakes_exit_with_2_and_a_fix(model, validation, capsys, words, problem):
    assert main(["-m", str(model), "-d", str(validation), *words]) == 2
    captured = capsys.readouterr()
    assert problem in captured.err and "fix:" in captured.err and not captured.out
