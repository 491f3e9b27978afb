"""Mining from file to file."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest

from sharprank.errors import UserError
from sharprank.mining import mine as mine_module
from sharprank.mining.config import MineConfig
from sharprank.mining.inputs import read_inputs, settings_with_contents
from sharprank.mining.mine import mine

ADJECTIVES = "green red blue fast slow".split()
NOUNS = "apple banana cat dog fish tree river house".split()
VERBS = "find read write sort search map".split()


def write_rows(path: Path, rows) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def read_rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def rows() -> list[dict]:
    """Thirty rows with ids, in words the tiny models know."""
    draw = random.Random(3)

    def sentence(words: int) -> str:
        return " ".join(draw.choice(draw.choice([ADJECTIVES, NOUNS, VERBS])) for _ in range(words))

    return [
        {"id": i, "query": sentence(4), "pos": [sentence(9)], "neg": [sentence(draw.randint(1, 30))], "type": "t"}
        for i in range(30)
    ]


@pytest.fixture
def paths(tmp_path, rows) -> dict[str, str]:
    write_rows(tmp_path / "in.jsonl", rows)
    return {"input_file": str(tmp_path / "in.jsonl"), "output_file": str(tmp_path / "out.jsonl")}


@pytest.fixture
def flags(paths, tiny_encoder) -> dict:
    return {
        **paths,
        "model_name_or_path": str(tiny_encoder),
        "range_for_sampling": "2-30",
        "negative_number": 5,
        "device": "cpu",
    }


def with_numbers(paths, encoder, **more):
    """Mine with the encoder of readable similarities."""
    config = MineConfig(**({**paths, "range_for_sampling": "0-20", "negative_number": 5} | more))
    return mine(config, load_encoder=lambda config: encoder)


# --- the same bytes ---------------------------------------------------------------------------------------------


def test_rows_come_out_in_their_order_with_their_keys_and_mined_negatives(flags, rows):
    result = mine(MineConfig(**flags))
    mined = read_rows(result.output_path)
    assert all(list(row)[: len(before)] == list(before) for row, before in zip(mined, rows, strict=True))
    assert [(r["id"], r["query"], r["pos"], r["type"]) for r in mined] == [
        (r["id"], r["query"], r["pos"], r["type"]) for r in rows
    ]
    pool = {text for row in rows for text in (*row["pos"], *row["neg"])}
    for row in mined:
        assert len(set(row["neg"])) == 5
        assert set(row["neg"]) <= pool - set(row["pos"])


@pytest.mark.parametrize("batches", [(1, 1), (7, 3), (1000, 5000)])
def test_batch_sizes_change_no_byte(flags, tmp_path, batches):
    first = mine(MineConfig(**flags, output_scores=True)).output_path.read_bytes()
    again = flags | {"output_file": str(tmp_path / "again.jsonl")}
    result = mine(MineConfig(**again, output_scores=True, batch_size=batches[0], search_batch_size=batches[1]))
    assert result.output_path.read_bytes() == first


def test_another_seed_gives_other_negatives(flags, tmp_path):
    first = read_rows(mine(MineConfig(**flags)).output_path)
    other = read_rows(mine(MineConfig(**flags | {"output_file": str(tmp_path / "o.jsonl")}, seed=7)).output_path)
    assert sum(a["neg"] != b["neg"] for a, b in zip(first, other, strict=True)) > 20


@pytest.mark.parametrize("top_up", ["none", "random"])
def test_the_order_of_the_rows_decides_nothing(flags, rows, tmp_path, top_up):
    flags |= {"top_up": top_up, "range_for_sampling": "2-9", "output_scores": True}
    first = {row["id"]: row for row in read_rows(mine(MineConfig(**flags)).output_path)}
    shuffled = random.Random(5).sample(rows, len(rows))
    flags |= {
        "input_file": str(write_rows(tmp_path / "shuffled.jsonl", shuffled)),
        "output_file": str(tmp_path / "again.jsonl"),
    }
    assert {row["id"]: row for row in read_rows(mine(MineConfig(**flags)).output_path)} == first


def test_minilm_mines_the_same_bytes_whatever_the_batch(paths, tmp_path, minilm):
    flags = paths | {"model_name_or_path": "minilm", "range_for_sampling": "0-20", "negative_number": 5}
    outputs = []
    for batch in (3, 2048):
        flags["output_file"] = str(tmp_path / f"{batch}.jsonl")
        config = MineConfig(**flags, output_scores=True, device="cpu", batch_size=batch, search_batch_size=batch)
        outputs.append(mine(config).output_path.read_bytes())
    assert outputs[0] == outputs[1]


def test_a_run_with_an_embedding_cache_gives_the_same_bytes_twice(flags, tmp_path):
    plain = mine(MineConfig(**flags)).output_path.read_bytes()
    for name in ("one", "two"):
        cached = flags | {"output_file": str(tmp_path / name), "embedding_cache": str(tmp_path / "cache")}
        assert mine(MineConfig(**cached)).output_path.read_bytes() == plain


# --- the pool ---------------------------------------------------------------------------------------------------


def test_negatives_come_from_the_candidate_pool_when_there_is_one(paths, encoder, ladder, tmp_path):
    pool = write_rows(tmp_path / "pool.jsonl", [{"text": text} for text in [*ladder, *ladder]])
    result = with_numbers(paths, encoder, candidate_pool=str(pool), range_for_sampling="2-7")
    assert all(row["neg"] == ladder[2:7] for row in read_rows(result.output_path))
    assert result.stats["pool"] == {"passages": 40, "duplicates": 40, "skipped": {}}


def test_titles_stand_before_texts_in_the_pool(paths, encoder, tmp_path):
    pool = write_rows(tmp_path / "pool.jsonl", [{"_id": str(i), "title": "T", "text": f"0.{i}"} for i in range(10, 20)])
    result = with_numbers(paths, encoder, candidate_pool=str(pool), range_for_sampling="0-5")
    assert read_rows(result.output_path)[0]["neg"] == [f"T 0.{i}" for i in range(19, 14, -1)]


def test_the_pool_of_a_collection_folder_is_its_corpus_without_queries_and_blanks(paths, encoder, tmp_path):
    folder = tmp_path / "collection"
    (folder / "qrels").mkdir(parents=True)
    passages = [{"_id": str(i), "title": "T", "text": f"0.{i}"} for i in range(10, 30)]
    write_rows(folder / "corpus.jsonl", [*passages, {"_id": "blank", "title": "", "text": " "}])
    write_rows(folder / "queries.jsonl", [{"_id": "q", "text": "a query 0.99"}])
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\t10\t1\n")
    result = with_numbers(paths, encoder, candidate_pool=str(folder), range_for_sampling="0-20", negative_number=20)
    assert set(read_rows(result.output_path)[0]["neg"]) == {f"T 0.{i}" for i in range(10, 30)}
    assert result.stats["pool"]["passages"] == 20
    (folder / "runs").mkdir()
    (folder / "runs" / "bm25.trec").write_text("q Q0 10 1 2.5 bm25\n")  # what is not read does not count
    flags = {"candidate_pool": str(folder), "range_for_sampling": "0-20", "negative_number": 20}
    assert with_numbers(paths, encoder, **flags).was_done


def test_a_bad_passage_is_named_by_file_and_line_or_skipped(paths, encoder, tmp_path):
    pool = write_rows(tmp_path / "pool.jsonl", [{"text": f"t {i}"} for i in range(30)] + [{"text": None}])
    with pytest.raises(UserError, match=r"pool\.jsonl:31"):
        with_numbers(paths, encoder, candidate_pool=str(pool))
    skipped = with_numbers(paths, encoder, candidate_pool=str(pool), on_bad_row="skip")
    assert skipped.stats["pool"]["skipped"] == {"passage without text": 1}
    assert skipped.stats["rows"]["skipped"] == {}


def test_one_query_with_many_positives_asks_no_more_candidates_for_all(paths, encoder, rows, tmp_path):
    rows[0]["pos"] = [f"positive {i} 0.5" for i in range(50)]
    write_rows(Path(paths["input_file"]), rows)
    result = with_numbers(paths, encoder, range_for_sampling="0-9", top_up="random")
    assert result.stats["negatives"]["missing"] == 0
    assert result.stats["ranks"] == "1-9"
    lonely = next(row for row in read_rows(result.output_path) if row["id"] == 0)
    assert not any(text.startswith("positive") for text in lonely["neg"])


def test_the_pool_is_checked_before_a_model_loads(paths, tmp_path):
    def never(config):
        raise AssertionError("a model was loaded")

    pool = write_rows(tmp_path / "pool.jsonl", [{"text": f"text {i}"} for i in range(80)])
    with pytest.raises(UserError, match="pool holds 80 passages"):
        mine(MineConfig(**paths, candidate_pool=str(pool), range_for_sampling="100-200"), load_encoder=never)
    with pytest.raises(UserError, match="hold 70 candidates"):
        mine(MineConfig(**paths, candidate_pool=str(pool), negative_number=100), load_encoder=never)


def test_a_range_longer_than_the_pool_is_cut_and_said(paths, encoder, capsys):
    result = with_numbers(paths, encoder, range_for_sampling="2-500")
    assert result.stats["ranks"] == "3-60"
    assert "the pool holds 60 passages" in capsys.readouterr().err


# --- sources, scores, teacher ---------------------------------------------------------------------------------------


def collection(tmp_path, texts) -> str:
    """A pool with ids p0, p1, ..."""
    return str(write_rows(tmp_path / "pool.jsonl", [{"_id": f"p{i}", "text": text} for i, text in enumerate(texts)]))


def test_bm25_and_a_run_give_negatives_without_any_encoder(paths, tmp_path, rows):
    pool = collection(tmp_path, [f"{row['query']} {i}" for i, row in enumerate(rows)])
    run = tmp_path / "first.trec"
    run.write_text("".join(f"{row['id']} Q0 p{i} {i} {-i} x\n" for row in rows for i in range(30)))

    def never(config):
        raise AssertionError("a model was loaded")

    config = MineConfig(
        **paths, candidate_pool=pool, sources=f"bm25:1,{run}:2", range_for_sampling="0-9", negative_number=6,
        output_scores=True,
    )  # fmt: skip
    result = mine(config, load_encoder=never)
    mined = read_rows(result.output_path)
    assert result.stats["negatives_by_source"][str(run)] >= 4 * 30 - 30
    for row in mined:
        of_run = [name for name, source in zip(row["neg_id"], row["neg_source"], strict=True) if source == str(run)]
        assert set(of_run) <= {f"p{i}" for i in range(9)}
        assert "neg_similarity" not in row and "pos_similarity" not in row
    assert result.stats["encoder"] is None


def test_two_encoders_each_find_their_share(paths, tmp_path, encoder, ladder):
    class Backwards(type(encoder)):
        """Likes best what the other likes least."""

        def encode(self, texts, **options):
            vectors = super().encode(texts, **options)
            return vectors if options["kind"] == "query" else vectors[:, ::-1]

    asked = []

    def load(config):
        asked.append((config.model_name_or_path, config.query_instruction_for_retrieval))
        return encoder if config.model_name_or_path == "first" else Backwards("backwards")

    other = tmp_path / "other"
    (other).mkdir()
    for name in ("config.json", "tokenizer.json"):
        (other / name).write_text("{}")
    config = MineConfig(
        **paths, candidate_pool=collection(tmp_path, ladder), model_name_or_path="first", sampling="top",
        sources=f"dense:2,{other}:1", range_for_sampling="0-10", negative_number=6, output_scores=True,
        query_instruction_for_retrieval="find ",
    )  # fmt: skip
    mined = read_rows(mine(config, load_encoder=load).output_path)
    assert asked == [("first", "find "), (str(other), None)]
    assert mined[0]["neg"] == [ladder[0], ladder[39], ladder[1], ladder[38], ladder[2], ladder[3]]
    assert mined[0]["neg_source"] == ["dense", str(other)] * 2 + ["dense"] * 2
    assert mined[0]["neg_similarity"][1] == pytest.approx(0.21)  # the first encoder's, whoever found it


def test_a_positive_of_a_row_that_asks_nearly_the_same_is_no_negative(paths, encoder, ladder, tmp_path):
    query = "find the table of the house that has a red door and a green tree at the river"
    rows = [{"query": query, "pos": [ladder[0]]}, {"query": f"please {query}", "pos": [ladder[1]]}]
    write_rows(Path(paths["input_file"]), rows)
    flags = {"candidate_pool": collection(tmp_path, ladder), "range_for_sampling": "0-5"}
    first, second = read_rows(with_numbers(paths, encoder, **flags).output_path)
    assert first["neg"] == second["neg"] == ladder[2:5]
    refused = with_numbers(paths, encoder, **flags, overwrite=True).stats["refused_candidates"]
    assert refused == {"positive": 2, "positive of a row that asks nearly the same": 2}
    off = with_numbers(paths, encoder, **flags, near_duplicate=2.0, overwrite=True)
    assert read_rows(off.output_path)[0]["neg"] == ladder[1:5]


def test_a_margin_needs_no_score_in_the_output(paths, encoder, ladder, tmp_path, rows):
    for row in rows:
        row["pos"] = ["outside the pool 0.90"]
    write_rows(Path(paths["input_file"]), rows)
    flags = {"candidate_pool": collection(tmp_path, ladder), "range_for_sampling": "0-20", "negative_number": 20}
    result = with_numbers(paths, encoder, **flags, false_negatives="topk_percpos", output_scores=False)
    assert read_rows(result.output_path)[0]["neg"] == ladder[7:20]
    assert result.stats["refused_candidates"] == {"score within the relative margin of a positive's": 7 * 30}
    assert "neg_similarity" not in read_rows(result.output_path)[0]


@pytest.mark.parametrize("kind", ["tiny_bert", "tiny_qwen3"])
def test_a_teacher_leaves_scores_that_are_its_own(flags, tmp_path, request, kind):
    from sharprank.models.scoring import PairScorer

    teacher = request.getfixturevalue(kind)
    result = mine(MineConfig(**flags, teacher=str(teacher), teacher_margin=-100.0, keep_existing=True))
    scorer = PairScorer.load(str(teacher), device="cpu")
    for row in read_rows(result.output_path)[:5]:
        for texts, scores in ((row["pos"], row["pos_scores"]), (row["neg"], row["neg_scores"])):
            assert scores == pytest.approx(scorer.score([(row["query"], text) for text in texts]), abs=2e-4)
    assert result.stats["teacher"]["model"] == str(teacher)
    assert (result.stats["teacher"]["prompt"] is None) == (kind == "tiny_bert")
    assert result.stats["negative_teacher_score"]["median"] is not None


def test_a_teacher_that_cannot_judge_is_refused_before_anything_is_embedded(paths, encoder, tmp_path, tiny_encoder):
    with pytest.raises(UserError, match="no-teacher"):
        with_numbers(paths, encoder, teacher=str(tmp_path / "no-teacher"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty"):
        with_numbers(paths, encoder, teacher=str(tmp_path / "empty"))
    assert encoder.asked == []


def test_a_report_that_would_replace_something_else_is_refused_before_anything_is_embedded(paths, encoder, tmp_path):
    (tmp_path / "mine.html").write_text("<p>my page</p>")
    for path, problem in ((tmp_path, "is a folder"), (tmp_path / "mine.html", "no report of sharprank")):
        with pytest.raises(UserError, match=problem):
            with_numbers(paths, encoder, report=str(path))
    with pytest.raises(UserError, match="output_candidates"):
        with_numbers(paths, encoder, output_candidates=str(tmp_path))
    assert encoder.asked == [] and (tmp_path / "mine.html").read_text() == "<p>my page</p>"


def test_a_run_that_dies_while_the_teacher_works_continues_to_the_same_bytes(flags, tiny_bert, tmp_path, monkeypatch):
    from sharprank.mining import negatives, teacher
    from sharprank.models.scoring import PairScorer

    monkeypatch.setattr(teacher, "CHUNK_PAIRS", 16)
    monkeypatch.setattr(negatives, "ROWS_AT_ONCE", 8)
    flags |= {"teacher": str(tiny_bert), "output_scores": True}
    whole = mine(MineConfig(**flags, embedding_cache=str(tmp_path / "a"))).output_path.read_bytes()
    real, left = PairScorer.score, [7]

    def dying(self, *args, **options):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return real(self, *args, **options)

    flags |= {"output_file": str(tmp_path / "again.jsonl"), "embedding_cache": str(tmp_path / "b")}
    monkeypatch.setattr(PairScorer, "score", dying)
    with pytest.raises(KeyboardInterrupt):
        mine(MineConfig(**flags))
    assert not Path(flags["output_file"]).exists()
    left[0] = 10**9
    assert mine(MineConfig(**flags)).output_path.read_bytes() == whole


def test_in_batch_negatives_are_positives_of_other_rows(paths, encoder, rows):
    flags = {"sources": "dense:1,in_batch:1", "range_for_sampling": "0-30", "negative_number": 8}
    result = with_numbers(paths, encoder, **flags, output_scores=True)
    positives = {text for row in rows for text in row["pos"]}
    for row in read_rows(result.output_path):
        drawn = [text for text, source in zip(row["neg"], row["neg_source"], strict=True) if source == "in_batch"]
        assert len(drawn) == 4 and set(drawn) <= positives - set(row["pos"])


def test_a_run_over_a_pool_without_ids_is_refused(paths, encoder, tmp_path):
    (tmp_path / "a.trec").write_text("0 Q0 p1 1 1 x\n")
    with pytest.raises(UserError, match="the pool has none"):
        with_numbers(paths, encoder, sources=f"dense,{tmp_path / 'a.trec'}")
    with pytest.raises(UserError, match=r"gone\.trec is not there"):
        with_numbers(paths, encoder, sources=f"dense,{tmp_path / 'gone.trec'}")
    assert [kind for kind, _ in encoder.asked].count("query") <= 1


def test_queries_of_a_run_are_found_by_their_texts_in_a_collection(paths, encoder, tmp_path, rows):
    folder = tmp_path / "collection"
    (folder / "qrels").mkdir(parents=True)
    write_rows(folder / "corpus.jsonl", [{"_id": f"p{i}", "text": f"passage number {i}"} for i in range(20)])
    write_rows(folder / "queries.jsonl", [{"_id": f"q{i}", "text": row["query"]} for i, row in enumerate(rows)])
    (folder / "qrels" / "test.tsv").write_text("q0\tp1\t1\n")
    run = tmp_path / "a.trec"
    run.write_text("".join(f"q{i} Q0 p{j} 1 {-j} x\n" for i in range(30) for j in range(20)))
    write_rows(Path(paths["input_file"]), [{"query": row["query"], "pos": row["pos"]} for row in rows])
    flags = {"candidate_pool": str(folder), "sources": str(run), "range_for_sampling": "3-8", "output_scores": True}
    result = with_numbers(paths, encoder, **flags)
    assert read_rows(result.output_path)[7]["neg_id"] == [f"p{i}" for i in range(3, 8)]


def test_report_and_candidates_are_written_beside_and_again_when_they_are_gone(paths, encoder, tmp_path):
    extra = {"report": str(tmp_path / "mined.html"), "output_candidates": str(tmp_path / "candidates.jsonl")}
    first = with_numbers(paths, encoder, **extra)
    written = {path: Path(path).read_bytes() for path in extra.values()}
    assert len(read_rows(Path(extra["output_candidates"]))) == 30
    assert with_numbers(paths, encoder, **extra).was_done
    Path(extra["report"]).unlink()
    again = with_numbers(paths, encoder, **extra)
    assert not again.was_done and again.output_path == first.output_path
    assert {path: Path(path).read_bytes() for path in extra.values()} == written


# --- the cache --------------------------------------------------------------------------------------------------


def test_a_second_run_with_other_ranges_reads_and_embeds_nothing_again(paths, encoder, rows, tmp_path, monkeypatch):
    pool = write_rows(tmp_path / "pool.jsonl", [{"text": f"passage {i} 0.{i}"} for i in range(10, 60)])
    first = with_numbers(paths, encoder, candidate_pool=str(pool), output_scores=True)
    encoder.asked.clear()
    monkeypatch.setattr("sharprank.mining.inputs.read_rows", None)
    monkeypatch.setattr("sharprank.mining.inputs.read_passages", None)
    other = {"output_file": str(tmp_path / "other.jsonl"), "range_for_sampling": "3-30"}
    again = with_numbers(paths | other, encoder, candidate_pool=str(pool), output_scores=True)
    assert encoder.asked == []
    assert again.stats["pool"] == first.stats["pool"]
    assert again.stats["rows"]["written"] == 30


def test_rows_or_a_pool_that_changed_are_read_again(paths, encoder, rows, tmp_path):
    pool = write_rows(tmp_path / "pool.jsonl", [{"text": f"passage {i} 0.{i}"} for i in range(10, 60)])
    with_numbers(paths, encoder, candidate_pool=str(pool))
    write_rows(pool, [{"text": f"new passage {i} 0.{i}"} for i in range(10, 40)])
    write_rows(Path(paths["input_file"]), rows[:7])
    again = with_numbers(paths, encoder, candidate_pool=str(pool), overwrite=True)
    assert (again.stats["pool"]["passages"], again.stats["rows"]["written"]) == (30, 7)
    assert all(text.startswith("new") for row in read_rows(again.output_path) for text in row["neg"])


def test_a_file_renamed_to_another_format_is_read_again(paths, tmp_path):
    def read(name: str) -> str:
        config = MineConfig(**paths, candidate_pool=str(tmp_path / name))
        return read_inputs(config, settings_with_contents(config, "encoder"), tmp_path / "cache").pool[0]

    pool = write_rows(tmp_path / "pool.txt", [{"text": f"passage {i}"} for i in range(50)])
    assert read("pool.txt").startswith('{"text"')
    pool.rename(tmp_path / "pool.jsonl")
    assert read("pool.jsonl").startswith("passage")


def test_the_fields_of_a_row_are_its_own_unless_mining_writes_them(paths, encoder, rows, tmp_path):
    own = [{**row, "pos_id": f"D{row['id']}", "source": "a"} for row in rows]
    write_rows(Path(paths["input_file"]), own)
    mined = read_rows(with_numbers(paths, encoder).output_path)
    assert [(row["pos_id"], row["source"]) for row in mined] == [(f"D{row['id']}", "a") for row in rows]


def test_a_cache_that_cannot_be_written_is_refused_before_a_model_loads(paths, encoder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SHARPRANK_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="cache .* cannot be written") as caught:
        with_numbers(paths, encoder)
    assert "SHARPRANK_CACHE" in caught.value.fix
    assert encoder.asked == []


def test_an_output_without_its_statistics_is_never_left_by_a_kill_between_the_two(paths, encoder, monkeypatch):
    renamed = []

    def killed(source, target, rename=os.replace):
        if len(renamed) == 1:
            raise KeyboardInterrupt
        renamed.append(str(target))
        rename(source, target)

    write = mine_module._write

    def write_and_die(*args, **options):
        patch.setattr("os.replace", killed)
        write(*args, **options)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(mine_module, "_write", write_and_die)
        with_numbers(paths, encoder)
    assert not Path(paths["output_file"]).exists() and renamed[0].endswith(".stats.json")
    assert with_numbers(paths, encoder).stats["rows"]["written"] == 30


def test_the_ids_of_a_collection_are_checked_without_holding_them(paths, encoder, tmp_path):
    folder = tmp_path / "collection"
    (folder / "qrels").mkdir(parents=True)
    write_rows(folder / "corpus.jsonl", [{"_id": str(i % 29), "title": "T", "text": f"0.{i + 10}"} for i in range(30)])
    write_rows(folder / "queries.jsonl", [{"_id": "q", "text": "a query"}])
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\t10\t1\n")
    with pytest.raises(UserError, match="id 0 stands there twice"):
        with_numbers(paths, encoder, candidate_pool=str(folder))


# --- statistics -------------------------------------------------------------------------------------------------


def test_statistics_stand_beside_the_output(paths, encoder, rows):
    rows[0]["query"] = rows[1]["query"].upper()
    rows[2]["neg_scores"] = [0.5]
    write_rows(Path(paths["input_file"]), rows)
    result = with_numbers(paths, encoder, range_for_sampling="0-60", negative_number=60)
    stats = json.loads(result.stats_path.read_text(encoding="utf-8"))
    assert stats == result.stats
    assert result.stats_path.name == "out.jsonl.stats.json"
    assert stats["rows"]["written"] == stats["rows"]["with_too_few_negatives"] == 30
    assert stats["rows"]["with_stale_neg_scores_removed"] == 1
    assert stats["refused_candidates"] == {"positive": 30, "positive of another row with the same query": 2}
    assert stats["negatives"]["mined_from_the_window"] == 30 * 59 - 2
    assert stats["negatives"]["missing"] == 32
    assert stats["seed"] == 42
    assert stats["settings"]["range_for_sampling"] == "0-60"
    assert len(stats["settings"]["input_file_sha256"]) == 64
    assert stats["encoder"]["weights_sha256"] == "numbers"
    assert {"python", "torch", "numpy"} <= set(stats["versions"])
    assert stats["negative_rank"]["max"] == 60


def test_too_few_negatives_are_said_with_the_way_out(paths, encoder, capsys):
    with_numbers(paths, encoder, range_for_sampling="0-60", negative_number=60)
    message = capsys.readouterr().err
    assert "30 of 30 rows got fewer than 60 negatives" in message
    assert "--top_up random" in message


def test_skipped_rows_are_counted(paths, encoder, rows):
    rows[3]["pos"] = []
    rows[4]["query"] = " "
    write_rows(Path(paths["input_file"]), rows)
    with pytest.raises(UserError, match=r"in\.jsonl:4: 'pos' is empty"):
        with_numbers(paths, encoder)
    result = with_numbers(paths, encoder, on_bad_row="skip")
    assert result.stats["rows"]["written"] == 28
    assert sum(result.stats["rows"]["skipped"].values()) == 2


def test_keys_of_other_names_are_understood(tmp_path, encoder, rows):
    renamed = [{"q": r["query"], "good": r["pos"][0], "bad": r["neg"]} for r in rows]
    files = {"input_file": str(write_rows(tmp_path / "r.jsonl", renamed)), "output_file": str(tmp_path / "o.jsonl")}
    mined = read_rows(with_numbers(files, encoder, query_key="q", positive_key="good", negative_key="bad").output_path)
    assert list(mined[0])[:3] == ["q", "good", "bad"]
    assert mined[0]["good"] == [renamed[0]["good"]]
    assert len(mined[0]["bad"]) == 5


# --- outputs that exist, and outputs that must not ------------------------------------------------------------------


def test_a_finished_run_is_not_done_again(paths, encoder):
    first = with_numbers(paths, encoder)
    encoder.asked.clear()
    again = with_numbers(paths, encoder, batch_size=3)
    assert again.was_done
    assert encoder.asked == []
    assert again.stats == first.stats


def test_an_output_of_other_settings_is_refused_unless_overwritten(paths, encoder, rows):
    with_numbers(paths, encoder)
    with pytest.raises(UserError, match="seed"):
        with_numbers(paths, encoder, seed=1)
    write_rows(Path(paths["input_file"]), rows[:20])
    with pytest.raises(UserError, match="input_file_sha256"):
        with_numbers(paths, encoder)
    assert with_numbers(paths, encoder, overwrite=True).stats["rows"]["written"] == 20


def test_the_same_input_under_another_name_is_the_same_input(paths, encoder, tmp_path):
    with_numbers(paths, encoder)
    moved = Path(paths["input_file"]).rename(tmp_path / "moved.jsonl")
    assert with_numbers(paths | {"input_file": str(moved)}, encoder).was_done


def test_a_run_that_fails_leaves_nothing_behind(paths, encoder, tmp_path):
    encoder.settings = lambda: {"model": float("nan")}  # cannot be written as JSON: fails at the very end
    before = set(tmp_path.iterdir())
    with pytest.raises(ValueError, match="JSON"):
        with_numbers(paths, encoder)
    assert set(tmp_path.iterdir()) == before


def test_a_run_that_fails_leaves_the_old_output_alone(paths, encoder):
    old = with_numbers(paths, encoder).output_path.read_bytes()
    encoder.settings = lambda: {"model": float("nan")}
    with pytest.raises(ValueError, match="JSON"):
        with_numbers(paths, encoder, seed=1, overwrite=True)
    encoder.settings = lambda: {"model": "numbers"}
    assert with_numbers(paths, encoder).was_done
    assert Path(paths["output_file"]).read_bytes() == old


def test_an_unwritable_output_is_refused_before_a_model_loads(paths, encoder, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="output_file"):
        with_numbers(paths | {"output_file": str(tmp_path / "file" / "out.jsonl")}, encoder)
    with pytest.raises(UserError, match="is a folder"):
        with_numbers(paths | {"output_file": str(tmp_path)}, encoder)
    assert encoder.asked == []


def test_gpu_search_without_a_gpu_is_refused_before_anything_is_encoded(paths, encoder):
    faiss = pytest.importorskip("faiss")
    if hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > 0:
        pytest.skip("this faiss has a GPU")
    with pytest.raises(UserError, match="use_gpu_for_searching"):
        with_numbers(paths, encoder, use_gpu_for_searching=True)
    assert encoder.asked == []


def test_a_missing_model_is_refused_before_the_rows_are_read(paths, tmp_path):
    flags = paths | {"model_name_or_path": str(tmp_path / "no-model"), "input_file": str(tmp_path / "no-rows.jsonl")}
    with pytest.raises(UserError, match="no-model"):
        mine(MineConfig(**flags))


def test_compressed_output_is_written_for_gz_names(paths, encoder, tmp_path):
    import gzip

    result = with_numbers(paths | {"output_file": str(tmp_path / "out.jsonl.gz")}, encoder)
    with gzip.open(result.output_path, "rt", encoding="utf-8") as file:
        assert len(file.readlines()) == 30


def test_text_is_written_as_it_is_not_escaped(paths, encoder, rows):
    rows[0]["query"] = "搜索 é"
    write_rows(Path(paths["input_file"]), rows)
    assert "搜索 é" in with_numbers(paths, encoder).output_path.read_text(encoding="utf-8")
