"""Collections as ranking tasks: which queries count, what is re-ranked, what is refused."""

import pytest

from sharprank.errors import UserError
from sharprank.evaluation.collection import collection_folder, collection_task, read_collection_task
from sharprank.records import Collection

from .conftest import CORPUS, QRELS, QUERIES, config, write_collection


def read(path, **changes):
    settings = config(path, **changes)
    return read_collection_task(settings, collection_folder(settings) or "")


def test_bm25_is_the_default_first_stage(collection_path):
    task = read(collection_path)
    assert task.first_stage_name == "BM25"
    assert task.candidates["q1"][0] == "p1"


def test_only_judged_queries_count_and_the_others_are_counted(collection_path):
    task = read(collection_path)
    assert set(task.qrels) == set(QRELS)
    assert "q5" not in task.candidates
    assert task.counts["queries without judgements"] == 1
    assert any("1 queries have no judgements" in note for note in task.notes)


def test_a_judged_query_without_candidates_stays_and_is_counted(collection_path):
    task = read(collection_path)
    assert "q4" in task.qrels and "q4" not in task.candidates
    assert any("1 judged queries have no candidates" in note and "0" in note for note in task.notes)


def test_a_run_is_cut_at_the_depth_and_the_rest_kept_behind(collection_path, run_path):
    task = read(collection_path, run=str(run_path), depth=2)
    assert task.candidates["q1"] == ["p4", "p5"] and task.tails["q1"] == ["p1"]
    assert task.candidates["q3"] == ["p4", "p3"] and task.tails["q3"] == []
    assert str(run_path) in task.input_paths
    assert any(path.endswith("test.tsv") for path in task.input_paths)


def test_ties_at_the_depth_are_cut_by_id_and_never_by_relevance():
    collection = Collection({p: p for p in "abc"}, {"q": "q"}, {"q": {"c": 1}}, "test")
    for order in ("abc", "cba"):
        run = {"q": dict.fromkeys(order, 1.0)}
        assert collection_task(collection, run, depth=2, first_stage_name="x").candidates == {"q": ["a", "b"]}


def test_a_sub_folder_can_be_named_with_sd(tmp_path, collection_path):
    settings = config(tmp_path, sub_data_name="collection")
    assert collection_folder(settings) == str(collection_path)


def test_an_unknown_subset_of_a_collection_is_refused(collection_path):
    with pytest.raises(UserError, match="'nope'"):
        collection_folder(config(collection_path, sub_data_name="nope"))


def test_rows_are_no_collection(rows_path):
    assert collection_folder(config(rows_path)) is None


def test_an_unknown_split_names_those_there(collection_path):
    with pytest.raises(UserError) as error:
        read(collection_path, split="nope")
    assert "test" in str(error.value)


def test_a_judged_query_without_text_is_refused(tmp_path):
    path = write_collection(tmp_path / "c", CORPUS, {"q1": "red apple"}, {"test": QRELS})
    with pytest.raises(UserError, match="q2"):
        read(path)


def test_judged_passages_without_text_are_counted(tmp_path):
    path = write_collection(tmp_path / "c", CORPUS, QUERIES, {"test": {**QRELS, "q1": {"p1": 1, "lost": 1}}})
    task = read(path)
    assert task.counts["judged passages without text"] == 1
    assert any("never found" in note for note in task.notes)


def test_a_run_with_unknown_passages_is_refused(collection_path, tmp_path):
    path = tmp_path / "other.trec"
    path.write_text("q1 Q0 stranger 1 3.0 x\n")
    with pytest.raises(UserError, match=r"'q1'.*'stranger'"):
        read(collection_path, run=str(path))


def test_a_run_of_other_queries_is_refused(collection_path, tmp_path):
    path = tmp_path / "other.trec"
    path.write_text("x9 Q0 p1 1 3.0 x\n")
    with pytest.raises(UserError, match=r"none of the 4 judged queries.*'x9'"):
        read(collection_path, run=str(path))


def test_a_run_that_is_not_there_is_refused(collection_path):
    with pytest.raises(UserError, match=r"missing\.trec"):
        read(collection_path, run="missing.trec")


def test_a_bi_encoder_can_be_the_first_stage(collection_path, tiny_encoder):
    task = read_collection_task(
        config(collection_path, first_stage=str(tiny_encoder), depth=2, device="cpu"), str(collection_path)
    )
    assert task.first_stage_name == tiny_encoder.name
    assert all(len(ids) == 2 for ids in task.candidates.values()) and len(task.candidates) == 4
    assert all(len(task.first_stage[query_id]) == len(CORPUS) for query_id in QRELS)


def test_a_bi_encoders_vectors_are_kept_and_used_again(collection_path, tiny_encoder, tmp_path, monkeypatch):
    from sharprank.models.bi_encoder import BiEncoder

    asked, encode = [], BiEncoder.encode

    def counted(self, texts, *, kind, **more):
        asked.append(kind)
        return encode(self, texts, kind=kind, **more)

    monkeypatch.setattr(BiEncoder, "encode", counted)
    flags = {"first_stage": str(tiny_encoder), "device": "cpu", "embedding_cache": str(tmp_path / "kept")}
    runs = [read_collection_task(config(collection_path, **flags), str(collection_path)).first_stage for _ in range(2)]
    assert runs[0] == runs[1]
    assert asked == ["passage", "query", "query"]


def test_a_run_and_a_bi_encoder_are_not_both_the_first_stage(collection_path, run_path):
    with pytest.raises(UserError, match="both name the first stage"):
        config(collection_path, run=str(run_path), first_stage="minilm").check()
