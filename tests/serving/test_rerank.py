"""The rerank stage: every input and output form, streaming, resuming, and what it refuses."""

from __future__ import annotations

import ast
import gzip
import io
import json

import pytest

import sharprank.serving.rerank as stage
from sharprank.errors import UserError
from sharprank.formats.trec import read_run
from sharprank.metrics.fusion import fuse
from sharprank.serving.config import PASSAGE_KEYS
from sharprank.serving.rerank import rerank

from .conftest import ROWS, FakeScorer, config, write_jsonl


def printed(settings, scorer, stdin: bytes | None = None) -> str:
    out = io.StringIO()
    rerank(settings, load=lambda _: scorer, stdout=out, stdin=io.BytesIO(stdin) if stdin is not None else None)
    return out.getvalue()


# --- one object, as 000 has it -------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", PASSAGE_KEYS)
def test_one_object_prints_one_list_of_probabilities_in_input_order(tmp_path, scorer, key):
    path = tmp_path / "1.json"
    path.write_text(json.dumps({"query": "red apple", key: ["blue fish", "a red apple", "an apple"]}, indent=1))
    scores = ast.literal_eval(printed(config(path), scorer))
    assert scores == pytest.approx([1 / (1 + 2.718281828), 1 / (1 + 1 / 2.718281828), 0.5])
    assert json.loads(printed(config(path, scores="raw"), scorer)) == [-1.0, 1.0, 0.0]


def test_an_empty_list_prints_an_empty_list(tmp_path, scorer):
    path = tmp_path / "1.json"
    path.write_text('{"query": "x", "kowndges": []}')
    assert printed(config(path), scorer) == "[]\n"


# --- many queries --------------------------------------------------------------------------------------------------


def test_json_lines_come_back_with_their_scores_and_everything_they_had(rows_path, scorer):
    lines = [json.loads(line) for line in printed(config(rows_path, scores="raw"), scorer).splitlines()]
    assert [{k: v for k, v in line.items() if k != "scores"} for line in lines] == ROWS
    assert [line["scores"] for line in lines] == [[-1.0, 1.0, 0.0], [], [-1.0, 0.0]]
    assert scorer.calls == [3]


def test_top_k_gives_rankings_best_first_with_places_and_ids(rows_path, scorer):
    lines = [json.loads(line) for line in printed(config(rows_path, top_k=2, scores="raw"), scorer).splitlines()]
    assert lines[0]["ranking"] == [
        {"index": 1, "score": 1.0, "passage": "a red apple"},
        {"index": 2, "score": 0.0, "passage": "an apple"},
    ]
    assert lines[1] == {"query_id": "q2", "query": "fast dog", "ranking": []}
    assert lines[2]["ranking"][0] == {"id": "t2", "index": 1, "score": 0.0, "passage": "tree"}


def test_an_id_that_is_also_the_place_is_an_id(tmp_path, scorer):
    row = {"query": "red", "documents": [{"id": 0, "text": "red"}, "blue"]}
    path = write_jsonl(tmp_path / "rows.jsonl", [row])
    ranking = json.loads(printed(config(path, output_format="ranking", scores="raw"), scorer))["ranking"]
    assert ranking == [
        {"id": "0", "index": 0, "score": 0.0, "passage": "red"},
        {"index": 1, "score": -1.0, "passage": "blue"},
    ]


@pytest.mark.parametrize("output_format", ["ranking", "trec"])
def test_scores_so_large_that_their_probabilities_are_all_1_still_rank(tmp_path, output_format):
    row = {"query": "a fast red dog", "documents": ["a dog", "a fast dog", "a fast red dog"]}
    settings = config(write_jsonl(tmp_path / "rows.jsonl", [row]), output_format=output_format, top_k=1)
    settings.scores = "probability"
    found = printed(settings, FakeScorer(scale=50.0))
    assert '"index": 2, "score": 1.0' in found or found == "1 Q0 2 1 1.0 model\n"


def test_json_lines_can_become_a_run(rows_path, scorer, tmp_path):
    (tmp_path / "out.trec").write_text(printed(config(rows_path, output_format="trec"), scorer))
    run = read_run(tmp_path / "out.trec")
    assert run == {"q1": {"1": 1.0, "2": 0.0, "0": -1.0}, "q3": {"t2": 0.0, "t1": -1.0}}


def test_batches_hold_a_bounded_number_of_pairs(rows_path, scorer, monkeypatch):
    monkeypatch.setattr(stage, "PAIRS_AT_ONCE", 3)
    whole = printed(config(rows_path), scorer)
    assert scorer.calls == [1, 2]
    monkeypatch.setattr(stage, "PAIRS_AT_ONCE", 1)
    assert printed(config(rows_path), scorer) == whole


# --- stdin -----------------------------------------------------------------------------------------------------------


def test_each_line_of_stdin_is_answered_before_the_next_is_read(scorer):
    lines = [json.dumps(row).encode() + b"\n" for row in ROWS]
    out = io.StringIO()

    class Pipe(io.RawIOBase):
        def readable(self):
            return True

        def readinto(self, buffer):
            if not lines:
                return 0
            assert len(out.getvalue().splitlines()) == len(ROWS) - len(lines)
            line = lines.pop(0)
            buffer[: len(line)] = line
            return len(line)

    rerank(config("-"), load=lambda _: scorer, stdin=io.BufferedReader(Pipe()), stdout=out)
    assert len(out.getvalue().splitlines()) == 3


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("array", [True, False])
def test_a_json_document_on_stdin_is_read_as_well(scorer, indent, array):
    document = json.dumps(ROWS if array else ROWS[0], indent=indent).encode()
    for stdin in (document, b"\n \n" + document):
        assert len(printed(config("-", output_format="list"), scorer, stdin).splitlines()) == (3 if array else 1)


def test_a_document_with_one_object_a_line_is_a_document(scorer):
    one = json.dumps([ROWS[0]]).encode()
    assert len(printed(config("-"), scorer, b"[\n" + one[1:-1] + b"\n]\n").splitlines()) == 1


@pytest.mark.parametrize(("damaged", "number"), [(b'{"query": "red", \n', 1), (b'\n{"query": "\xff"}\n', 2)])
def test_a_damaged_first_line_of_stdin_is_skipped_as_any_other(scorer, damaged, number):
    good = json.dumps(ROWS[0]).encode() + b"\n"
    assert len(printed(config("-", on_bad_row="skip"), scorer, damaged + good * 2).splitlines()) == 2
    with pytest.raises(UserError, match=f"<stdin>:{number}: malformed JSON"):
        printed(config("-"), scorer, damaged + good)


@pytest.mark.parametrize("line", [b"{", b"3", b'{"query": "\xff"}', b"[3]"])
def test_a_bad_line_of_stdin_is_named(scorer, line):
    good = json.dumps(ROWS[0]).encode()
    with pytest.raises(UserError, match="<stdin>:2"):
        printed(config("-"), scorer, good + b"\n" + line + b"\n")
    with pytest.raises(UserError, match="<stdin>"):
        printed(config("-"), scorer, line)


# --- runs ------------------------------------------------------------------------------------------------------------


def test_a_run_comes_back_re_ranked_with_raw_scores(texts_folder, scorer, tmp_path):
    settings = config(texts_folder, run=str(texts_folder / "first.trec"), output_file=str(tmp_path / "out.trec"))
    assert rerank(settings, load=lambda _: scorer) == 2
    run = read_run(tmp_path / "out.trec")
    assert run == {"q1": {"p1": 1.0, "p3": 0.0, "p2": -1.0}, "q2": {"p2": 0.0, "p1": -1.0}}
    assert json.loads((tmp_path / "out.trec.stats.json").read_text())["queries"] == 2


def test_what_lies_beyond_the_depth_keeps_its_order_behind(texts_folder, scorer):
    settings = config(texts_folder, run=str(texts_folder / "first.trec"), depth=1)
    lines = [line.split() for line in printed(settings, scorer).splitlines()]
    assert [(query, passage) for query, _, passage, *_ in lines] == [
        ("q1", "p2"), ("q1", "p3"), ("q1", "p1"), ("q2", "p1"), ("q2", "p2"),
    ]  # fmt: skip
    best = printed(config(texts_folder, run=settings.run, top_k=1), scorer)
    assert [line.split()[2] for line in best.splitlines()] == ["p1", "p2"]


def test_a_run_counts_as_much_as_it_is_told_to_or_as_was_fitted(texts_folder, scorer, tmp_path):
    path = str(texts_folder / "first.trec")
    settings = config(texts_folder, run=path, output_file=str(tmp_path / "alone.trec"))
    assert rerank(settings, load=lambda _: scorer) == 2
    expected = fuse(read_run(path), read_run(tmp_path / "alone.trec"), 0.3)
    (tmp_path / "fusion.json").write_text('{"weight": 0.3, "first_stage": "first.trec"}')
    for asked in ("0.3", "auto"):
        settings = config(texts_folder, run=path, first_stage_weight=asked, output_file=str(tmp_path / f"{asked}.trec"))
        settings.model_name_or_path = str(tmp_path)
        assert rerank(settings, load=lambda _: scorer) == 2
        for query_id, scores in read_run(settings.output_file).items():
            assert scores == pytest.approx(expected[query_id], abs=1e-5)


@pytest.mark.parametrize(
    ("line", "problem"), [("q1 Q0 p9 1 1 x", "passage 'p9'"), ("q9 Q0 p1 1 1 x", "query 'q9' has no text")]
)
def test_a_run_that_names_what_is_not_there_is_refused(texts_folder, scorer, line, problem):
    (texts_folder / "wrong.trec").write_text(line + "\n")
    with pytest.raises(UserError, match=problem):
        printed(config(texts_folder, run=str(texts_folder / "wrong.trec")), scorer)


# --- files and resuming ----------------------------------------------------------------------------------------------


def many(path, count=20):
    rows = [{"id": str(n), "query": f"red {n}", "documents": ["red", f"{n}", "x"]} for n in range(count)]
    return write_jsonl(path, rows)


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.gz"])
def test_a_job_killed_half_way_continues_and_ends_in_the_same_bytes(tmp_path, monkeypatch, name):
    monkeypatch.setattr(stage, "PAIRS_AT_ONCE", 9)
    source = many(tmp_path / "rows.jsonl")
    whole, parts = tmp_path / "whole" / name, tmp_path / "parts" / name
    rerank(config(source, output_file=str(whole)), load=lambda _: FakeScorer())
    broken, rest = FakeScorer(fail_at=3), FakeScorer()
    with pytest.raises(KeyboardInterrupt):
        rerank(config(source, output_file=str(parts)), load=lambda _: broken)
    assert not parts.exists()
    journal = next(parts.parent.glob(".*.partial"))
    journal.write_bytes(journal.read_bytes() + b'"half a li')
    rerank(config(source, output_file=str(parts)), load=lambda _: rest)
    assert sum(broken.calls) == 9 and sum(rest.calls) == 11
    assert parts.read_bytes() == whole.read_bytes()
    assert not list(parts.parent.glob(".*.partial"))
    if name.endswith(".gz"):
        assert len(gzip.decompress(parts.read_bytes()).splitlines()) == 20


def test_a_complete_output_is_left_alone_and_other_settings_are_refused(tmp_path, rows_path, scorer, capsys):
    output = str(tmp_path / "out.jsonl")
    rerank(config(rows_path, output_file=output), load=lambda _: scorer)
    assert rerank(config(rows_path, output_file=output), load=lambda _: pytest.fail("loaded")) == 0
    assert "already made" in capsys.readouterr().err
    with pytest.raises(UserError, match="made with scores"):
        rerank(config(rows_path, output_file=output, scores="raw"), load=lambda _: scorer)
    assert rerank(config(rows_path, output_file=output, scores="raw", overwrite=True), load=lambda _: scorer) == 3


def test_a_kill_between_the_statistics_and_the_output_leaves_no_output_of_other_settings(
    tmp_path, rows_path, scorer, killed_halfway
):
    output, wanted = tmp_path / "out.jsonl", printed(config(rows_path, scores="raw"), scorer)
    rerank(config(rows_path, output_file=str(output)), load=lambda _: scorer)
    with killed_halfway():
        rerank(config(rows_path, output_file=str(output), scores="raw", overwrite=True), load=lambda _: scorer)
    rerank(config(rows_path, output_file=str(output), scores="raw"), load=lambda _: scorer)
    assert output.read_text() == wanted


def test_a_new_file_beside_the_texts_of_a_run_is_no_other_input(texts_folder, scorer):
    settings = config(texts_folder, run=str(texts_folder / "first.trec"), output_file=str(texts_folder / "out.trec"))
    assert rerank(settings, load=lambda _: scorer) == 2
    assert rerank(settings, load=lambda _: pytest.fail("loaded")) == 0
    queries = texts_folder / "queries.jsonl"
    queries.write_text(queries.read_text().replace("red apple", "red fish"))
    with pytest.raises(UserError, match="made with inputs"):
        rerank(settings, load=lambda _: scorer)


def test_a_journal_of_another_input_is_not_continued(tmp_path, rows_path, capsys):
    output = str(tmp_path / "out.jsonl")
    for fail_at in (0, None):
        scorer = FakeScorer(fail_at=fail_at)
        if fail_at == 0:
            with pytest.raises(KeyboardInterrupt):
                rerank(config(rows_path, output_file=output), load=lambda _, s=scorer: s)
            many(rows_path, 4)
        else:
            assert rerank(config(rows_path, output_file=output), load=lambda _, s=scorer: s) == 4
    assert "starting anew" in capsys.readouterr().err


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"documents": ["a"]}, "no field 'query'"),
        ({"query": None, "documents": ["a"]}, "'query' is null"),
        ({"query": " ", "documents": ["a"]}, "not a text"),
        ({"query": "a"}, "no field with passages"),
        ({"query": "a", "documents": "b"}, "not a list"),
        ({"query": "a", "documents": ["b", None]}, r"documents'\[1\] is null|documents\[1\] is null"),
        ({"query": "a", "documents": ["b"], "passages": ["c"]}, "both 'documents' and 'passages'"),
        ({"query": "a", "documents": [{"id": 1, "text": "b"}, {"id": 1, "text": "c"}]}, "id '1' twice"),
    ],
)
def test_a_bad_object_is_named_or_skipped_and_counted(tmp_path, scorer, capsys, row, problem):
    path = write_jsonl(tmp_path / "rows.jsonl", [ROWS[0], row, ROWS[2]])
    with pytest.raises(UserError, match=problem) as caught:
        printed(config(path), scorer)
    assert "rows.jsonl:2" in caught.value.problem
    assert len(printed(config(path, on_bad_row="skip"), scorer).splitlines()) == 2
    assert "1 objects skipped" in capsys.readouterr().err


def test_the_fields_can_have_other_names(tmp_path, scorer):
    path = write_jsonl(tmp_path / "rows.jsonl", [{"question": "red", "hits": ["red"], "documents": ["x"]}])
    settings = config(path, query_key="question", passages_key="hits", output_format="list", scores="raw")
    assert printed(settings, scorer) == "[0.0]\n"


def test_a_query_id_twice_cannot_become_a_run(tmp_path, scorer):
    path = write_jsonl(tmp_path / "rows.jsonl", [ROWS[0], ROWS[0]])
    with pytest.raises(UserError, match="'q1' a second time"):
        printed(config(path, output_format="trec"), scorer)
    assert len(printed(config(path), scorer).splitlines()) == 2


def test_scores_that_cannot_be_fused_are_answered_with_the_flag_that_helps():
    asked = config("texts", run="x", first_stage_weight="0.5", output_format="ranking")
    with pytest.raises(UserError, match="fused scores are no probabilities") as error:
        asked.check()
    assert error.value.fix == "use --scores raw, or no --first_stage_weight"
    config("texts", run="x", first_stage_weight="0.5", output_format="ranking", scores="raw").check()


def test_the_texts_of_a_run_without_a_run_are_answered_with_its_flag(texts_folder):
    with pytest.raises(UserError, match="no run is named") as error:
        rerank(config(texts_folder), load=lambda _: pytest.fail("loaded"))
    assert "--run" in error.value.fix


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"top_k": 0}, "--top_k 0"),
        ({"top_k": 3, "output_format": "list"}, "--top_k has no place"),
        ({"depth": 3}, "--depth belongs to --run"),
        ({"first_stage_weight": "0.5"}, "--first_stage_weight belongs to --run"),
        ({"first_stage_weight": "2", "run": "x"}, "--first_stage_weight 2 is no share"),
        ({"first_stage_weight": "auto", "run": "x", "scores": "probability"}, "fused scores are no probabilities"),
        ({"overlap": -1}, "--overlap"),
        ({"data": "-", "output_file": "x"}, "stdin goes to stdout"),
        ({"data": "-", "run": "x"}, "--data is stdin"),
    ],
)
def test_flags_that_contradict_each_other_are_refused_before_anything_is_read(changes, problem):
    with pytest.raises(UserError, match=problem):
        rerank(config(**{"data": "nowhere.jsonl", **changes}), load=lambda _: pytest.fail("loaded"))


def test_an_output_that_cannot_be_written_is_refused_before_the_model_loads(rows_path, tmp_path):
    with pytest.raises(UserError, match="is a folder"):
        rerank(config(rows_path, output_file=str(tmp_path)), load=lambda _: pytest.fail("loaded"))
