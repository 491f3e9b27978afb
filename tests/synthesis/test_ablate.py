"""Ways of retrieving compared: by judgements with numbers worked out by hand, and by a language model."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from sharprank.cli.ablate import main
from sharprank.synthesis.ablation import ablate
from sharprank.synthesis.ablation_config import TYPES, AblateConfig
from sharprank.synthesis.ablation_report import Measured, numbers_of, paired_tests
from sharprank.synthesis.endpoint import EndpointConfig

from .conftest import Answer, is_entity_prompt, oracle


@pytest.fixture
def collection(tmp_path) -> Path:
    """Three queries: found first, found third, never found (its relevant passage shares no word with it)."""
    folder = tmp_path / "collection"
    (folder / "qrels").mkdir(parents=True)
    passages = {
        "a1": "apple apple apple tree",
        "a2": "apple tree house and river",
        "a3": "apple in the long dry summer far away from any house",
        "b1": "banana banana banana boat",
        "b2": "banana banana boat",
        "b3": "banana with many other words around it that make it long",
        "c1": "nothing of the kind",
        "c2": "cherry cake",
    }
    queries = {"q1": "apple", "q2": "banana", "q3": "cherry"}
    write(folder / "corpus.jsonl", [{"_id": name, "text": text} for name, text in passages.items()])
    write(folder / "queries.jsonl", [{"_id": name, "text": text} for name, text in queries.items()])
    (folder / "qrels" / "test.tsv").write_text(
        "query-id\tcorpus-id\tscore\nq1\ta1\t1\nq2\tb3\t1\nq3\tc1\t1\nq3\tc2\t0\n"
    )
    return folder


def write(path: Path, records: list[dict]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def config(collection: Path, **more) -> AblateConfig:
    output = str(collection.parent / "ablation.json")
    return AblateConfig(corpus_path=str(collection), output_file=output, candidates=5, **more)


def by_length(model: str, pairs):
    """A reranker that likes long passages."""
    return [float(len(passage)) for _, passage in pairs]


def test_rates_and_positions_are_those_worked_out_by_hand(collection):
    report = ablate(config(collection, single="standard"), EndpointConfig())
    numbers = report["results"]["standard"]
    positions = {attempt["id"]: attempt["positions"]["standard"] for attempt in report["attempts"]}
    assert positions == {"q1": 1, "q2": 3, "q3": 0}
    assert numbers["total_attempts"] == numbers["reached_retrieval"] == 3
    assert (numbers["successful_examples"], numbers["failed_attempts"]) == (2, 1)
    assert numbers["success_rate"] == pytest.approx(2 / 3)
    assert numbers["avg_attempts_per_success"] == 2.0


def test_a_reranker_changes_the_order_and_never_the_set(collection):
    report = ablate(
        config(collection, zero_shot_model="any/model", fine_tuned_model="any/other"), EndpointConfig(), score=by_length
    )
    results, positions = report["results"], {a["id"]: a["positions"] for a in report["attempts"]}
    assert list(results) == list(TYPES)
    for plain, reranked in (("standard", "standard_zs"), ("diverse", "diverse_zs"), ("diverse", "diverse_ft")):
        assert results[plain]["success_rate"] == results[reranked]["success_rate"]
    assert positions["q2"]["standard_zs"] == 1 and positions["q1"]["standard_zs"] == 3
    assert report["tests"]["standard_zs"]["success"]["difference"] == 0
    assert report["tests"]["standard_zs"]["reciprocal_position"]["difference"] == pytest.approx(0)


def test_types_whose_models_are_not_named_are_left_out_and_said(collection, capsys):
    report = ablate(config(collection), EndpointConfig())
    assert list(report["results"]) == ["standard", "diverse"]
    assert "left out for want of --zero_shot_model or --fine_tuned_model" in capsys.readouterr().err


def test_with_several_relevant_passages_the_first_is_the_source_and_is_left_out(collection):
    (collection / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\ta1\t1\nq1\ta2\t1\n")
    (attempt,) = ablate(config(collection, single="standard"), EndpointConfig())["attempts"]
    assert attempt["source_id"] == "a1" and attempt["positions"]["standard"] == 1


def test_lost_attempts_count_in_one_rate_and_not_in_the_other():
    numbers = numbers_of("diverse", Measured([1, 0, None, 3]))
    assert (numbers["total_attempts"], numbers["reached_retrieval"]) == (4, 3)
    assert (numbers["success_rate"], numbers["success_rate_of_reached"]) == (0.5, pytest.approx(2 / 3))
    assert (numbers["failed_attempts"], numbers["avg_attempts_per_success"]) == (1, 2.0)
    assert numbers_of("diverse", Measured([None]))["success_rate_of_reached"] == 0.0


def test_the_tests_are_paired_and_corrected_for_their_number():
    results = {"standard": Measured([0] * 6), "diverse": Measured([1] * 6), "diverse_zs": Measured([0] * 6)}
    tests = paired_tests(results)
    assert tests["diverse"]["success"]["difference"] == 1.0
    assert tests["diverse"]["success"]["p"] == pytest.approx(2 / 2**6)
    assert tests["diverse"]["success"]["p_holm"] == pytest.approx(2 * 2 / 2**6)
    assert tests["diverse_zs"]["success"]["p"] == 1.0


def run(words: list, capsys) -> tuple[int, str, str]:
    code = main([str(word) for word in words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_command_prints_a_table_and_writes_json_and_a_picture(collection, tmp_path, capsys, tiny_bert):
    words = ["--corpus_path", collection, "--output_file", tmp_path / "a.json", "--device", "cpu"]
    code, out, err = run([*words, "--zero_shot_model", tiny_bert, "--max_length", 64], capsys)
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0].split()[:2] == ["type", "success"]
    assert [line.split()[0] for line in lines[1:5]] == ["standard", "diverse", "standard_zs", "diverse_zs"]
    report = json.loads((tmp_path / "a.json").read_text())
    assert {"num_examples", "min_length", "max_doc_candidates", "doc_ids_file", "timestamp"} <= set(report)
    assert set(report["summary_table"]) == {"retrievers", "success_rates", "avg_attempts"}
    assert len(report["summary_table"]["success_rates"]) == 4
    bars = ElementTree.parse(tmp_path / "a.svg").getroot().findall("{http://www.w3.org/2000/svg}rect")
    assert len(bars) == 4
    assert "1/position, difference" in lines[0]
    moved = report["tests"]["standard_zs"]["reciprocal_position"]
    assert f"{moved['difference']:+.3f} [{moved['low']:+.3f}, {moved['high']:+.3f}]" in lines[3]
    assert lines[3].endswith(f"{moved['p_holm']:.3f}")
    again = run([*words, "--zero_shot_model", tiny_bert, "--max_length", 64], capsys)
    assert again[0] == 0 and again[1] == out and "already made" in again[2]
    assert run([*words, "--candidates", 3], capsys)[0] == 2


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--single", "diverse_ft"], "--single diverse_ft needs a reranker"),
        (["--single", "standard_zs"], "--single standard_zs needs a reranker"),
        (["--single", "diverse_ft", "--fine_tuned_model", "./nowhere"], "model folder ./nowhere does not exist"),
        (["--zero_shot_model", "./nowhere"], "model folder ./nowhere does not exist"),
        (["--single", "best"], "best"),
        (["--doc_ids", "ids.txt"], "use --judge llm"),
        (["--lambda1", "0", "--lambda2", "0", "--lambda3", "0"], "the weights sum to 0"),
        (["--num", "0"], "--num 0 is less than 1"),
        (["--seed", "-1"], "--seed -1"),
        (["--split", "dev"], "no split 'dev'"),
    ],
)
def test_what_cannot_work_is_refused(collection, tmp_path, capsys, more, said):
    code, _, err = run(["--corpus_path", collection, "--output_file", tmp_path / "a.json", *more], capsys)
    assert code == 2 and said in err and "fix:" in err
    assert not (tmp_path / "a.json").exists()


def test_a_corpus_without_judgements_is_refused_unless_a_model_judges(corpus, tmp_path, capsys):
    code, _, err = run(["--corpus_path", corpus, "--output_file", tmp_path / "a.json"], capsys)
    assert code == 2 and "is no collection" in err and "--judge llm" in err


# --- a language model as the judge -------------------------------------------------------------------------------


@pytest.fixture
def llm_words(corpus, endpoint, tmp_path) -> list:
    pytest.importorskip("openai", reason="needs the extra `llm`: pip install sharprank[llm]")
    return [
        "--corpus_path", corpus, "--output_file", tmp_path / "a.json", "--judge", "llm", "--model", "m", "--base_url",
        endpoint.url, "--num", 6, "--candidates", 5, "--retry_seconds", 0.01, "--max_retries", 1,
    ]  # fmt: skip


def test_all_types_get_the_same_documents_and_verdicts(llm_words, endpoint, tmp_path, capsys):
    code, _, err = run(llm_words, capsys)
    assert code == 0, err
    assert len(set(endpoint.prompts)) == len(endpoint.prompts)
    assert sum(map(is_entity_prompt, endpoint.prompts)) == 6
    report = json.loads((tmp_path / "a.json").read_text())
    assert [numbers["reached_retrieval"] for numbers in report["results"].values()] == [6, 6]
    assert report["results"]["standard"]["successful_examples"] > 0
    assert report["endpoint"]["requests"] == len(endpoint.prompts)


def test_documents_lost_before_retrieval_are_told_from_failures(llm_words, endpoint, tmp_path, capsys):
    (tmp_path / "ids.txt").write_text("31\n2\n")
    endpoint.script = lambda prompt, number: Answer(
        "lorem"
        if is_entity_prompt(prompt) and "Wind energy in Brig" not in prompt and "31" in prompt
        else oracle(prompt)
    )
    code, out, err = run([*llm_words, "--doc_ids", tmp_path / "ids.txt", "--single", "standard"], capsys)
    assert code == 0, err
    report = json.loads((tmp_path / "a.json").read_text())
    assert [attempt["id"] for attempt in report["attempts"][:2]] == ["31", "2"]
    lost = [attempt for attempt in report["attempts"] if attempt["query"] is None]
    numbers = report["results"]["standard"]
    assert lost and numbers["reached_retrieval"] == 6 - len(lost)
    assert numbers["success_rate"] < numbers["success_rate_of_reached"]
    assert lost[0]["lost"] == "no entity in the reply" and lost[0]["positions"]["standard"] is None
    assert f"{len(lost)} of them lost before retrieval" in out


def test_after_a_stop_nothing_is_paid_twice(llm_words, endpoint, tmp_path, capsys):
    empty = Answer(status=429, error={"message": "quota", "code": "insufficient_quota"})
    endpoint.script = lambda prompt, number: empty if number >= 9 else Answer(oracle(prompt))
    code, _, err = run([*llm_words, "--concurrency", 1], capsys)
    assert code == 2 and "the quota has ended" in err
    assert not (tmp_path / "a.json").exists()
    endpoint.script = lambda prompt, number: Answer(oracle(prompt))
    answered = endpoint.prompts[:9]
    endpoint.prompts.clear()
    assert run([*llm_words, "--concurrency", 1], capsys)[0] == 0
    assert not set(answered) & set(endpoint.prompts)


def test_neither_the_result_nor_the_replies_are_written_over_the_corpus(llm_words, endpoint, corpus, capsys):
    before = corpus.read_bytes()
    for flag in ("--output_file", "--cache_file"):
        code, _, err = run([*llm_words, flag, corpus, "--overwrite", "True"], capsys)
        assert code == 2 and f"{flag} {corpus} is also --corpus_path" in err
    assert corpus.read_bytes() == before


def test_a_model_that_is_not_there_is_found_out_before_money_is_spent(llm_words, endpoint, capsys):
    code, _, err = run([*llm_words, "--fine_tuned_model", "./nowhere"], capsys)
    assert code == 2 and "./nowhere does not exist" in err
    assert endpoint.prompts == []
