"""The data of a run: whole queries held out, evaluation rows turned into a collection, nothing lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sharprank.errors import UserError
from sharprank.formats.collections import read_collection
from sharprank.pipeline.config import RunConfig
from sharprank.pipeline.data import plan_data, prepare_data


def config(world, **more) -> RunConfig:
    return RunConfig(train_data=str(world / "pairs.jsonl"), output_dir=str(world / "out"), **more)


def test_held_out_queries_become_a_collection_in_the_pool(world):
    settings = config(world, candidate_pool=str(world / "pool.jsonl"))
    data = plan_data(settings)
    prepare_data(settings, data)
    collection = read_collection(data.collection, split=data.split)
    validation = read_collection(data.validation[0], split=data.validation[1])
    train = [json.loads(line) for line in Path(data.train_data).read_text(encoding="utf-8").splitlines()]
    assert (len(collection.qrels), len(validation.qrels), len(train)) == (7, 3, 26)
    assert len(collection.passages) == 48
    assert not {row["query"] for row in train} & set(collection.queries.values())
    assert not set(collection.qrels) & set(validation.qrels)
    for query_id, judged in collection.qrels.items():
        (passage_id,) = judged
        colour, animal = collection.queries[query_id].split()[3:5]
        assert f"this {animal} is {colour} " in collection.passages[passage_id]


def test_without_a_pool_the_rows_own_texts_are_searched(world):
    settings = config(world)
    data = plan_data(settings)
    prepare_data(settings, data)
    assert len(read_collection(data.collection, split="test").passages) == 36
    assert data.candidate_pool == f"{data.collection}/corpus.jsonl"


def test_rows_of_one_query_become_one_judged_query(world):
    held = [{"query": "Where?", "pos": ["here"]}, {"query": "where? ", "pos": ["here", "there"], "neg": ["nowhere"]}]
    (world / "eval.jsonl").write_text("".join(json.dumps(row) + "\n" for row in held))
    settings = config(world, eval_data=str(world / "eval.jsonl"))
    data = plan_data(settings)
    prepare_data(settings, data)
    collection = read_collection(data.collection, split="test")
    assert [collection.queries[query_id] for query_id in collection.qrels] == ["Where?"]
    assert [collection.passages[p] for p in collection.qrels["q0"]] == ["here", "there"]
    assert "nowhere" in collection.passages.values()


def test_the_split_named_of_evaluation_rows_is_the_one_that_is_read(world):
    for split in ("dev", "test"):
        (world / "eval").mkdir(exist_ok=True)
        (world / "eval" / f"{split}.jsonl").write_text(json.dumps({"query": split, "pos": ["here"]}) + "\n")
    settings = config(world, eval_data=str(world / "eval"), eval_split="dev")
    data = plan_data(settings)
    prepare_data(settings, data)
    assert "dev" in read_collection(data.collection, split="test").queries.values()
    file = config(world, eval_data=str(world / "eval" / "dev.jsonl"), eval_split="dev", overwrite=True)
    with pytest.raises(UserError, match="is a file and has no split 'dev'"):
        prepare_data(file, plan_data(file))


def rows_in(path) -> list[dict]:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def shouting(queries) -> list[str]:
    """The same queries to whoever folds them."""
    return [f" {query.upper()} " for query in queries]


def collection_of(folder, **queries_of_splits) -> str:
    """A folder with these queries judged in these splits."""
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text('{"_id": "p", "text": "here"}\n')
    ids = {}
    for split, queries in queries_of_splits.items():
        judged = [ids.setdefault(query, f"q{len(ids)}") for query in queries]
        lines = "".join(f"{query_id}\tp\t1\n" for query_id in judged)
        (folder / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\n" + lines)
    queries = ({"_id": query_id, "text": query} for query, query_id in ids.items())
    (folder / "queries.jsonl").write_text("".join(json.dumps(query) + "\n" for query in queries))
    return str(folder)


def test_training_queries_among_the_evaluation_rows_are_left_out_of_training_and_said(world, capsys):
    given = rows_in(world / "pairs.jsonl")
    held = [
        {**row, "query": query}
        for row, query in zip(given[:6], shouting(row["query"] for row in given[:6]), strict=True)
    ]
    (world / "eval.jsonl").write_text("".join(json.dumps(row) + "\n" for row in held))
    settings = config(world, eval_data=str(world / "eval.jsonl"))
    data = plan_data(settings)
    prepare_data(settings, data)
    said = "6 queries of --train_data (6 rows) are measured on in --eval_data as well and are left out of training"
    assert said in capsys.readouterr().err
    assert not {row["query"] for row in rows_in(data.train_data)} & {row["query"] for row in given[:6]}
    assert len(read_collection(data.collection, split="test").qrels) == 6


def test_training_queries_that_a_collection_measures_are_left_out_before_a_share_is_kept_to_weigh_by(world, capsys):
    given = rows_in(world / "pairs.jsonl")
    measured = [row["query"] for row in given[:6]]
    folder = collection_of(world / "judged", test=[*shouting(measured), "another"], dev=[given[7]["query"]])
    settings = config(world, eval_data=folder)
    data = plan_data(settings)
    prepare_data(settings, data)
    assert "6 queries of --train_data (6 rows) are measured on" in capsys.readouterr().err
    validation = read_collection(*data.validation[:1], split="validation")
    kept = [row["query"] for row in rows_in(data.train_data)]
    assert len(kept) + len(validation.qrels) == 30 and given[7]["query"] in {*kept, *validation.queries.values()}
    assert not set(measured) & {*kept, *validation.queries.values()}
    other = config(world, eval_data=folder, eval_split="dev")
    with pytest.raises(UserError, match='eval_split null, not "dev"'):
        prepare_data(other, plan_data(other))


def test_training_queries_that_are_measured_or_weighed_on_are_left_out_where_the_collection_has_both(world, capsys):
    given = rows_in(world / "pairs.jsonl")
    queries = [row["query"] for row in given]
    folder = collection_of(world / "judged", test=queries[:3], dev=shouting(queries[5:7]), train=queries[8:])
    settings = config(world, eval_data=folder, validation_split="dev")
    data = plan_data(settings)
    prepare_data(settings, data)
    assert "5 queries of --train_data (5 rows) are measured on" in capsys.readouterr().err
    assert rows_in(data.train_data) == [*given[3:5], *given[7:]]
    (Path(folder) / "notes.txt").write_text("a file that nothing reads")
    prepare_data(settings, data)
    assert "done before" in capsys.readouterr().err
    everything = config(world, eval_data=folder, eval_split="train", validation_split="test", overwrite=True)
    everything.train_data = str(world / "few.jsonl")
    Path(everything.train_data).write_text("".join(json.dumps(row) + "\n" for row in given[8:12]))
    with pytest.raises(UserError, match="all 4 queries of --train_data"):
        prepare_data(everything, plan_data(everything))


@pytest.mark.parametrize("more", [{}, {"validation_split": "dev"}])
@pytest.mark.parametrize(("file", "name"), [("corpus.jsonl", "p"), ("queries.jsonl", "q1"), ("qrels/test.tsv", "q0")])
def test_a_collection_that_the_first_stage_could_not_rank_is_refused_before_anything_is_written(
    world, more, file, name
):
    queries = [row["query"] for row in rows_in(world / "pairs.jsonl")]
    folder = Path(collection_of(world / "judged", test=queries[:3], dev=queries[5:7]))
    for path in [folder / file, *(folder / "qrels").iterdir()]:
        path.write_text(path.read_text().replace(f'"{name}"', f'"{name} x"').replace(f"{name}\t", f"{name} x\t"))
    settings = config(world, eval_data=str(folder), **more)
    with pytest.raises(UserError, match=f"id '{name} x' cannot stand in a TREC run|judged queries have no text"):
        prepare_data(settings, plan_data(settings))
    assert not (world / "out" / "data" / "train.jsonl").exists()


def test_other_settings_do_not_overwrite_the_data(world):
    settings = config(world)
    prepare_data(settings, plan_data(settings))
    other = config(world, held_out_share=0.5)
    with pytest.raises(UserError, match=r"held_out_share 0.2, not 0.5"):
        prepare_data(other, plan_data(other))
    prepare_data(config(world, held_out_share=0.5, overwrite=True), plan_data(other))


def test_a_collection_with_a_validation_split_keeps_all_other_rows_for_training(world, tmp_path, capsys):
    first = config(world)
    prepare_data(first, plan_data(first))
    folder = plan_data(first).collection
    settings = config(world, eval_data=folder, eval_split="test", validation_split="validation", overwrite=True)
    data = plan_data(settings)
    assert data.validation == (folder, "validation")
    settings.train_data = str(tmp_path / "others.jsonl")
    others = [{**row, "query": f"{row['query']}?"} for row in rows_in(world / "pairs.jsonl")]
    Path(settings.train_data).write_text("".join(json.dumps(row) + "\n" for row in others))
    settings.output_dir = str(tmp_path / "second")
    data = plan_data(settings)
    prepare_data(settings, data)
    assert rows_in(data.train_data) == others and "left out" not in capsys.readouterr().err
    with pytest.raises(UserError, match="--validation_split dev names a split of a collection"):
        plan_data(config(world, validation_split="dev"))


def test_a_collection_without_one_is_measured_on_as_it_is_and_training_rows_are_kept_apart(world, tmp_path):
    first = config(world)
    prepare_data(first, plan_data(first))
    measured = plan_data(first).collection
    settings = config(world, eval_data=measured, eval_split="test")
    settings.output_dir = str(tmp_path / "second")
    data = plan_data(settings)
    prepare_data(settings, data)
    assert data.collection == measured and data.validation == (str(tmp_path / "second" / "data"), "validation")
    kept = read_collection(*data.validation[:1], split="validation")
    train = Path(data.train_data).read_text(encoding="utf-8")
    assert len(kept.qrels) == 3 and len(train.splitlines()) == 26
    apart = {*kept.queries.values(), *read_collection(measured, split="test").queries.values()}
    assert not any(json.dumps(query) in train for query in apart)
