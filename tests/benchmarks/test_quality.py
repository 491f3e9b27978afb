"""The quality benchmark's own parts: budgets, cells that resume, held-out queries, figures; only tiny trainings."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import ir_measures
import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from benchmarks.marks import put_into
from benchmarks.quality import cells as cells_module
from benchmarks.quality import factors, variants, with_flagembedding, with_sentence_transformers, with_sharprank
from benchmarks.quality import prepared as prepared_module
from benchmarks.quality.budget import Cut, Effort, Lengths, Pace, check_tokens
from benchmarks.quality.cells import OURS, TOKENS, WALL, Bench, Cell, MissingTime, forget, ordered, run_cell
from benchmarks.quality.compare import compare, done_cells, done_of
from benchmarks.quality.kept import read_kept, write_kept
from benchmarks.quality.prepared import HELD_OUT_QUERIES, VALIDATION, prepare, read_lines, some_queries
from benchmarks.quality.table import render
from benchmarks.quality.variants import Averaged, Continued, Scaled, WarmStart
from benchmarks.quality.with_sharprank import Sharprank
from sharprank.errors import UserError
from sharprank.formats.collections import read_collection
from sharprank.formats.holdout import fold
from sharprank.formats.python_docs import DocPair, write_python_docs
from sharprank.formats.trec import read_run, write_run
from sharprank.formats.writers import write_jsonl

COLOURS, ANIMALS, PLACES = ("red", "green", "blue"), ("cat", "dog", "fish"), ("house", "river", "tree", "table")
THINGS = [f"{c} {a} {p}" for c in COLOURS for a in ANIMALS for p in PLACES]
QUERIES = [f"{word} {thing}" for word in ("find", "search", "read") for thing in THINGS]


@pytest.fixture
def data(tmp_path) -> Path:
    """A folder with a collection laid out as scifact is: 96 training queries, 12 test queries, BM25 runs."""
    folder = tmp_path / "data" / "scifact"
    (folder / "qrels").mkdir(parents=True)
    (folder / "runs").mkdir()
    write_jsonl(folder / "corpus.jsonl", ({"_id": f"p{i}", "title": "a", "text": t} for i, t in enumerate(THINGS)))
    write_jsonl(folder / "queries.jsonl", ({"_id": f"q{i}", "text": text} for i, text in enumerate(QUERIES)))
    write_jsonl(
        folder / "train.jsonl",
        ({"query": text, "pos": [f"a {THINGS[i % 36]}"], "neg": []} for i, text in enumerate(QUERIES[:96])),
    )
    for split, numbers in {"train": range(96), "test": range(96, 108), "test_unseen": range(96, 100)}.items():
        lines = "".join(f"q{i}\tp{i % 36}\t1\n" for i in numbers)
        (folder / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\n" + lines)
        ranked = [(i, [(i + step) % 36 for step in range(-2, 28)]) for i in numbers]
        run = "".join(f"q{i} Q0 p{p} {r} {100 - r} bm25\n" for i, found in ranked for r, p in enumerate(found, 1))
        (folder / "runs" / f"bm25s_top100.{split}.trec").write_text(run)
    return tmp_path / "data"


@pytest.fixture
def bench(data, tmp_path, tiny_bert) -> Bench:
    """A bench whose start model is a tiny one."""
    for seed in (42, 43):
        shutil.copytree(tiny_bert, tmp_path / "work" / "start" / f"seed-{seed}")
    return Bench(data=data, work=tmp_path / "work", tokens=1000, max_len=32)


class FakeSystem:
    """Mines nothing, trains by copying the start model, counts what it was asked for."""

    def __init__(self, *, cpu: float = 10.0, fails: bool = False) -> None:
        self.asked: list[str] = []
        self.steps: list[int] = []
        self.cpu, self.fails = cpu, fails
        self.mines = False

    def mine(self, collection, output, cache, *, seed):
        self.asked.append(f"mine {seed}")
        write_jsonl(output, read_lines(collection.train_path))

    def pace(self, mined, start, *, max_len):
        return Pace(step=100.0, epoch=100_000.0, steps=1000)

    def train(self, mined, start, output, *, steps, seed, max_len):
        self.asked.append(f"train {seed}")
        self.steps.append(steps)
        shutil.copytree(start, output)
        if self.fails:
            raise KeyboardInterrupt
        return Effort(steps, tokens=100 * steps, wall=self.cpu, cpu=self.cpu)


def use(monkeypatch, **systems) -> None:
    monkeypatch.setattr(cells_module, "SYSTEMS", {name.replace("_", "-"): system for name, system in systems.items()})


# --- budgets -----------------------------------------------------------------------------------------------------


def test_a_budget_becomes_the_nearest_number_of_whole_steps_and_at_least_one():
    pace = Pace.of([50.0] * 200, a_step=2)
    assert [pace.steps_for(budget) for budget in (149, 151, 1)] == [1, 2, 1]


def test_a_short_last_step_of_an_epoch_is_counted_as_what_it_holds_or_not_at_all():
    assert Pace.of([10.0] * 5, a_step=4) == Pace(step=40.0, epoch=50.0, steps=2)
    assert Pace.of([10.0] * 5, a_step=4).steps_for(100) == 4
    assert Pace.of([10.0] * 5, a_step=4, drop_last=True).steps_for(80) == 2


def test_tokens_may_be_three_percent_or_one_step_away_from_the_budget():
    check_tokens(Effort(100, tokens=10_290), 10_000)
    check_tokens(Effort(2, tokens=1400), 1000)
    with pytest.raises(ValueError, match="10400 tokens"):
        check_tokens(Effort(100, tokens=10_400), 10_000)


def test_a_pair_is_as_long_as_its_parts_allow():
    assert Cut(128).length(10, 20) == 33
    assert Cut(128).length(50, 300) == 128
    assert Cut(128, query=20, passage=40).length(50, 300) == 63


def test_mean_lengths_are_those_of_the_tokenizer(tiny_bert, tiny_tokenizer):
    lengths = Lengths(tiny_bert, ["find cat", "red dog house", "blue"])
    expected = [len(tiny_tokenizer("find cat", text)["input_ids"]) for text in ("red dog house", "blue")]
    assert lengths.mean("find cat", ["red dog house", "blue"], Cut(128)) == sum(expected) / 2


# --- collections -------------------------------------------------------------------------------------------------


def test_queries_held_out_for_validation_are_in_no_training_row(bench):
    prepared = bench.prepared("scifact")
    validation, rows = prepared.read(VALIDATION), read_lines(prepared.train_path)
    assert len(validation.qrels) == HELD_OUT_QUERIES and len(rows) == 96 - HELD_OUT_QUERIES
    asked = {fold(validation.queries[query_id]) for query_id in validation.qrels}
    assert not asked & {fold(row["query"]) for row in rows}


def test_the_first_stage_is_cut_to_the_depth_and_a_subset_of_the_test_queries_shares_its_run(bench):
    prepared = bench.prepared("scifact")
    run = prepared.first_stage("test")
    assert {len(ranking) for ranking in run.values()} == {20}
    assert prepared.first_stage("test_unseen") == run
    assert set(prepared.read("test_unseen").qrels) < set(run)


def test_a_passage_of_the_pool_is_the_text_that_the_rows_have(bench):
    prepared = bench.prepared("scifact")
    texts = set(prepared.read("test").passages.values())
    assert all(text in texts for row in read_lines(prepared.train_path) for text in row["pos"])


def test_a_collection_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match="scifact is not in"):
        prepare("scifact", tmp_path, tmp_path / "work")


def test_packages_add_rows_to_those_of_the_standard_library_and_are_measured_on_its_queries(tmp_path, monkeypatch):
    pairs = [DocPair(f"m{i}.f", f"m{i}", f"Find {thing}", f"A {thing}") for i, thing in enumerate(THINGS)]
    docs = tmp_path / "python_docs" / "prepared"
    write_python_docs(docs / "source", pairs=pairs)
    shutil.copytree(docs / "source", docs, dirs_exist_ok=True)
    asked = {}
    for split in (VALIDATION, "test"):
        asked[split] = read_collection(docs, split=split).qrels
        write_run(docs / "runs" / f"{split}.trec", {q: {"m0.f": 1, "m1.f": 0.5} for q in asked[split]}, tag="dense")
    (docs / "prepared.json").write_text("{}")
    new = DocPair("torch.f", "torch", "Find what is new", "It is new")
    known = DocPair("torch.g", "torch", pairs[3].query.upper(), "Another text")
    monkeypatch.setattr(
        prepared_module, "read_doc_pairs", lambda folder, modules: [new, known] if "torch" in modules else []
    )
    prepared = prepare("python_packages", None, tmp_path / "python_packages" / "prepared")
    rows = [*read_lines(docs / "train.jsonl"), {"query": new.query, "pos": [new.passage]}]
    assert read_lines(prepared.train_path) == rows and 0 < len(rows) < len(pairs)
    for split, qrels in asked.items():
        read = prepared.read(split)
        assert qrels == read.qrels and set(read.passages) == {*(pair.name for pair in pairs), "torch.f"}
        assert prepared.first_stage(split) == {query_id: {"m0.f": 1, "m1.f": 0.5} for query_id in qrels}


def test_some_queries_are_the_same_ones_each_time():
    qrels = {f"q{i}": {"p": 1} for i in range(20)}
    assert some_queries(qrels, 5) == some_queries(dict(reversed(qrels.items())), 5)
    assert some_queries(qrels, 100) == qrels


# --- cells -------------------------------------------------------------------------------------------------------


def test_one_seed_of_everything_comes_before_the_next():
    found = list(ordered(["a", "b"], ["flagembedding", OURS], [TOKENS, WALL], [42, 43]))
    assert [cell.seed for cell in found] == sorted(cell.seed for cell in found)
    assert Cell("a", OURS, WALL, 42) not in found and len(set(found)) == len(found) == 12


def test_a_cell_that_is_done_is_not_done_again(bench, monkeypatch):
    system = FakeSystem()
    use(monkeypatch, flagembedding=system)
    cell = Cell("scifact", "flagembedding", TOKENS, 42)
    result = run_cell(bench, cell)
    assert result["steps"] == 10 and result["tokens"] == 1000
    assert run_cell(bench, cell) == result
    assert system.asked == ["mine 42", "train 42"]
    assert not (bench.folder(cell) / "model").exists()


def test_a_cell_of_another_pair_length_is_not_taken_for_this_one(bench, monkeypatch):
    use(monkeypatch, flagembedding=FakeSystem())
    cell = Cell("scifact", "flagembedding", TOKENS, 42)
    run_cell(bench, cell)
    with pytest.raises(UserError, match="trained with pairs of 32 tokens, not 64"):
        run_cell(replace(bench, max_len=64), cell)


def test_a_cell_of_other_defaults_is_not_taken_for_this_one_and_is_trained_anew_when_asked(bench, monkeypatch):
    system = FakeSystem()
    system.recipe = lambda: {"rate": system.rate}
    use(monkeypatch, sharprank=system)
    cell = Cell("scifact", OURS, TOKENS, 42)
    system.rate = 1
    run_cell(bench, cell)
    system.rate = 2
    with pytest.raises(UserError, match="other flags or defaults"):
        run_cell(bench, cell)
    forget(bench, cell)
    assert run_cell(bench, cell)["recipe"] == {"rate": 2}
    assert system.asked == ["mine 42", "train 42", "train 42"]
    assert Sharprank().recipe() == Sharprank().recipe() != Sharprank({"dropout": 0.1}).recipe()


def test_a_cell_stopped_in_training_trains_again_on_the_rows_it_mined(bench, monkeypatch):
    broken, whole = FakeSystem(fails=True), FakeSystem()
    cell = Cell("scifact", "flagembedding", TOKENS, 42)
    use(monkeypatch, flagembedding=broken)
    with pytest.raises(KeyboardInterrupt):
        run_cell(bench, cell)
    use(monkeypatch, flagembedding=whole)
    run_cell(bench, cell)
    assert whole.asked == ["train 42"]


def test_a_cell_stopped_in_scoring_does_not_train_again(bench, monkeypatch):
    system = FakeSystem()
    use(monkeypatch, flagembedding=system)
    cell = Cell("scifact", "flagembedding", TOKENS, 42)
    with monkeypatch.context() as patch:
        patch.setattr(cells_module, "_score", lambda *args: exec("raise KeyboardInterrupt"))
        with pytest.raises(KeyboardInterrupt):
            run_cell(bench, cell)
    run_cell(bench, cell)
    assert system.asked == ["mine 42", "train 42"]


def test_equal_time_gives_a_peer_the_steps_that_fit_into_ours(bench, monkeypatch):
    peer = FakeSystem(cpu=30.0)  # 10 steps of 3 seconds; ours takes 12 seconds
    use(monkeypatch, flagembedding=peer, sharprank=FakeSystem(cpu=12.0))
    with pytest.raises(MissingTime, match="sharprank has not been trained"):
        run_cell(bench, Cell("scifact", "flagembedding", WALL, 42))
    run_cell(bench, Cell("scifact", OURS, TOKENS, 42))
    run_cell(bench, Cell("scifact", "flagembedding", TOKENS, 42))
    assert run_cell(bench, Cell("scifact", "flagembedding", WALL, 42))["steps"] == 4
    assert peer.asked.count("mine 42") == 1


# --- figures -----------------------------------------------------------------------------------------------------


def write_cell(bench: Bench, cell: Cell, *, good: bool) -> None:
    """A cell whose scores put the relevant passage first, or last."""
    prepared, folder = bench.prepared(cell.collection), bench.folder(cell)
    folder.mkdir(parents=True)
    for split in (VALIDATION, "test"):
        qrels, first = prepared.read(split).qrels, prepared.first_stage(split)
        lines = [
            f"{q} Q0 {p} 0 {(1 if good else -1) * (p in qrels[q]) + score / 1e6} tag\n"
            for q, ranking in first.items()
            for p, score in ranking.items()
        ]
        (folder / f"{split}.trec").write_text("".join(lines))
    effort = {"steps": 10, "tokens": 1000, "max_len": bench.max_len, "wall": 3.0, "cpu": 2.0}
    effort["machine"] = {"processor": "another"}
    (folder / "result.json").write_text(json.dumps({"collection": cell.collection, "seed": cell.seed, **effort}))


def test_the_figures_say_who_is_ahead_by_how_much_and_how_surely(bench):
    for seed in (42, 43):
        write_cell(bench, Cell("scifact", OURS, TOKENS, seed), good=True)
        write_cell(bench, Cell("scifact", "flagembedding", TOKENS, seed), good=seed == 43)
    report = compare(bench, done_cells(bench, ["scifact"], [TOKENS], [42, 43, 44]))
    rows = {(row["split"], row["system"]): row for row in report["rows"]}
    assert rows["test", OURS]["alone"]["nDCG@10"] == 1.0 and rows["test", OURS]["seeds"] == [42, 43]
    assert rows["test", "first stage"]["alone"]["MRR@10"] == pytest.approx(1 / 3, abs=1e-4)
    theirs = rows["test", "flagembedding"]
    assert theirs["by_seed"]["alone"] == [0.0, 1.0] and theirs["alone"]["nDCG@10"] == 0.5
    tests = {(test["split"], test["kind"], test["against"]): test for test in report["tests"]}
    assert tests["test", "alone", "flagembedding"]["difference"] == 0.5
    assert tests["test", "alone", "flagembedding"]["p"] == pytest.approx(2 / 2**12, abs=1e-4)
    assert tests["test_unseen", "alone", "flagembedding"]["p"] == 2 / 2**4
    assert tests["test", "fused", "first stage"]["difference"] == 0.5  # of nDCG .5 with the answer at rank 3
    table = render(report)
    assert "**scifact, test** (12 queries)" in table and "| flagembedding | 0.5000 |" in table
    assert "both alone: flagembedding | +0.5000 |" in table and "behind" not in table


def test_only_seeds_that_both_have_are_compared(bench):
    for seed, ours_is_good in ((42, True), (43, False)):
        write_cell(bench, Cell("scifact", OURS, TOKENS, seed), good=ours_is_good)
    write_cell(bench, Cell("scifact", "flagembedding", TOKENS, 43), good=True)
    tests = compare(bench, done_cells(bench, ["scifact"], [TOKENS], [42, 43]))["tests"]
    found = {(test["split"], test["kind"], test["against"]): test for test in tests}
    assert found["test", "alone", "flagembedding"]["seeds"] == [43]
    assert found["test", "alone", "flagembedding"]["difference"] == -1.0
    assert "-1.0000 **behind**" in render(compare(bench, done_cells(bench, ["scifact"], [TOKENS], [42, 43])))


def test_what_is_kept_gives_the_same_figures_on_another_machine_without_training(bench, monkeypatch, tmp_path):
    for seed in (42, 43):
        write_cell(bench, Cell("scifact", OURS, TOKENS, seed), good=True)
        write_cell(bench, Cell("scifact", "flagembedding", TOKENS, seed), good=seed == 43)
    places = (["scifact"], [TOKENS], [42, 43])
    report, kept = compare(bench, done_cells(bench, *places)), tmp_path / "cells.jsonl.gz"
    write_kept(kept, bench, done_cells(bench, *places))
    rows = read_lines(kept)
    write_jsonl(kept, (row | {"machine": {"processor": f"of {row['system']}"}} for row in rows))
    elsewhere = replace(bench, work=tmp_path / "elsewhere")
    assert not done_cells(elsewhere, *places)
    elsewhere = replace(elsewhere, kept=read_kept(kept, elsewhere))
    assert json.dumps(compare(elsewhere, done_cells(elsewhere, *places))["tests"]) == json.dumps(report["tests"])
    peer = FakeSystem()
    use(monkeypatch, flagembedding=peer, sharprank=FakeSystem())
    run_cell(elsewhere, Cell("scifact", "flagembedding", TOKENS, 42))
    assert not peer.asked
    with pytest.raises(MissingTime, match="two kinds of processor"):
        run_cell(elsewhere, Cell("scifact", "flagembedding", WALL, 42))
    assert set(read_kept(kept, bench, but=["flagembedding"])) == {Cell("scifact", OURS, TOKENS, s) for s in (42, 43)}
    assert not read_kept(kept, replace(bench, tokens=5)) and not read_kept(tmp_path / "none", bench)
    write_kept(kept, replace(bench, tokens=5), {})
    assert len(read_kept(kept, bench)) == 4


def test_a_table_goes_between_its_own_marks(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- x: begin -->\nold\n<!-- x: end -->\nb\n")
    put_into(page, "new", name="x")
    assert page.read_text() == "a\n<!-- x: begin -->\nnew\n<!-- x: end -->\nb\n"
    with pytest.raises(ValueError, match="lacks the marks"):
        put_into(page, "new", name="y")


# --- the peers' adapters -----------------------------------------------------------------------------------------


def test_negatives_are_drawn_from_the_ranks_and_filled_up_from_the_pool():
    pool = [f"passage {i}" for i in range(400)]
    rows = [{"query": "q", "pos": ["passage 5"], "neg": ["old"]}, {"query": "passage 9", "pos": ["passage 0"]}]
    nearly_empty = [0, 1, 5, 7, *[-1] * 196]
    ranked = np.asarray([range(200), nearly_empty])
    wide, narrow = with_flagembedding.with_negatives(rows, pool, ranked, seed=1)
    allowed = {f"passage {i}" for i in range(2, 200)} - {"passage 5"}
    assert len(wide["neg"]) == len(set(wide["neg"])) == 15 and set(wide["neg"]) <= allowed
    assert narrow["neg"][:2] == ["passage 5", "passage 7"] and len(narrow["neg"]) == 15
    assert "passage 0" not in narrow["neg"]
    again = with_flagembedding.with_negatives(rows, pool, ranked, seed=1)
    assert [row["neg"] for row in again] == [wide["neg"], narrow["neg"]]
    assert with_flagembedding.with_negatives(rows, pool, ranked, seed=2)[0]["neg"] != wide["neg"]


@pytest.mark.slow
@pytest.mark.parametrize("peer", [with_flagembedding, with_sentence_transformers], ids=lambda peer: peer.__name__)
def test_the_tokens_that_a_peer_trains_on_are_counted(peer, tmp_path, tiny_bert):
    mined, start, output = tmp_path / "mined.jsonl", tiny_bert, tmp_path / "model"
    if peer is with_flagembedding:  # 2 groups of 8 pairs a step, each 3 + 3 + 3 tokens
        write_jsonl(mined, ({"query": f"find {t[:3]} a", "pos": [t], "neg": THINGS[:15]} for t in _three_words()))
    else:
        rows = [{"query": "find red a", "passage": text, "label": i % 2} for i, text in enumerate(_three_words() * 16)]
        write_jsonl(mined, rows)
    expected = peer.pace(mined, start, max_len=32).step
    effort = peer.train(mined, start, output, steps=2, seed=1, max_len=32)
    assert effort.tokens == 2 * expected and effort.cpu > 0
    from transformers import AutoModelForSequenceClassification

    before, after = (AutoModelForSequenceClassification.from_pretrained(path) for path in (start, output))
    assert not np.allclose(before.classifier.weight.detach(), after.classifier.weight.detach())


def _three_words() -> list[str]:
    return [thing for thing in THINGS if thing.startswith("red")]


# --- variants ----------------------------------------------------------------------------------------------------


def test_variants_share_the_mined_rows_unless_they_mine_differently(bench):
    variants = {"sharprank, a": Sharprank({"dropout": 0.1}), "sharprank, b": Sharprank(mine_flags={"top_up": "random"})}
    bench = replace(bench, variants=variants)
    ours, a, b = (Cell("scifact", name, TOKENS, 42) for name in (OURS, *variants))
    assert bench.mined_folder(a) == bench.mined_folder(ours) != bench.mined_folder(b)
    assert bench.cache_folder(a) == bench.cache_folder(b) == bench.cache_folder(ours)
    assert len({bench.folder(cell) for cell in (ours, a, b)}) == 3
    assert bench.system(a) is variants["sharprank, a"]


def test_a_variant_is_scored_on_some_queries_and_the_default_settings_on_all(bench):
    variant = factors.cell_name("plain head")
    bench = replace(bench, variants={variant: Sharprank()}, variant_queries=3)
    measured = bench.prepared("scifact").read("test_unseen").qrels
    few = bench.candidates(Cell("scifact", variant, TOKENS, 42), "test")
    assert len(few) == 3 and set(few) < set(measured)
    assert len(bench.candidates(Cell("scifact", OURS, TOKENS, 42), "test")) == 12


def test_factors_compare_what_is_done_best_validation_first(bench, monkeypatch):
    use(monkeypatch, sharprank=FakeSystem())
    variant = factors.cell_name("learning rate / 2")
    bench = replace(bench, variants={variant: FakeSystem()})
    cells = [Cell("scifact", name, TOKENS, 42) for name in (OURS, variant, factors.cell_name("plain head"))]
    for cell in cells[:2]:
        run_cell(bench, cell)
    done = done_of(bench, cells)
    found = list(factors.figures(bench, done))
    assert [figure["variant"] for figure in found] == [OURS, variant]
    qrels = bench.prepared("scifact").read("test_unseen").qrels
    run = {q: r for q, r in read_run(bench.folder(cells[0]) / "test.trec").items() if q in qrels}
    expected = ir_measures.calc_aggregate([ir_measures.nDCG @ 10], qrels, run)[ir_measures.nDCG @ 10]
    assert found[0]["test"]["alone"] == pytest.approx(expected, abs=1e-4)
    assert found[1]["difference"] == 0 and found[1]["p"] == 1  # both systems give the start model
    text = factors.table(found, 1000)
    assert "| default settings | 1 |" in text and "| learning rate / 2 | 1 |" in text


def test_a_variant_is_measured_against_the_default_settings_on_the_same_queries(bench):
    bench = replace(bench, variants={factors.cell_name("plain head"): Sharprank()}, variant_queries=3)
    ours, variant = Cell("scifact", OURS, TOKENS, 42), Cell("scifact", factors.cell_name("plain head"), TOKENS, 42)
    write_cell(bench, ours, good=True)
    write_cell(bench, variant, good=False)
    base, other = factors.figures(bench, done_of(bench, [ours, variant]))
    assert "p" not in base and base["validation"]["alone"] == base["test"]["alone"] == 1
    assert other["difference"] == -1 and other["p"] == pytest.approx(2 / 2**6, abs=1e-4)  # 3 queries of each split
    assert other["test"] == {"first": 0.5, "alone": 0, "fused": 0.5}


def test_factors_on_another_machine_go_on_from_what_is_kept(data, tmp_path, monkeypatch, capsys):
    trained = []
    monkeypatch.setattr(factors, "run_cell", lambda bench, cell: bench.kept.get(cell) or trained.append(cell))
    variant = factors.cell_name("plain head")
    here = Bench(data=data, work=tmp_path / "here", variants={variant: Sharprank({"pooling": "plain"})})
    for name, good in ((OURS, True), (variant, False)):
        write_cell(here, Cell("scifact", name, TOKENS, 42), good=good)
    flags = ["--data", data, "--collections", "scifact", "--only", "default settings", "plain head"]
    flags += ["--kept", tmp_path / "cells.jsonl.gz", "--output", tmp_path / "factors.json"]
    printed = []
    for place in ("here", "elsewhere"):
        factors.main([str(flag) for flag in (*flags, "--work", tmp_path / place)])
        printed.append(capsys.readouterr().out)
        trained.append(place)
        rows = read_lines(tmp_path / "cells.jsonl.gz")
        write_jsonl(tmp_path / "cells.jsonl.gz", [*rows, rows[0] | {"collection": "mediqa2019"}])  # it is not here
    assert printed[0] == printed[1] and "| plain head | 1 | 0.0000 |" in printed[0]
    cells = [Cell("scifact", name, TOKENS, 42) for name in (OURS, variant)]
    assert trained == [*cells, "here", "elsewhere"]


# --- recipes that are more than flags ----------------------------------------------------------------------------


@pytest.fixture
def rows(tmp_path) -> Path:
    """Mined rows to train a step or two on."""
    path = tmp_path / "rows.jsonl"
    write_jsonl(path, ({"query": f"find {thing}", "pos": [thing], "neg": THINGS[:8]} for thing in THINGS[8:24]))
    return path


def train_tiny(recipe, rows: Path, output: Path, tiny_bert, *, steps: int = 2) -> Effort:
    return recipe.train(rows, tiny_bert, output, steps=steps, seed=1, max_len=32)


@pytest.mark.slow
def test_averaged_weights_are_the_mean_of_the_checkpoints(rows, tmp_path, tiny_bert):
    flags = {"model_name_or_path": tiny_bert, "learning_rate": 1e-2}
    kept = {**flags, "save_strategy": "steps", "save_steps": 1}
    train_tiny(Sharprank(kept), rows, tmp_path / "kept", tiny_bert)
    train_tiny(Averaged(flags, num=2, every=0.5), rows, tmp_path / "mean", tiny_bert)
    first, second = (load_file(tmp_path / "kept" / f"checkpoint-{step}" / "model.safetensors") for step in (1, 2))
    found = load_file(tmp_path / "mean" / "model.safetensors")
    for name, tensor in found.items():
        np.testing.assert_allclose(tensor, (first[name] + second[name]) / 2, atol=1e-7)
    assert any(not np.allclose(first[name], second[name]) for name in found)
    assert not list((tmp_path / "mean").glob("checkpoint-*"))


@pytest.mark.slow
def test_passes_count_in_the_place_of_steps(rows, tmp_path, tiny_bert):
    recipe = Sharprank({"model_name_or_path": tiny_bert, "train_group_size": 4}, passes=2)
    effort = train_tiny(recipe, rows, tmp_path / "model", tiny_bert, steps=1)
    assert effort.steps == 2 * len(read_lines(rows)) // 8


@pytest.mark.slow
def test_a_temperature_is_the_scale_of_the_similarities_at_the_start(rows, tmp_path, tiny_bert):
    flags = {"model_name_or_path": tiny_bert, "pooling": "late", "learning_rate": 1e-9, "train_group_size": 4}
    train_tiny(Scaled(flags, scale=10.0), rows, tmp_path / "model", tiny_bert, steps=1)
    found = load_file(tmp_path / "model" / "model.safetensors")
    np.testing.assert_allclose(found["score.token_scale"] + found["score.text_scale"], 10, atol=1e-5)


@pytest.mark.slow
def test_a_warm_start_trains_on_made_up_rows_before_the_real_ones(rows, tmp_path, tiny_bert, monkeypatch):
    write_jsonl(tmp_path / "made_up.jsonl", read_lines(rows)[:10])
    seen: list[tuple[str, str]] = []
    run = with_sharprank.command

    def watched(name, flags):
        seen.append((Path(flags["train_data"]).name, str(flags["model_name_or_path"])))
        run(name, flags)

    monkeypatch.setattr(with_sharprank, "command", watched)
    recipe = WarmStart({"model_name_or_path": tiny_bert, "distillation_weight": 0})
    effort = train_tiny(recipe, rows, tmp_path / "model", tiny_bert, steps=4)
    trained = [data for data, _ in seen[2:]]  # after two looks at the pace
    assert trained == ["made_up.jsonl", "rows.jsonl"]
    assert effort.steps == 3 + 2  # 10 made-up rows are steps of 8 and 2, so 16 groups are nearest to 8 + 2 + 8
    assert (tmp_path / "model" / "model.safetensors").exists()
    assert seen[3][1] != seen[2][1]


def test_a_teacher_of_several_scores_their_mean():
    one, two = ({"query": "q", "pos_scores": [a], "neg_scores": [a, 2 * a]} for a in (1.0, 3.0))
    assert variants._mean_scores(one, two) == {"query": "q", "pos_scores": [2.0], "neg_scores": [2.0, 4.0]}


@pytest.mark.slow
def test_a_trained_reranker_goes_on_from_where_it_is(rows, tmp_path, tiny_bert, monkeypatch):
    start = tmp_path / "start" / "seed-1"
    shutil.copytree(tiny_bert, start)
    shutil.copytree(tiny_bert, tmp_path / "start" / "ranks-1")
    weights = tmp_path / "start" / "ranks-1" / "model.safetensors"
    moved = {name: tensor + 0.01 for name, tensor in load_file(weights).items()}
    save_file(moved, weights, metadata={"format": "pt"})
    Continued({"learning_rate": 1e-9}).train(rows, start, tmp_path / "model", steps=1, seed=1, max_len=32)
    found = load_file(tmp_path / "model" / "model.safetensors")
    for name, tensor in found.items():
        np.testing.assert_allclose(tensor, moved[name], atol=1e-6)
