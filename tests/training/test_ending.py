"""What a training ends with: first stage -> reranked -> fused on the validation queries, and what to use."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest

from sharprank.cli.evaluate import main as evaluate
from sharprank.cli.train import main
from sharprank.errors import UserError
from sharprank.formats.fusion import FUSION_FILE, read_fusion
from sharprank.formats.holdout import hold_out
from sharprank.metrics.fusion import fit_fusion
from sharprank.metrics.ranking import average, measure_run
from sharprank.models.scoring import PairScorer
from sharprank.records import Group, TrainRow
from sharprank.training import choices
from sharprank.training.ending import conclude
from tests.training.conftest import make_rows, write_rows


def similar_rows(count: int) -> list[dict]:
    """Rows whose similarities know the positive a little."""
    rng = random.Random(1)
    return [
        {
            **row,
            "pos_similarity": [round(0.3 + rng.gauss(0, 0.3), 6)],
            "neg_similarity": [round(rng.gauss(0, 0.3), 6) for _ in row["neg"]],
        }
        for row in make_rows(count, seed=1)
    ]


@pytest.fixture
def mined(arguments, tmp_path):
    """Words of a training on mined rows."""

    def words(rows=None, **flags):
        data = write_rows(tmp_path / "mined.jsonl", rows or similar_rows(60))
        return arguments(train_data=data, num_train_epochs=4, **flags)

    return words


def test_it_ends_with_a_table_a_caveat_and_what_to_use(mined, tmp_path, capsys):
    assert main(mined(validation_split=0.3)) == 0
    said = capsys.readouterr().out
    assert "18 validation queries, each with its positives and mined negatives (6.0 on average)" in said
    assert "measure  first stage  reranked" in said and "\nMRR@10 " in said
    assert "which flatters it; on whole lists: sharprank evaluate -m" in said
    assert "\nuse: " in said and "18 queries; gain +" in said
    assert "\nuse: " in (tmp_path / "out" / "README.md").read_text()


def test_the_figures_are_those_of_the_held_out_groups_and_the_weight_that_of_a_fit_by_hand(mined, tmp_path):
    rows = similar_rows(60)
    assert main(mined(rows=rows, validation_split=0.3)) == 0
    fusion = json.loads((tmp_path / "out" / "fusion.json").read_text())

    items = [TrainRow(row["query"], tuple(row["pos"]), tuple(row["neg"]), fields=row) for row in rows]
    scorer = PairScorer.load(str(tmp_path / "out"), device="cpu", dtype="float32")
    qrels, first, reranked = {}, {}, {}
    for item in hold_out(items, share=0.3, seed=42)[1]:
        texts = [*item.positives, *item.negatives]
        scores = scorer.score([(item.query, text) for text in texts])
        similarities = [*item.fields["pos_similarity"], *item.fields["neg_similarity"]]
        qrels[item.query] = {item.positives[0]: 1}
        first[item.query] = dict(zip(texts, similarities, strict=True))
        reranked[item.query] = dict(zip(texts, map(float, scores), strict=True))
    fit = fit_fusion(qrels, first, reranked)
    assert fusion["fitted_weight"] == fit.weight
    assert fusion["by_weight"] == {f"{w:g}": pytest.approx(v) for w, v in fit.by_weight.items()}
    assert fusion["values"]["first stage"] == pytest.approx(average(measure_run(qrels, first, ["nDCG@10"]))["nDCG@10"])
    assert fusion["values"]["reranker"] == pytest.approx(fit.by_weight[0.0])
    assert fusion["num_queries"] == 18
    assert read_fusion(tmp_path / "out") == (fusion["weight"], "the miner's similarities")


def test_enough_rows_give_some_up_for_the_comparison_and_train_on_the_rest(mined, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(choices, "HELD_OUT_FROM", 50)
    assert main(mined()) == 0
    captured = capsys.readouterr()
    assert "6 of 60 queries are kept from training" in captured.err and "--validation_split 0: none" in captured.err
    assert "6 validation queries" in captured.out and "use: " in captured.out
    settings = json.loads((tmp_path / "out" / "training.json").read_text())["settings"]
    assert settings["num_rows"] == 54
    history = json.loads((tmp_path / "out" / "trainer_state.json").read_text())["log_history"]
    assert not any("eval_nDCG@10" in entry for entry in history)  # ranked once, when training is over


KEPT_FROM_NOBODY = ("told not to", "too few", "nothing to compare with", "evaluation data")


@pytest.mark.parametrize("case", KEPT_FROM_NOBODY)
def test_no_queries_are_given_up_where_that_is_not_wanted_or_of_no_use(
    case, mined, eval_file, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(choices, "HELD_OUT_FROM", 61 if case == "too few" else 50)
    flags = {"told not to": {"validation_split": 0}, "evaluation data": {"eval_data": eval_file}}.get(case, {})
    rows = make_rows(60, seed=1) if case == "nothing to compare with" else None
    assert main(mined(rows=rows, **flags)) == 0
    assert "kept from training" not in capsys.readouterr().err
    assert json.loads((tmp_path / "out" / "training.json").read_text())["settings"]["num_rows"] == 60


def test_without_a_first_stage_it_says_how_to_get_one(mined, tmp_path, capsys):
    assert main(mined(rows=make_rows(30, seed=1), validation_split=0.3)) == 0
    said = capsys.readouterr().out
    assert "nDCG@10: " in said and "no first stage to compare with: train on rows of `sharprank mine`" in said
    assert not (tmp_path / "out" / "fusion.json").exists()


def test_a_weight_fitted_for_other_weights_does_not_outlive_them(mined, tmp_path):
    assert main(mined(validation_split=0.3)) == 0
    (tmp_path / "out" / FUSION_FILE).write_text("{}")  # whatever the ending above was
    assert main(mined(validation_split=0, overwrite_output_dir=True, max_steps=1)) == 0
    assert not (tmp_path / "out" / FUSION_FILE).exists()


# --- what such groups can say ---------------------------------------------------------------------------------------

GAINS = np.array([1, 0, 0])
BAD = np.array([1.0, 3.0, 2.0])


def groups_of(similarities):
    return [Group(f"q{i}", ("a", "b", "c"), (1.0, 0.0, 0.0), first_stage=tuple(s)) for i, s in enumerate(similarities)]


def test_negatives_that_the_first_stage_chose_below_every_positive_decide_nothing():
    ending = conclude(groups_of([(0.9, 0.1, 0.2)] * 9), [BAD] * 9, [GAINS] * 9, run=None, model="out", seed=0)
    assert "use: undecided; these negatives were chosen by the first stage's own scores" in ending.text
    assert ending.verdict is None


def test_sampled_negatives_do_not_speak_against_a_reranker_and_whole_lists_do():
    groups = groups_of([(0.9, 0.1, 0.2)] * 8 + [(0.1, 0.9, 0.2)])
    sampled = conclude(groups, [BAD] * 9, [GAINS] * 9, run=None, model="out", seed=0)
    assert "use: undecided; the reranker alone is not above a first stage that is flattered" in sampled.text
    assert sampled.verdict is None
    whole = conclude(groups, [BAD] * 9, [GAINS] * 9, run="bm25.trec", model="out", seed=0)
    assert "use: no reranker" in whole.text and whole.verdict is not None and whole.verdict.weight == 1.0


def test_sampled_negatives_give_no_weight_to_a_fusion_that_only_the_first_stage_carries(tmp_path):
    """The reranker is a little weaker than the first stage, and both together are better than either."""
    rng = np.random.default_rng(1)
    positive = np.eye(8)[0]
    groups = [
        Group(
            f"q{i}", tuple("abcdefgh"), tuple(positive), first_stage=tuple((positive + rng.normal(0, 0.4, 8)).tolist())
        )
        for i in range(60)
    ]
    scores = [positive + rng.normal(0, 0.45, 8) for _ in groups]
    gains = [positive.astype(int)] * 60
    whole = conclude(groups, scores, gains, run="bm25.trec", model="out", seed=0)
    assert whole.verdict is not None and whole.verdict.use == "fused" and whole.verdict.alone[0].is_below
    sampled = conclude(groups, scores, gains, run=None, model="out", seed=0)
    assert "use: undecided; the reranker alone is not above" in sampled.text and "fitted" not in sampled.text[-300:]
    (tmp_path / "fusion.json").write_text("{}")
    sampled.write(tmp_path, first_stage="the miner's similarities")
    assert not (tmp_path / "fusion.json").exists()


def test_passages_that_the_first_stage_does_not_rank_are_nobodys_candidates():
    groups = groups_of([(0.1, 0.9, None)] * 9)
    ending = conclude(groups, [np.array([2.0, 1.0, 9.0])] * 9, [GAINS] * 9, run="bm25.trec", model="out", seed=0)
    assert ending.verdict is not None and ending.verdict.alone[0].reranked == 1.0
    assert "(2.0 on average)" in ending.text


def test_rows_of_one_query_are_one_list_and_one_observation():
    """Two rows a query: what is a negative in one is the positive of the other."""
    groups = [
        Group(("Q{} ", "q{}")[n].format(i), ("ab"[n], "ba"[n], "c"), (1.0, 0.0, 0.0), first_stage=(0.5, 0.5, 0.9))
        for i in range(8)
        for n in (0, 1)
    ]
    ending = conclude(groups, [np.array([2.0, 2.0, 1.0])] * 16, [GAINS] * 16, run="x.trec", model="out", seed=0)
    assert "8 validation queries, each with the candidates of x.trec (3.0 on average)" in ending.text
    assert ending.verdict is not None and ending.verdict.alone[0].num_queries == 8
    assert ending.verdict.alone[0].reranked == 1.0  # both positives above the one negative


def test_an_older_weight_does_not_outlive_a_training_that_found_none(tmp_path):
    (tmp_path / "fusion.json").write_text("{}")
    conclude(groups_of([(0.9, 0.1, 0.2)]), [BAD], [GAINS], run=None, model="out", seed=0).write(
        tmp_path, first_stage="x"
    )
    assert not (tmp_path / "fusion.json").exists()


# --- a run as first stage, and the weight in use --------------------------------------------------------------------


@pytest.fixture
def collection(tmp_path):
    """A folder whose run ranks the one relevant passage of each of 12 queries third of four."""
    rows = make_rows(12, seed=3, num_negatives=4)
    folder = tmp_path / "collection"
    (folder / "qrels").mkdir(parents=True)
    passages, qrels, run = [], ["query-id\tcorpus-id\tscore"], []
    for i, row in enumerate(rows):
        for j, text in enumerate([*row["neg"][:2], *row["pos"], *row["neg"][2:]]):
            passages.append({"_id": f"p{i}-{j}", "text": text})
            run += [f"q{i} Q0 p{i}-{j} {j + 1} {9 - j} bm25"] if j < 4 else []
        qrels.append(f"q{i}\tp{i}-2\t1")
    write_rows(folder / "corpus.jsonl", passages)
    write_rows(folder / "queries.jsonl", [{"_id": f"q{i}", "text": row["query"]} for i, row in enumerate(rows)])
    (folder / "qrels" / "test.tsv").write_text("\n".join(qrels) + "\n")
    (folder / "bm25.trec").write_text("\n".join(run) + "\n")
    return folder


def test_a_run_of_the_evaluation_data_is_the_first_stage_and_evaluate_applies_the_weight(
    mined, collection, tmp_path, capsys
):
    run = collection / "bm25.trec"
    assert main(mined(eval_data=collection, eval_run=run)) == 0
    captured = capsys.readouterr()
    assert "12 validation queries, each with the candidates of bm25.trec (4.0 on average)" in captured.out
    fusion = json.loads((tmp_path / "out" / "fusion.json").read_text())
    assert fusion["values"]["first stage"] == pytest.approx(0.5) and fusion["first_stage"] == "bm25.trec"

    words = ["-m", tmp_path / "out", "-d", collection, "--run", run, "--device", "cpu", "--dtype", "float32"]
    figures = []
    for asked in ("auto", fusion["weight"], 1.0):
        output = tmp_path / f"{asked}.json"
        flags = ["--first_stage_weight", asked, "--output_file", output, "--overwrite", True]
        assert evaluate([str(word) for word in [*words, *flags]]) == 0
        figures.append(json.loads(output.read_text())["models"][0])
    assert figures[0]["measures"] == figures[1]["measures"]
    assert figures[0]["measures"]["nDCG@10"] == pytest.approx(fusion["by_weight"][f"{fusion['weight']:g}"])
    assert figures[2]["measures"]["nDCG@10"] == pytest.approx(0.5) and "1 first stage" in figures[2]["name"]
    assert "as fitted with bm25.trec" in capsys.readouterr().err


def test_a_run_of_other_queries_is_refused_before_a_model_is_looked_for(mined, collection, capsys):
    run = collection / "other.trec"
    run.write_text("another Q0 p0-0 1 9 bm25\n")
    assert main(mined(eval_data=collection, eval_run=run, model_name_or_path="/nowhere")) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert f"{run} ranks none of the 12 judged queries" in said[-2] and said[-1].startswith("  fix: name the run")


@pytest.mark.parametrize(
    ("weight", "problem"), [("1.5", "is no share"), ("half", "is no share"), ("auto", "holds no fusion.json")]
)
def test_a_weight_that_cannot_be_is_refused(weight, problem, collection, tiny_bert, capsys):
    words = ["-m", str(tiny_bert), "-d", str(collection), "--run", str(collection / "bm25.trec")]
    assert evaluate([*words, "--first_stage_weight", weight]) == 2
    assert problem in capsys.readouterr().err


def test_rows_have_no_first_stage_to_fuse_with(eval_file, tiny_bert, capsys):
    assert evaluate(["-m", str(tiny_bert), "-d", eval_file, "--first_stage_weight", "0.5"]) == 2
    assert "are rows, which no first stage ranks" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["{", "[]", '{"weight": 0.5}', '{"weight": 3, "first_stage": "x"}'])
def test_a_damaged_weight_is_an_error_that_names_the_file(text, tmp_path):
    (tmp_path / "fusion.json").write_text(text)
    with pytest.raises(UserError, match=r"fusion\.json"):
        read_fusion(tmp_path)
