"""The evaluation stage end to end on small data, first with fake scorers, then with tiny real models."""

import json

import ir_measures
import numpy as np
import pytest

from sharprank.errors import UserError
from sharprank.evaluation.evaluate import evaluate
from sharprank.evaluation.outputs import output_runs
from sharprank.evaluation.report import render
from sharprank.metrics.ranking import average

from .conftest import CORPUS, QRELS, QUERIES, config, write_collection, write_jsonl


def read_trec(path):
    run = {}
    for line in path.read_text().splitlines():
        query_id, _, passage_id, _, score, _ = line.split()
        run.setdefault(query_id, {})[passage_id] = float(score)
    return run


def test_rows_give_pooled_pair_measures_and_ranking_measures_with_chance(rows_path, prepare):
    result = evaluate(config(rows_path), prepare=prepare)
    (model,) = result.models
    # shared words less 1.5; positives: 1.5 | 0.5 | 0.5, -0.5; negatives: -1.5, -0.5, -0.5 | 1.5, -1.5 | -1.5
    assert model.pairs == pytest.approx({"precision": 3 / 4, "recall": 3 / 4, "f1": 3 / 4, "auc": 19.5 / 24})
    assert list(model.measures) == ["nDCG@10", "MRR@10", "MAP", "Hit@1", "PairAccuracy"]
    assert model.measures["Hit@1"] == pytest.approx(2 / 3)
    assert model.measures["PairAccuracy"] == pytest.approx((1 + 1 / 2 + 1) / 3)
    assert result.chance["Hit@1"] == pytest.approx((1 / 4 + 1 / 3 + 2 / 3) / 3)
    assert result.chance["PairAccuracy"] == 0.5


def test_auc_is_that_of_the_raw_scores_where_all_probabilities_are_1(rows_path, prepare):
    (modest,), (sure,) = (evaluate(config(rows_path, name), prepare=prepare).models for name in ("overlap", "sure"))
    assert sure.pairs["auc"] == modest.pairs["auc"] > 0.5


def test_a_constant_scorer_gets_the_worst_case(rows_path, prepare):
    (model,) = evaluate(config(rows_path, "constant"), prepare=prepare).models
    assert model.measures["Hit@1"] == 0.0
    assert model.measures["MRR@10"] == pytest.approx((1 / 4 + 1 / 3 + 1 / 2) / 3)


def test_the_threshold_moves_what_is_called_positive(rows_path, prepare):
    (model,) = evaluate(config(rows_path, threshold=0.8), prepare=prepare).models
    assert model.pairs["precision"] == pytest.approx(1 / 2)


def test_one_class_only_gives_nan_and_the_reason(tmp_path, prepare):
    path = write_jsonl(tmp_path / "r.jsonl", [{"query": "q", "pos": ["a"]}])
    (model,) = evaluate(config(path), prepare=prepare).models
    assert np.isnan(model.pairs["auc"]) and "positive" in (model.why_no_auc or "")
    assert np.isnan(model.measures["nDCG@10"])


def test_a_collection_gives_first_stage_and_reranked_for_each_measure(collection_path, run_path, prepare):
    result = evaluate(config(collection_path, run=str(run_path)), prepare=prepare)
    (model,) = result.models
    assert [c.measure for c in model.comparisons] == ["nDCG@10", "MRR@10", "MAP", "Hit@1"]
    hit = model.comparisons[3]
    assert (hit.first, hit.reranked, hit.num_queries) == (0.0, 0.75, 4)  # q4 has no candidates and counts 0
    assert model.per_query["nDCG@10"]["q4"] == 0.0
    assert "q5" not in model.per_query["nDCG@10"]


def test_first_stage_figures_are_those_of_the_run_file_with_ties_against_it(collection_path, tmp_path, prepare):
    path = tmp_path / "tied.trec"
    path.write_text("q1 Q0 p1 1 1.0 x\nq1 Q0 p4 2 1.0 x\nq2 Q0 p2 1 2.0 x\n")
    result = evaluate(config(collection_path, run=str(path), measures=["MRR@10"]), prepare=prepare)
    assert result.first_stage == {"MRR@10": {"q1": 0.5, "q2": 1.0, "q3": 0.0, "q4": 0.0}}


def test_recall_at_the_full_list_is_not_changed_by_re_ranking(collection_path, run_path, prepare):
    settings = config(collection_path, "worse", run=str(run_path), depth=1, measures=["Recall@100", "MAP"])
    (model,) = evaluate(settings, prepare=prepare).models
    assert model.comparisons[0].difference == 0.0
    assert model.comparisons[1].difference == 0.0  # one passage re-ranked: nothing can move


def test_depth_limits_what_is_scored(collection_path, run_path, prepare):
    (model,) = evaluate(config(collection_path, run=str(run_path), depth=2), prepare=prepare).models
    assert model.num_pairs == 6
    assert model.per_query["Hit@1"]["q1"] == 0.0  # p4 and p5 (relevance 1) tie, and ties go against us
    assert model.per_query["Hit@1"]["q3"] == 1.0
    assert model.per_query["Hit@1"]["q2"] == 0.0  # p2 is beyond the depth


def test_a_worse_reranker_is_named_loudly(collection_path, prepare, capsys):
    result = evaluate(config(collection_path, "worse"), prepare=prepare)
    err = capsys.readouterr().err
    assert "WARNING: worse is BELOW the first stage BM25: nDCG@10" in err
    assert "BELOW FIRST STAGE" in result.models[0].comparisons[0].verdict


def test_what_was_left_out_is_said_on_stderr(collection_path, prepare, capsys):
    evaluate(config(collection_path), prepare=prepare)
    err = capsys.readouterr().err
    assert "1 queries have no judgements" in err and "1 judged queries have no candidates" in err


def test_nan_scores_name_query_and_passage_and_write_nothing(collection_path, run_path, prepare, tmp_path):
    out = tmp_path / "out.json"
    settings = config(collection_path, "overlap", "broken", run=str(run_path), output_file=str(out))
    with pytest.raises(UserError, match=r"query 'q1'.*passage 'p5'"):
        evaluate(settings, prepare=prepare)
    assert not out.exists()


def test_the_written_run_gives_the_printed_measures_in_ir_measures(collection_path, run_path, prepare, tmp_path):
    out = tmp_path / "reranked.trec"
    settings = config(collection_path, "untied", run=str(run_path), depth=2, output_run=str(out))
    (model,) = evaluate(settings, prepare=prepare).models
    theirs = ir_measures.calc_aggregate([ir_measures.parse_measure("AP")], QRELS, read_trec(out))
    assert list(theirs.values()) == [pytest.approx(model.measures["MAP"], abs=1e-9)]
    assert read_trec(out) == model.run


def test_the_json_holds_measures_per_query_values_settings_and_versions(collection_path, run_path, prepare, tmp_path):
    out = tmp_path / "out.json"
    result = evaluate(config(collection_path, run=str(run_path), output_file=str(out)), prepare=prepare)
    data = json.loads(out.read_text())
    assert data["models"][0]["measures"] == result.models[0].measures
    assert average(data["models"][0]["per_query"]) == result.models[0].measures
    assert average(data["first_stage"]["per_query"]) == data["first_stage"]["measures"]
    assert data["settings"]["depth"] == 100
    assert "torch" in data["versions"]
    assert str(run_path) in json.dumps(data["inputs"])
    assert data["data"]["counts"]["judged queries"] == 4


def test_several_models_are_compared_and_get_a_run_each(collection_path, prepare, tmp_path):
    out = tmp_path / "run.trec"
    result = evaluate(config(collection_path, "overlap", "constant", output_run=str(out)), prepare=prepare)
    assert [model.name for model in result.models] == ["overlap", "constant"]
    assert (tmp_path / "run.overlap.trec").exists() and (tmp_path / "run.constant.trec").exists()
    assert not out.exists()


def test_runs_of_models_whose_names_meet_in_one_file_are_refused():
    with pytest.raises(UserError, match="same file"):
        output_runs(config("d", "a b", "a?b", output_run="run.trec"))


def test_the_same_command_may_run_again_and_another_needs_overwrite(collection_path, prepare, tmp_path):
    outputs = {"output_file": str(tmp_path / "out.json"), "output_run": str(tmp_path / "out.trec")}
    evaluate(config(collection_path, **outputs), prepare=prepare)
    evaluate(config(collection_path, **outputs), prepare=prepare)
    for changes in ({"output_file": outputs["output_file"]}, {"output_run": outputs["output_run"]}):
        with pytest.raises(UserError, match="out") as error:
            evaluate(config(collection_path, depth=1, **changes), prepare=prepare)
        assert "--overwrite" in error.value.fix
    evaluate(config(collection_path, depth=1, overwrite=True, **outputs), prepare=prepare)
    assert json.loads((tmp_path / "out.json").read_text())["settings"]["depth"] == 1


@pytest.mark.parametrize("output", ["output_file", "output_run"])
def test_the_same_command_on_changed_data_needs_overwrite_and_loads_nothing(collection_path, prepare, tmp_path, output):
    settings = config(collection_path, **{output: str(tmp_path / "out")})
    evaluate(settings, prepare=prepare)
    (collection_path / "notes.txt").write_text("a file that nothing reads")
    evaluate(settings, prepare=prepare)
    before = (tmp_path / "out").read_bytes()
    judgements = collection_path / "qrels" / "test.tsv"
    judgements.write_text(judgements.read_text().replace("q1\tp1\t2", "q1\tp1\t0"))
    prepare.loaded.clear()
    with pytest.raises(UserError, match=r"was made from other data: .*test\.tsv is not as it was"):
        evaluate(settings, prepare=prepare)
    assert prepare.loaded == [] and (tmp_path / "out").read_bytes() == before
    settings.overwrite = True
    evaluate(settings, prepare=prepare)


def test_an_output_that_is_no_result_of_ours_is_not_overwritten(collection_path, prepare, tmp_path):
    notes = tmp_path / "notes.txt"
    notes.write_text("my notes")
    with pytest.raises(UserError, match=r"notes\.txt") as error:
        evaluate(config(collection_path, output_file=str(notes)), prepare=prepare)
    assert "--overwrite" in error.value.fix
    assert notes.read_text() == "my notes" and prepare.loaded == []


def test_ids_that_no_run_file_can_hold_are_refused_before_any_model_loads(tmp_path, prepare):
    path = write_collection(tmp_path / "c", {"p 1": "red apple"}, {"q": "apple"}, {"test": {"q": {"p 1": 1}}})
    with pytest.raises(UserError, match="'p 1'"):
        evaluate(config(path, output_run=str(tmp_path / "out.trec")), prepare=prepare)
    assert prepare.loaded == []


@pytest.mark.parametrize("flag", ["output_file", "output_run"])
def test_an_unwritable_output_is_refused_before_any_model_loads(rows_path, prepare, tmp_path, flag):
    with pytest.raises(UserError):
        evaluate(config(rows_path, **{flag: str(tmp_path / "rows.jsonl" / "x")}), prepare=prepare)
    assert prepare.loaded == []


def test_one_file_for_both_outputs_is_refused(rows_path, prepare, tmp_path):
    out = str(tmp_path / "out")
    with pytest.raises(UserError, match="both"):
        evaluate(config(rows_path, output_file=out, output_run=out), prepare=prepare)


@pytest.mark.parametrize(
    "content, word",
    [
        ("", "empty|no row"),
        ('{"query": "q"}\n', "pos"),
        ("{broken\n", ":1"),
        ('{"query": "q", "pos": [null]}\n', "pos"),
    ],
)
def test_bad_rows_are_refused_before_any_model_loads(tmp_path, prepare, content, word):
    path = tmp_path / "rows.jsonl"
    path.write_text(content)
    with pytest.raises(UserError, match=word):
        evaluate(config(path), prepare=prepare)
    assert prepare.loaded == []


def test_data_that_is_not_there_is_refused(prepare, tmp_path):
    with pytest.raises(UserError):
        evaluate(config(tmp_path / "missing.jsonl"), prepare=prepare)


def test_the_same_seed_gives_the_same_result(collection_path, prepare):
    first, second = (evaluate(config(collection_path), prepare=prepare) for _ in range(2))
    assert first.models[0].comparisons == second.models[0].comparisons
    assert first.chance == second.chance


# --- with real, tiny models ------------------------------------------------------------------------------------


def test_a_real_model_ranks_as_transformers_scores(rows_path, tiny_bert):
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    (model,) = evaluate(config(rows_path, str(tiny_bert))).models
    plain = AutoModelForSequenceClassification.from_pretrained(tiny_bert).eval()
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    with torch.inference_mode():
        expected = plain(**tokenizer("fast dog", "slow cat", return_tensors="pt")).logits.item()
    assert model.run["3"]["3.neg1"] == pytest.approx(expected, abs=1e-5)


def test_two_real_models_re_rank_a_collection(collection_path, tiny_bert, tiny_modernbert):
    result = evaluate(config(collection_path, str(tiny_bert), str(tiny_modernbert)))
    assert len(result.models) == 2 and all(model.comparisons for model in result.models)


@pytest.mark.parametrize(
    "damage, word",
    [("tokenizer", "tokenizer"), ("config", "config.json"), ("all", "does not exist")],
)
def test_a_model_path_that_cannot_load_is_refused_before_the_data_is_read(tmp_path, tiny_bert, damage, word):
    import shutil

    folder = tmp_path / "model"
    if damage != "all":
        keep = (
            {"config.json", "model.safetensors"} if damage == "tokenizer" else {"tokenizer.json", "model.safetensors"}
        )
        folder.mkdir()
        for name in keep:
            shutil.copy(tiny_bert / name, folder / name)
    with pytest.raises(UserError, match=word):
        evaluate(config(tmp_path / "no_data_yet.jsonl", str(folder)))


def test_a_length_beyond_the_model_is_refused_with_the_limit(rows_path, tiny_bert):
    with pytest.raises(UserError, match=r"--max_length 4096.*128"):
        evaluate(config(rows_path, str(tiny_bert), max_length=4096))


def test_the_second_model_is_checked_before_the_first_is_loaded(rows_path, tiny_bert, tmp_path, monkeypatch):
    from sharprank.models.scoring import PairScorer

    monkeypatch.setattr(PairScorer, "load", lambda *a, **k: pytest.fail("a model was loaded"))
    with pytest.raises(UserError, match="missing"):
        evaluate(config(rows_path, str(tiny_bert), str(tmp_path / "missing" / "model")))


def test_all_queries_unfound_by_the_first_stage_is_a_result_of_zero(tmp_path, prepare):
    path = write_collection(tmp_path / "c", CORPUS, QUERIES, {"test": {"q4": {"p4": 1}}})
    result = evaluate(config(path), prepare=prepare)
    assert result.models[0].measures["nDCG@10"] == 0.0


def test_the_effect_of_depth_is_what_re_ranking_to_that_depth_gives(collection_path, run_path, prepare):
    full = evaluate(config(collection_path, "overlap", run=str(run_path)), prepare=prepare)
    assert list(full.models[0].depths) == [3]
    assert full.models[0].depths[3] == pytest.approx(full.models[0].measures["nDCG@10"])
    assert full.as_json()["models"][0]["by_depth"] == full.models[0].depths


def test_several_depths_stand_in_one_line(tmp_path, prepare):
    corpus = {f"p{i:02}": f"word {i} tree" for i in range(30)}
    qrels = {"q1": {"p07": 1, "p22": 1}}
    folder = write_collection(tmp_path / "deep", corpus, {"q1": "tree 22"}, {"test": qrels})
    for depth in (5, 10, 20, 25):
        cut = evaluate(config(folder, "overlap", depth=depth), prepare=prepare)
        if depth < 25:
            expected = cut.models[0].measures["nDCG@10"]
            full = evaluate(config(folder, "overlap", depth=25), prepare=prepare)
            assert full.models[0].depths[depth] == pytest.approx(expected)
    assert list(cut.models[0].depths) == [5, 10, 20, 25]
    assert "nDCG@10 by depth re-ranked: 5: " in render(cut, "text") and "10: " in render(cut, "markdown")


def test_constant_scores_are_warned_of(rows_path, prepare, capsys):
    evaluate(config(rows_path, "constant"), prepare=prepare)
    assert "WARNING: constant gives all passages the same score for 3 of 3 queries" in capsys.readouterr().err
    evaluate(config(rows_path, "untied"), prepare=prepare)
    assert "same score" not in capsys.readouterr().err


def test_single_queries_are_timed_alone_and_spread_over_all_of_them(collection_path, run_path, prepare):
    scorers = []

    def remembering(name, settings):
        load = prepare(name, settings)
        return lambda: scorers.append(load()) or scorers[-1]

    result = evaluate(config(collection_path, "overlap", run=str(run_path), latency_queries=2), prepare=remembering)
    model = result.models[0]
    assert scorers[0].calls == 3 and len(model.latencies) == 2 and result.hardware
    assert 0 < model.latency["p50_ms"] <= model.latency["p90_ms"] <= model.latency["max_ms"]
    found = result.as_json()
    assert found["models"][0]["latency"]["queries"] == 2 and found["hardware"] == result.hardware
    plain = evaluate(config(collection_path, "overlap", run=str(run_path)), prepare=prepare)
    assert plain.models[0].latencies == [] and "latency" not in plain.as_json()["models"][0]
