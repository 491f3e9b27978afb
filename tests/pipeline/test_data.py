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


def test_training_queries_among_the_evaluation_rows_are_said(world, capsys):
    settings = config(world, eval_data=str(world / "pairs.jsonl"))
    prepare_data(settings, plan_data(settings))
    assert "36 queries of --eval_data are training queries as well" in capsys.readouterr().err


def test_other_settings_do_not_overwrite_the_data(world):
    settings = config(world)
    prepare_data(settings, plan_data(settings))
    other = config(world, held_out_share=0.5)
    with pytest.raises(UserError, match=r"held_out_share 0.2, not 0.5"):
        prepare_data(other, plan_data(other))
    prepare_data(config(world, held_out_share=0.5, overwrite=True), plan_data(other))


def test_a_collection_with_a_validation_split_keeps_all_rows_for_training(world, tmp_path):
    first = config(world)
    prepare_data(first, plan_data(first))
    folder = plan_data(first).collection
    settings = config(world, eval_data=folder, eval_split="test", validation_split="validation", overwrite=True)
    data = plan_data(settings)
    assert data.validation == (folder, "validation") and data.train_data == settings.train_data
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
    assert len(kept.qrels) == 4 and len(train.splitlines()) == 32
    assert not any(json.dumps(query) in train for query in kept.queries.values())
