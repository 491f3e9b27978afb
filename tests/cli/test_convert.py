"""`sharprank convert FORMAT` as it is typed: every format there and back, and what is left out counted."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharprank.cli.convert import FORMATS, main
from sharprank.formats.convert.msmarco import msmarco_rows
from sharprank.formats.convert.tally import Tally
from sharprank.records import Place, Record

NASTY = [
    "it's Kelly's \"quoted\" word",
    "a backslash \\ and a tab\t",
    "caf\u00e9 \u4f60\u597d \U0001f600",
    "{'is_selected': [1]}",
    "line\nbreak",
]


def jsonl(path: Path, records: list[dict]) -> str:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return str(path)


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def convert(tmp_path, capsys):
    """Convert to out.jsonl; gives the rows, and keeps what was printed and counted."""

    def run(name: str, input_file: object, *more: str) -> list[dict]:
        out = tmp_path / "out.jsonl"
        code = main([name, "--input_file", str(input_file), "--output_file", str(out), *more])
        captured = capsys.readouterr()
        run.printed, run.error = captured.out, captured.err
        run.code = code
        assert code == 0, captured.err
        run.stats = json.loads((tmp_path / "out.jsonl.stats.json").read_text())
        return read(out)

    return run


# --- MS MARCO ----------------------------------------------------------------------------------------------------


def passages(selected: list[int], texts: list[str]) -> dict:
    return {"is_selected": selected, "passage_text": texts, "url": ["http://a.b/it's"] * len(texts)}


@pytest.mark.parametrize("write", [str, json.dumps], ids=["python_repr", "json"])
def test_a_csv_of_ms_marco_loses_no_row_to_quotes_and_escapes(tmp_path, convert, write):
    with open(tmp_path / "ms_marco_train.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["answers", "passages", "query", "query_id"])
        for text in NASTY:
            writer.writerow(["['a']", write(passages([0, 1], ["other", text])), f"what is {text}?", 7])
    rows = convert("msmarco", tmp_path / "ms_marco_train.csv")
    assert rows == [{"query": f"what is {text}?", "pos": [text], "neg": ["other"]} for text in NASTY]
    assert "kept       5 rows" in convert.printed
    assert "dropped" not in convert.printed


@settings(max_examples=100)
@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip), min_size=2, unique=True)
)
def test_whatever_python_prints_is_read_back(texts):
    flags = [1, *[0] * (len(texts) - 1)]
    for cell in (str(passages(flags, texts)), json.dumps(passages(flags, texts))):
        (row,) = msmarco_rows([Record({"query": "q", "passages": cell}, Place("cell"))], tally=Tally())
        assert row == {"query": "q", "pos": texts[:1], "neg": texts[1:]}


def test_numpy_arrays_printed_into_a_csv_are_read(tmp_path, convert):
    cell = "{'is_selected': array([1, 0], dtype=int32), 'passage_text': array(['it\\'s', \"b\"],\n      dtype=object)}"
    with open(tmp_path / "a.csv", "w", newline="") as file:
        csv.writer(file).writerows([["query", "passages"], ["q", cell]])
    assert convert("msmarco", tmp_path / "a.csv") == [{"query": "q", "pos": ["it's"], "neg": ["b"]}]


def test_a_cell_with_code_in_it_is_refused_and_never_run(tmp_path, capsys):
    cell = f"__import__('pathlib').Path({str(tmp_path / 'ran')!r}).touch()"
    with open(tmp_path / "a.csv", "w", newline="") as file:
        csv.writer(file).writerows([["query", "passages"], ["q", cell]])
    assert main(["msmarco", "--input_file", str(tmp_path / "a.csv"), "--output_file", str(tmp_path / "o.jsonl")]) == 2
    assert "a.csv:2: 'passages'" in capsys.readouterr().err
    assert not (tmp_path / "ran").exists() and not (tmp_path / "o.jsonl").exists()


def test_parquet_and_both_shapes_of_passages_give_the_same_rows(tmp_path, convert):
    import pyarrow
    import pyarrow.parquet

    wanted = [{"query": "q", "pos": ["b"], "neg": ["a", "c"]}]
    lists = {"query": "q", "passages": passages([0, 1, 0], ["a", "b", "c"])}
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([lists]), tmp_path / "a.parquet")
    objects = [{"is_selected": int(text == "b"), "passage_text": text, "url": ""} for text in "abc"]
    assert convert("msmarco", tmp_path / "a.parquet") == wanted
    assert convert("msmarco", jsonl(tmp_path / "l.jsonl", [lists]), "--overwrite") == wanted
    again = jsonl(tmp_path / "o2.jsonl", [{"query": "q", "passages": objects}])
    assert convert("msmarco", again, "--overwrite") == wanted


def test_a_dataset_repository_is_read_by_subset_and_split(tmp_path, convert):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    folder = tmp_path / "ms_marco"
    header = "configs:\n"
    for version in ("v1.1", "v2.1"):
        (folder / version).mkdir(parents=True)
        record = {"query": f"q of {version}", "passages": passages([0, 1], ["a", "b"])}
        parquet.write_table(pyarrow.Table.from_pylist([record]), folder / version / "validation-00000-of-00001.parquet")
        header += f"- config_name: {version}\n  data_files:\n  - split: validation\n    path: {version}/validation-*\n"
    (folder / "README.md").write_text(f"---\n{header}---\n")
    rows = convert("msmarco", folder, "--sub_data_name", "v1.1", "--split", "validation")
    assert rows == [{"query": "q of v1.1", "pos": ["b"], "neg": ["a"]}]


def test_the_hub_without_a_network_is_an_error_with_a_way_out(tmp_path, capsys):
    words = ["msmarco", "--input_file", "microsoft/ms_marco", "--sub_data_name", "v1.1"]
    assert main([*words, "--output_file", str(tmp_path / "o.jsonl")]) == 2
    assert "check the name and the network" in capsys.readouterr().err


def test_ms_marco_rows_without_positives_or_negatives_are_dropped_and_counted(tmp_path, convert):
    records = [
        {"query": "q1", "passages": passages([0, 0], ["a", "b"])},
        {"query": "q2", "passages": passages([1], ["a"])},
        {"query": " ", "passages": passages([1, 0], ["a", "b"])},
        {"query": "q3", "passages": passages([1, 0, 0], ["a", "a", "b"])},
    ]
    source = jsonl(tmp_path / "in.jsonl", records)
    assert convert("msmarco", source) == [{"query": "q3", "pos": ["a"], "neg": ["b"]}]
    assert convert.stats["dropped"] == {"no positives": 1, "no negatives": 1, "empty query": 1}
    assert convert.stats["texts_left_out"] == {"negative that is also a positive": 1}
    assert "dropped    1 no positives" in convert.printed
    assert len(convert("msmarco", source, "--without_neg", "keep", "--overwrite")) == 2


@pytest.mark.parametrize(
    "bad", ["nonsense", "{'is_selected': [1], 'passage_text': ['a', 'b']}", "[1, 2]", None, {"is_selected": 3}]
)
def test_unreadable_passages_are_named_or_skipped_and_counted(tmp_path, convert, capsys, bad):
    good = {"query": "q", "passages": passages([1, 0], ["a", "b"])}
    source = jsonl(tmp_path / "in.jsonl", [good, {"query": "q", "passages": bad}])
    assert main(["msmarco", "--input_file", source, "--output_file", str(tmp_path / "x.jsonl")]) == 2
    assert "in.jsonl:2" in capsys.readouterr().err
    assert len(convert("msmarco", source, "--on_bad_row", "skip")) == 1
    assert convert.stats["dropped"] == {"unreadable passages": 1}


# --- judged collections ------------------------------------------------------------------------------------------


@pytest.fixture
def beir(tmp_path) -> Path:
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    jsonl(folder / "corpus.jsonl", [{"_id": f"p{i}", "title": "T" * (i == 0), "text": f"text {i}"} for i in range(6)])
    jsonl(folder / "queries.jsonl", [{"_id": "q1", "text": "one"}, {"_id": "q2", "text": "two"}])
    lines = ["query-id\tcorpus-id\tscore", "q1\tp0\t2", "q1\tp1\t0", "q1\tgone\t1", "q2\tp2\t1"]
    (folder / "qrels" / "test.tsv").write_text("\n".join(lines) + "\n")
    (tmp_path / "run.trec").write_text(
        "".join(f"q1 Q0 p{i} {6 - i} {i / 10} bm25\n" for i in range(6)) + "q2 Q0 p2 1 9 bm25\n"
    )
    return folder


def test_a_beir_folder_gives_a_row_for_every_judged_query(beir, convert):
    rows = convert("beir", beir)
    assert rows == [
        {"query": "one", "pos": ["T text 0"], "neg": ["text 1"]},
        {"query": "two", "pos": ["text 2"], "neg": []},
    ]
    assert convert.stats["texts_left_out"] == {"judged or ranked, but not in the corpus": 1}


def test_rows_may_lie_beside_the_collection_that_they_come_from(beir, capsys):
    words = ["beir", "--input_file", str(beir), "--output_file", str(beir / "rows.jsonl")]
    assert main(words) == 0 and main(words) == 0
    assert "was already made" in capsys.readouterr().err
    assert main([*words[:-1], str(beir / "corpus.jsonl")]) == 2
    assert "is also --input_file" in capsys.readouterr().err


def test_a_run_fills_the_negatives_up_with_its_best_unjudged_candidates(beir, tmp_path, convert):
    rows = convert("beir", beir, "--run", str(tmp_path / "run.trec"), "--negative_number", "3")
    assert rows[0]["neg"] == ["text 1", "text 5", "text 4"]
    assert rows[1]["neg"] == []


def test_graded_judgements_are_cut_where_told(beir, convert, tmp_path, capsys):
    rows = convert("beir", beir, "--min_relevance", "2")
    assert [row["query"] for row in rows] == ["one"]
    assert convert.stats["dropped"] == {"no positives": 1}
    assert main(["beir", "--input_file", str(beir), "--output_file", str(tmp_path / "o"), "--split", "dev"]) == 2
    assert "no split 'dev'" in capsys.readouterr().err


def test_trec_files_with_and_without_headers_give_the_same_rows_as_the_folder(beir, tmp_path, convert):
    wanted = convert("beir", beir)
    (tmp_path / "collection.tsv").write_text("p0\tT text 0\n" + "".join(f"p{i}\ttext {i}\n" for i in range(1, 6)))
    (tmp_path / "topics.tsv").write_text("q1\tone\nq2\ttwo\n")
    (tmp_path / "qrels.txt").write_text("q1 0 p0 2\nq1 0 p1 0\nq1 0 gone 1\nq2 0 p2 1\n")
    for passages_path, queries_path in (
        (tmp_path / "collection.tsv", tmp_path / "topics.tsv"),
        (beir / "corpus.jsonl", beir / "queries.jsonl"),
        (beir, beir / "queries.jsonl"),
    ):
        more = ["--queries", str(queries_path), "--qrels", str(tmp_path / "qrels.txt"), "--overwrite"]
        assert convert("trec", passages_path, *more) == wanted


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([], "no value for --queries"),
        (["--queries", "topics.tsv"], "no value for --qrels"),
        (["--queries", "short.tsv", "--qrels", "qrels.txt"], "1 judged queries have no text"),
        (["--queries", "twice.tsv", "--qrels", "qrels.txt"], "twice.tsv:2: id q1 a second time"),
        (["--queries", "broken.tsv", "--qrels", "qrels.txt"], "broken.tsv:2: not `id TAB text`"),
        (["--queries", "none.tsv", "--qrels", "qrels.txt"], "none.tsv does not exist"),
    ],
)
def test_what_trec_lacks_is_named(tmp_path, capsys, monkeypatch, more, said):
    monkeypatch.chdir(tmp_path)
    Path("c.tsv").write_text("p0\ttext\n")
    Path("topics.tsv").write_text("q1\tone\nq2\ttwo\n")
    Path("short.tsv").write_text("q1\tone\n")
    Path("twice.tsv").write_text("q1\tone\nq1\ttwo\n")
    Path("broken.tsv").write_text("q1\tone\nq2\n")
    Path("qrels.txt").write_text("q1 0 p0 1\nq2 0 p0 1\n")
    assert main(["trec", "--input_file", "c.tsv", "--output_file", "o.jsonl", *more]) == 2
    assert said in capsys.readouterr().err
    assert not Path("o.jsonl").exists()


def test_trec_passages_without_ids_are_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    jsonl(Path("c.jsonl"), [{"text": "a"}])
    Path("t.tsv").write_text("q1\tone\n")
    Path("qrels.txt").write_text("q1 0 p0 1\n")
    words = ["--input_file", "c.jsonl", "--output_file", "o.jsonl", "--queries", "t.tsv", "--qrels", "qrels.txt"]
    assert main(["trec", *words]) == 2
    assert "c.jsonl:1: a passage without id" in capsys.readouterr().err


def test_bad_passages_and_queries_of_trec_are_named_or_skipped_and_counted(tmp_path, capsys, monkeypatch, convert):
    monkeypatch.chdir(tmp_path)
    Path("c.jsonl").write_text('{"_id": "p0", "text": "a"}\nnonsense\n{"text": "b"}\n{"_id": "p1"}\n')
    Path("q.jsonl").write_text('{"_id": "q1", "text": "one"}\n{"_id": "q2"}\n{"_id": \n')
    Path("c.tsv").write_text("p0\ta\np1\n")
    Path("q.tsv").write_text("q1\tone\nq2\n")
    Path("qrels.txt").write_text("q1 0 p0 1\n")
    wanted = [{"query": "one", "pos": ["a"], "neg": []}]
    for ending, num_bad in (("jsonl", 5), ("tsv", 2)):
        more = ["--queries", f"q.{ending}", "--qrels", "qrels.txt", "--overwrite"]
        assert main(["trec", "--input_file", f"c.{ending}", "--output_file", "x.jsonl", *more]) == 2
        error = capsys.readouterr().err
        assert f"q.{ending}:2: " in error and "or pass --on_bad_row skip" in error
        assert convert("trec", f"c.{ending}", *more, "--on_bad_row", "skip") == wanted
        assert sum(convert.stats["dropped"].values()) == num_bad


# --- questions, pairs, triplets, chats ---------------------------------------------------------------------------


def test_nested_and_flat_squad_give_the_same_rows_and_unanswered_questions_are_counted(tmp_path, convert):
    answered = {"question": " Who? ", "answers": [{"text": "I", "answer_start": 0}], "is_impossible": False}
    impossible = {"question": "Why?", "answers": [], "is_impossible": True}
    nested = {"version": "v2.0", "data": [{"title": "T", "paragraphs": [{"context": "I did.", "qas": []}]}]}
    nested["data"][0]["paragraphs"][0]["qas"] = [answered, impossible]
    (tmp_path / "squad.json").write_text(json.dumps(nested, indent=1))
    flat = [
        {"question": "Who?", "context": "I did.", "answers": {"text": ["I"], "answer_start": [0]}},
        {"question": "Why?", "context": "I did.", "answers": {"text": [], "answer_start": []}},
    ]
    wanted = [{"query": "Who?", "pos": ["I did."], "neg": []}]
    assert convert("squad", tmp_path / "squad.json") == wanted
    assert convert.stats["dropped"] == {"not answered by its paragraph": 1}
    assert convert("squad", jsonl(tmp_path / "flat.jsonl", flat), "--overwrite") == wanted
    assert convert.stats["dropped"] == {"not answered by its paragraph": 1}


def test_answers_printed_into_a_csv_are_read_and_counted_like_others(tmp_path, convert, capsys):
    answers = {
        "one": "{'text': array(['I'], dtype=object), 'answer_start': array([0], dtype=int32)}",
        "two": '{"text": ["I"], "answer_start": [0]}',
        "three": "I",
        "four": "{'text': array([], dtype=object), 'answer_start': array([], dtype=int32)}",
        "five": "{'text': [], 'answer_start': []}",
        "six": "[]",
        "seven": " ",
    }
    with open(tmp_path / "squad.csv", "w", newline="") as file:
        csv.writer(file).writerows([["question", "context", "answers"], *((q, "I.", a) for q, a in answers.items())])
    assert [row["query"] for row in convert("squad", tmp_path / "squad.csv")] == ["one", "two", "three"]
    assert convert.stats["dropped"] == {"not answered by its paragraph": 4}
    (tmp_path / "squad.csv").write_text("question,context,answers\nq,c,\"{'text': ['a' 'b', 'c']}\"\n")
    assert main(["squad", "--input_file", str(tmp_path / "squad.csv"), "--output_file", str(tmp_path / "x")]) == 2
    assert "squad.csv:2: no comma between two texts" in capsys.readouterr().err


def test_pairs_are_gathered_by_query_and_labels_tell_negatives(tmp_path, convert):
    (tmp_path / "pairs.csv").write_text("question,answer\nq1,a\nq2,b\nq1,c\nq1,a\n")
    rows = convert("pairs", tmp_path / "pairs.csv")
    assert rows == [{"query": "q1", "pos": ["a", "c"], "neg": []}, {"query": "q2", "pos": ["b"], "neg": []}]
    assert convert.stats["texts_left_out"] == {"repeated in its list": 1}
    (tmp_path / "pairs.tsv").write_text("q\tdoc\tlabel\nq1\ta\t1\nq1\tb\t0\nq1\tc\t2.0\nq2\td\t0\n")
    rows = convert("pairs", tmp_path / "pairs.tsv", "--overwrite")
    assert rows == [{"query": "q1", "pos": ["a", "c"], "neg": ["b"]}]
    assert convert.stats["dropped"] == {"no positives": 1}


def test_columns_of_other_names_are_named_by_flags(tmp_path, convert, capsys):
    (tmp_path / "p.csv").write_text("Frage,Stelle,gut\nq1,a,3\nq1,b,1\n")
    assert main(["pairs", "--input_file", str(tmp_path / "p.csv"), "--output_file", str(tmp_path / "x")]) == 2
    assert "fix: name the field with --query_key" in capsys.readouterr().err
    more = ["--query_key", "Frage", "--passage_key", "Stelle", "--label_key", "gut", "--min_relevance", "2"]
    assert convert("pairs", tmp_path / "p.csv", *more) == [{"query": "q1", "pos": ["a"], "neg": ["b"]}]


def test_a_label_that_is_no_number_is_named(tmp_path, capsys):
    (tmp_path / "p.csv").write_text("query,text,label\nq,a,yes\n")
    assert main(["pairs", "--input_file", str(tmp_path / "p.csv"), "--output_file", str(tmp_path / "x")]) == 2
    assert "p.csv:2: 'label' is 'yes', not a number" in capsys.readouterr().err


ROWS = [
    {"query": "q1", "pos": ["a", "b"], "neg": ["c", "d"], "prompt": "Be careful"},
    {"query": "q2", "pos": ["e"], "neg": ["f"]},
]


def test_rows_become_triplets_and_come_back(tmp_path, convert):
    triplets = convert("to-triplets", jsonl(tmp_path / "rows.jsonl", [*ROWS, {"query": "q3", "pos": ["g"]}]))
    assert triplets[:2] == [
        {"anchor": "q1", "positive": "a", "negative": "c"},
        {"anchor": "q1", "positive": "a", "negative": "d"},
    ]
    assert len(triplets) == 5
    assert convert.stats["dropped"] == {"no negatives": 1}
    back = convert("triplets", jsonl(tmp_path / "triplets.jsonl", triplets), "--overwrite")
    assert back == [{key: row[key] for key in ("query", "pos", "neg")} for row in ROWS]
    assert convert.stats["texts_left_out"] == {}


def test_triplets_with_several_negatives_in_one_record_are_read(tmp_path, convert):
    (tmp_path / "t.csv").write_text("anchor,positive,negative_1,negative_2\nq,a,b,c\n")
    assert convert("triplets", tmp_path / "t.csv") == [{"query": "q", "pos": ["a"], "neg": ["b", "c"]}]


def test_sentence_transformers_loads_the_triplets_it_is_given(tmp_path, convert):
    datasets = pytest.importorskip("datasets")
    convert("to-triplets", jsonl(tmp_path / "rows.jsonl", ROWS))
    loaded = datasets.Dataset.from_json(str(tmp_path / "out.jsonl"), cache_dir=str(tmp_path / "cache"))
    assert loaded.column_names == ["anchor", "positive", "negative"]


def test_rows_become_messages_and_come_back(tmp_path, convert):
    chats = convert("to-swift", jsonl(tmp_path / "rows.jsonl", ROWS))
    assert chats[0] == {
        "messages": [{"role": "system", "content": "Be careful"}, {"role": "user", "content": "q1"}],
        "positive_messages": [[{"role": "assistant", "content": text}] for text in "ab"],
        "negative_messages": [[{"role": "assistant", "content": text}] for text in "cd"],
    }
    assert convert("swift", jsonl(tmp_path / "chats.jsonl", chats), "--overwrite") == ROWS


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"messages": "q"}, "'messages' is no list"),
        ({"messages": [{"role": "system", "content": "s"}]}, "no user message"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "a message without a text as its 'content'"),
        ({"positive_messages": None}, "'positive_messages' is no list"),
        ({"positive_messages": [["p"]]}, "a message without a text as its 'content'"),
    ],
)
def test_messages_of_another_shape_are_named(tmp_path, capsys, change, said):
    good = {
        "messages": [{"role": "user", "content": "q"}],
        "positive_messages": [[{"role": "assistant", "content": "p"}]],
    }
    source = jsonl(tmp_path / "in.jsonl", [good, good | change])
    assert main(["swift", "--input_file", source, "--output_file", str(tmp_path / "x.jsonl")]) == 2
    assert f"in.jsonl:2: {said}" in capsys.readouterr().err


def test_rows_with_scores_become_flagembedding_rows_and_others_are_counted(tmp_path, convert):
    scored = {"query": "q", "pos": ["a"], "neg": ["b"], "pos_scores": [9.5], "neg_scores": [-1], "id": 3}
    unscored_negatives = {"query": "q", "pos": ["a"], "neg": ["b"], "pos_scores": [9.5]}
    no_negatives = {"query": "q", "pos": ["a"], "pos_scores": [9.5]}
    source = jsonl(tmp_path / "in.jsonl", [scored, *ROWS, unscored_negatives, no_negatives])
    assert convert("to-flagembedding", source) == [{k: v for k, v in scored.items() if k != "id"}]
    assert convert.stats["dropped"] == {"no teacher scores": 3, "no negatives": 1}


# --- the command -------------------------------------------------------------------------------------------------


def test_the_same_command_again_does_nothing_and_other_settings_are_refused(tmp_path, convert, capsys):
    source = jsonl(tmp_path / "rows.jsonl", ROWS)
    convert("to-swift", source)
    before = (tmp_path / "out.jsonl").read_bytes()
    convert("to-swift", source)
    assert "was already made" in convert.error and not convert.printed
    assert main(["to-triplets", "--input_file", source, "--output_file", str(tmp_path / "out.jsonl")]) == 2
    assert "--overwrite True" in capsys.readouterr().err
    jsonl(tmp_path / "rows.jsonl", ROWS[:1])
    assert main(["to-swift", "--input_file", source, "--output_file", str(tmp_path / "out.jsonl")]) == 2
    assert (tmp_path / "out.jsonl").read_bytes() == before


def test_a_kill_between_the_statistics_and_the_rows_leaves_no_rows_of_other_settings(tmp_path, convert, killed_halfway):
    source = jsonl(tmp_path / "rows.jsonl", ROWS)
    wanted = convert("to-triplets", source)
    with killed_halfway():
        main(["to-swift", "--input_file", source, "--output_file", str(tmp_path / "out.jsonl"), "--overwrite"])
    assert convert("to-triplets", source) == wanted


def test_a_failed_conversion_leaves_nothing_behind(tmp_path, capsys):
    source = jsonl(tmp_path / "in.jsonl", [*ROWS, {"query": "q"}])
    assert main(["to-swift", "--input_file", source, "--output_file", str(tmp_path / "new" / "out.jsonl")]) == 2
    assert "in.jsonl:3" in capsys.readouterr().err
    assert list((tmp_path / "new").iterdir()) == []


def test_an_input_that_gives_no_row_is_an_error_with_its_reasons(tmp_path, capsys):
    source = jsonl(tmp_path / "in.jsonl", [{"query": "q", "passages": passages([0], ["a"])}])
    assert main(["msmarco", "--input_file", source, "--output_file", str(tmp_path / "out.jsonl")]) == 2
    assert "gives no row (1 no positives)" in capsys.readouterr().err
    assert not (tmp_path / "out.jsonl").exists()


def test_gz_is_written_and_an_input_is_never_overwritten(tmp_path, capsys):
    source = jsonl(tmp_path / "rows.jsonl", ROWS)
    assert main(["to-swift", "--input_file", source, "--output_file", str(tmp_path / "o.jsonl.gz")]) == 0
    with gzip.open(tmp_path / "o.jsonl.gz", "rt") as file:
        assert len(file.readlines()) == 2
    (tmp_path / "link.jsonl").symlink_to(source)
    for path in (source, str(tmp_path / "link.jsonl")):
        assert main(["to-swift", "--input_file", source, "--output_file", path, "--overwrite"]) == 2
        assert "is also --input_file" in capsys.readouterr().err
    assert read(tmp_path / "rows.jsonl") == ROWS


@pytest.mark.parametrize("words", [[], ["--input_file", "x"], ["msmacro", "--input_file", "x"]])
def test_a_missing_or_unknown_format_is_answered_with_the_list(words, capsys):
    assert main(words) == 2
    assert ", ".join(FORMATS) in capsys.readouterr().err


def test_help_names_every_format(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    printed = " ".join(capsys.readouterr().out.split())
    assert all(name in printed.replace("- ", "-") for name in FORMATS)
