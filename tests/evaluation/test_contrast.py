"""Comparing systems: from evaluation files and runs, with real tests, regressions, moves and depths."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sharprank.cli.compare import main
from sharprank.errors import UserError
from sharprank.evaluation.compare_config import CompareConfig
from sharprank.evaluation.contrast import contrast, depth_effect, warnings_of
from sharprank.evaluation.evaluate import evaluate
from sharprank.evaluation.systems import Contestants, System, read_contestants
from sharprank.formats.trec import write_run
from sharprank.metrics.ranking import average, measure_run
from sharprank.metrics.significance import holm, randomisation_test

from .conftest import CORPUS, QRELS, config, write_collection, write_jsonl


def system(name: str, values, **changes) -> System:
    return System(name=name, per_query={"nDCG@10": {str(i): float(v) for i, v in enumerate(values)}}, **changes)


@pytest.fixture
def evaluated(collection_path, run_path, prepare, tmp_path):
    """Two evaluation files of one first stage, and the runs of the two models."""
    for model in ("overlap", "worse"):
        evaluate(
            config(collection_path, model, run=str(run_path), output_file=str(tmp_path / f"{model}.json"),
                   output_run=str(tmp_path / f"{model}.trec")),
            prepare=prepare,
        )  # fmt: skip
    return tmp_path


def read(*systems, **changes) -> Contestants:
    return read_contestants(CompareConfig(systems=[str(system) for system in systems], **changes))


# --- statistics --------------------------------------------------------------------------------


def test_figures_are_those_of_the_tests_with_holm_over_all_pairs():
    rng = np.random.default_rng(0)
    a, b, c = rng.random(30), rng.random(30), rng.random(30)
    result = contrast(Contestants(systems=[system("a", a), system("b", b + 0.6), system("c", c)]))
    assert [(pair.before, pair.after) for pair in result.pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    raw = [randomisation_test(y, x) for x, y in ((a, b + 0.6), (a, c), (b + 0.6, c))]
    assert [pair.comparisons[0].p for pair in result.pairs] == pytest.approx(holm(raw))
    assert result.pairs[0].comparisons[0].difference == pytest.approx((b + 0.6 - a).mean())
    assert result.pairs[0].verdict(result.pairs[0].comparisons[0]) == "b is better than a"


def test_it_says_no_difference_shown_when_that_is_so():
    rng = np.random.default_rng(1)
    a = rng.random(30)
    noisy = contrast(Contestants(systems=[system("a", a), system("b", a + rng.normal(0, 0.1, 30))])).pairs[0]
    same = contrast(Contestants(systems=[system("a", a), system("b", a)])).pairs[0]
    assert noisy.verdict(noisy.comparisons[0]) == same.verdict(same.comparisons[0]) == "no difference shown"
    assert same.counts["nDCG@10"] == (0, 30, 0) and same.worse == []


def test_wins_losses_and_the_worst_queries_come_in_order():
    pair = contrast(Contestants(systems=[system("a", [0.5, 0.5, 1, 1]), system("b", [1, 0.5, 0.5, 0])])).pairs[0]
    assert pair.counts["nDCG@10"] == (1, 1, 2)
    assert [(one.query_id, one.before, one.after) for one in pair.worse] == [("3", 1, 0), ("2", 1, 0.5)]


def test_only_shared_queries_count_and_the_others_are_told():
    result = contrast(Contestants(systems=[system("a", [1, 0, 0]), system("b", [1, 0])]))
    assert (result.num_queries, result.num_left_out) == (2, 1)
    assert result.means["a"]["nDCG@10"] == 0.5
    with pytest.raises(UserError, match="no query in common"):
        contrast(Contestants(systems=[system("a", [1]), System(name="b", per_query={"nDCG@10": {"x": 1.0}})]))
    with pytest.raises(UserError, match="no measure in common"):
        contrast(Contestants(systems=[system("a", [1]), System(name="b", per_query={"MAP": {"0": 1.0}})]))


def test_a_reranker_below_its_first_stage_is_shouted_and_one_below_the_baseline_as_loud_as_it_is_sure():
    high, low = [0.9] * 20, [0.8] * 20
    assert "BELOW the first stage bm25" in warnings_of(
        contrast(Contestants(systems=[system("bm25", [1, 0.5]), system("b", [1, 0.4], first_stage="bm25")]))
    )[0]  # fmt: skip
    assert warnings_of(contrast(Contestants(systems=[system("a", [1, 0.5]), system("b", [1, 0.6])]))) == []
    quiet = warnings_of(contrast(Contestants(systems=[system("a", [1, 0.5]), system("b", [1, 0.4])])))
    assert len(quiet) == 1 and quiet[0].startswith("note: b stands below the baseline a")
    assert (
        "BELOW the baseline a" in warnings_of(contrast(Contestants(systems=[system("a", high), system("b", low)])))[0]
    )


# --- evaluation files --------------------------------------------------------------------------------


def test_files_of_one_first_stage_share_it(evaluated):
    found = read(evaluated / "overlap.json", evaluated / "worse.json")
    assert [(one.name, one.is_first_stage) for one in found.systems] == [
        ("first.trec", True), ("overlap", False), ("worse", False),
    ]  # fmt: skip
    first, overlap, _ = found.systems
    document = json.loads((evaluated / "overlap.json").read_text())
    assert overlap.per_query == document["models"][0]["per_query"]
    assert first.per_query == document["first_stage"]["per_query"]


def test_a_system_is_warned_of_below_the_first_stage_that_its_own_file_names_and_no_other(
    evaluated, collection_path, run_path, prepare
):
    files = [evaluated / "overlap.json"]
    for number, model in enumerate(("overlap", "worse")):  # the same file name, the second time a better first stage
        better = evaluated / str(number) / "first.trec"
        better.parent.mkdir()
        write_run(better, {q: {p: float(v) for p, v in judged.items()} for q, judged in QRELS.items()}, tag="x")
        files.append(evaluated / f"{number}.json")
        evaluate(config(collection_path, model, run=str(better), output_file=str(files[-1])), prepare=prepare)
    found = read(*files)
    assert [(one.name, one.first_stage) for one in found.systems] == [
        ("first.trec", None), ("overlap", "first.trec"),
        ("first.trec (2)", None), ("overlap (2)", "first.trec (2)"), ("worse", "first.trec (2)"),
    ]  # fmt: skip
    pairs = {(pair.before, pair.after) for pair in contrast(found).pairs if pair.before_is_first_stage}
    assert pairs == {(one.first_stage, one.name) for one in found.systems if one.first_stage}


def test_models_of_the_same_name_are_told_apart(evaluated):
    (evaluated / "again").mkdir()
    (evaluated / "again" / "overlap.json").write_text((evaluated / "overlap.json").read_text())
    found = read(evaluated / "overlap.json", evaluated / "again" / "overlap.json")
    assert [one.name for one in found.systems] == ["first.trec", "overlap", "overlap (2)"]


def test_evaluations_of_other_data_are_refused_though_their_query_ids_are_alike(tmp_path, prepare):
    for name, word in (("a", "red"), ("b", "blue")):
        rows = write_jsonl(tmp_path / f"{name}.jsonl", [{"query": word, "pos": [word], "neg": ["x"]}])
        evaluate(config(rows, "overlap", output_file=str(tmp_path / f"{name}.json")), prepare=prepare)
    with pytest.raises(UserError, match="made from other data"):
        read(tmp_path / "a.json", tmp_path / "b.json")


def change(path, *, is_old, **changes):
    """Replace parts of an evaluation's file; an old one does not have the hash of its data either."""
    document = json.loads(path.read_text()) | changes
    if is_old:
        del document["data"]["hash"]
    path.write_text(json.dumps(document))


@pytest.mark.parametrize("is_old", [False, True])
def test_changed_judgements_or_texts_are_other_data_though_most_files_are_the_same(
    evaluated, collection_path, run_path, prepare, is_old
):
    judgements = collection_path / "qrels" / "test.tsv"
    judgements.write_text(judgements.read_text().replace("q1\tp1\t2", "q1\tp1\t1"))
    later = evaluated / "later.json"
    evaluate(config(collection_path, "untied", run=str(run_path), output_file=str(later)), prepare=prepare)
    change(later, is_old=is_old)
    with pytest.raises(UserError, match=r"later\.json was made from other data than"):
        read(evaluated / "overlap.json", later)


def test_another_first_stage_and_a_moved_collection_are_no_other_data(
    evaluated, collection_path, run_path, prepare, tmp_path
):
    collection_path.rename(tmp_path / "moved")
    later = tmp_path / "later.json"
    evaluate(config(tmp_path / "moved", "untied", output_file=str(later)), prepare=prepare)
    assert len(read(evaluated / "overlap.json", later).systems) == 4
    change(later, is_old=True)
    assert len(read(evaluated / "overlap.json", later).systems) == 4


@pytest.mark.parametrize("is_old", [False, True])
def test_data_without_local_files_are_told_apart_as_well(tmp_path, prepare, is_old):
    for name, word in (("a", "red"), ("b", "blue")):
        rows = write_jsonl(tmp_path / f"{name}.jsonl", [{"query": "q", "pos": [word], "neg": ["x"]}])
        output = tmp_path / f"{name}.json"
        evaluate(config(rows, "overlap", output_file=str(output)), prepare=prepare)
        change(output, is_old=is_old, inputs={}, settings={"data": "hub/set", "sub_data_name": name})
    with pytest.raises(UserError, match="made from other data"):
        read(tmp_path / "a.json", tmp_path / "b.json")


@pytest.mark.parametrize("content", ["{", '{"models": [{"name": "x"}]}', '{"a": 1}'])
def test_other_json_is_refused(tmp_path, content):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(UserError, match="no evaluation with per-query values"):
        read(tmp_path / "x.json")


def test_a_measure_that_was_not_evaluated_is_named(evaluated):
    with pytest.raises(UserError, match="no measure P@5"):
        read(evaluated / "overlap.json", measures=["P@5"])
    assert list(read(evaluated / "overlap.json", measures=["MAP"]).systems[0].per_query) == ["MAP"]


# --- runs --------------------------------------------------------------------------------


def test_runs_are_measured_like_evaluation_measures_them(evaluated, collection_path, run_path):
    found = read(run_path, evaluated / "overlap.trec", data=str(collection_path))
    document = json.loads((evaluated / "overlap.json").read_text())
    assert found.systems[1].per_query == document["models"][0]["per_query"]
    by_file = read(run_path, evaluated / "overlap.trec", qrels=str(collection_path / "qrels" / "test.tsv"))
    assert [one.per_query for one in by_file.systems] == [one.per_query for one in found.systems]


def test_passages_that_moved_are_named_with_their_ranks(collection_path, run_path, evaluated):
    result = contrast(read(evaluated / "overlap.trec", run_path, data=str(collection_path)))
    moves = {
        (one.query_id, move.passage_id): (move.before, move.after)
        for one in result.pairs[0].worse
        for move in one.moves
    }
    assert moves["q1", "p1"] == (1, 3) and moves["q3", "p3"] == (1, 2)


def test_depth_is_what_re_ranking_to_that_depth_gives(collection_path, run_path, prepare):
    from sharprank.formats.trec import read_run

    first = read_run(run_path)
    full = evaluate(config(collection_path, "overlap", run=str(run_path)), prepare=prepare)
    found = depth_effect(first, full.models[0].run, QRELS, "nDCG@10", depths=[1, 2, 3, 50])
    assert sorted(found) == [1, 2, 3]
    for depth, value in found.items():
        cut = evaluate(config(collection_path, "overlap", run=str(run_path), depth=depth), prepare=prepare)
        assert value == pytest.approx(cut.models[0].measures["nDCG@10"], abs=1e-12)
    assert found[1] == pytest.approx(average(measure_run(QRELS, first, ["nDCG@10"]))["nDCG@10"])


def test_runs_need_judgements_and_texts_they_know(tmp_path, collection_path, run_path):
    with pytest.raises(UserError, match="needs judgements"):
        read(run_path)
    with pytest.raises(UserError, match="one system"):
        read(run_path, data=str(collection_path))
    write_run(tmp_path / "odd.trec", {"q1": {"nowhere": 1.0}}, tag="x")
    with pytest.raises(UserError, match="passage 'nowhere'"):
        read(run_path, tmp_path / "odd.trec", data=str(collection_path))
    write_run(tmp_path / "other.trec", {"x": {"p1": 1.0}}, tag="x")
    with pytest.raises(UserError, match="none of the judged queries"):
        read(run_path, tmp_path / "other.trec", data=str(collection_path))


def test_constant_scores_and_missing_queries_are_said(tmp_path, collection_path, run_path, capsys):
    write_run(tmp_path / "flat.trec", {"q1": {"p1": 1.0, "p2": 1.0}}, tag="x")
    read(run_path, tmp_path / "flat.trec", data=str(collection_path))
    told = capsys.readouterr().err
    assert "lacks 3 of 4" in told and "all passages alike for 1 of 1" in told


# --- the command --------------------------------------------------------------------------------


def test_the_command_prints_tables_regressions_with_texts_and_depths(evaluated, collection_path, run_path, capsys):
    words = [str(evaluated / "overlap.trec"), str(run_path), str(evaluated / "worse.trec"), "-d", str(collection_path)]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "overlap -> first" in out and "no difference shown" in out and "corrected by Holm for 3 pairs" in out
    assert "- q1 red apple: " in out and "p1 (relevance 2): rank 1 -> rank 3 a red apple on a tree" in out
    assert "depth" in out


def test_the_command_writes_json_once_and_refuses_other_settings(evaluated, collection_path, prepare, capsys):
    below = config(
        collection_path, "worse", run=str(evaluated / "overlap.trec"), output_file=str(evaluated / "below.json")
    )
    evaluate(below, prepare=prepare)
    capsys.readouterr()
    words = [str(evaluated / "below.json")]
    flags = ["--output_file", str(evaluated / "out.json"), "--output_format", "json"]
    assert main([*words, *flags]) == 0
    captured = capsys.readouterr()
    assert "WARNING" in captured.err and "BELOW the first stage" in captured.err
    printed, written = json.loads(captured.out), json.loads((evaluated / "out.json").read_text())
    assert written["pairs"] == printed["pairs"] and written["inputs"]
    assert main([*words, *flags, "--seed", "3"]) == 2
    assert "made with seed" in capsys.readouterr().err
    assert main([*words, "--output_format", "markdown"]) == 0
    assert "| measure | before -> after |" in capsys.readouterr().out


def test_the_command_on_a_changed_system_is_no_reason_to_replace_its_output(evaluated, collection_path, capsys):
    words = [str(evaluated / "overlap.trec"), str(evaluated / "worse.trec"), "-d", str(collection_path)]
    words += ["--output_file", str(evaluated / "out.json")]
    assert main(words) == 0
    (collection_path / "notes.txt").write_text("a file that nothing reads")
    assert main(words) == 0
    (evaluated / "worse.trec").write_text((evaluated / "overlap.trec").read_text())
    assert main(words) == 2
    assert "worse.trec is not as it was" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([], "no value for --systems"),
        (["a.json", "a.json"], "named twice"),
        (["a.json", "--data", "x", "--qrels", "y"], "both name judgements"),
        (["a.json", "--depths", "0"], "--depths 0"),
        (["a.json", "--worst", "-1"], "--worst -1"),
        (["a.json", "--seed", "-1"], "--seed -1"),
        (["a.json", "--measures", "Nope@3"], "Nope@3"),
        (["no/such.json", "b.json"], "cannot be read"),
    ],
)
def test_mistakes_exit_with_2_and_a_fix(capsys, words, problem):
    assert main(words) == 2
    captured = capsys.readouterr()
    assert problem in captured.err and "fix:" in captured.err and not captured.out


def test_a_collection_with_several_splits_is_compared_on_the_one_named(tmp_path, run_path):
    folder = write_collection(
        tmp_path / "two", CORPUS, {"q1": "red apple"}, {"test": {"q1": {"p1": 1}}, "dev": {"q1": {"p5": 1}}}
    )
    other = tmp_path / "other.trec"
    write_run(other, {"q1": {"p5": 2.0, "p1": 1.0}}, tag="x")
    values = [
        read(run_path, other, data=str(folder), split=split).systems[1].per_query["MRR@10"]["q1"]
        for split in ("test", "dev")
    ]
    assert values == [0.5, 1.0]
