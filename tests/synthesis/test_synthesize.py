"""Documents in, rows out: both generators, from a command line to files, stopped and continued."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sharprank.cli.synthesize import main
from sharprank.formats.rows import read_rows
from sharprank.formats.sources import Source
from sharprank.retrieval.filters import NEAR_DUPLICATE, overlap, shingles
from sharprank.synthesis.corpus import read_corpus
from sharprank.synthesis.journal import Journal
from sharprank.synthesis.outcome import Outcome

from .conftest import ENERGIES, KEY, Answer, is_entity_prompt, oracle

MORE = ["--num_examples", "6", "--max_doc_candidates", "5", "--retry_seconds", "0.01", "--max_retries", "1"]


@pytest.fixture
def run(corpus, tmp_path, capsys):
    """Synthesize to rows.jsonl; gives the exit code, and keeps what was printed."""

    def call(*more: str) -> int:
        words = ["--corpus_path", str(corpus), "--output_file", str(tmp_path / "rows.jsonl"), *MORE, *more]
        code = main(words)
        captured = capsys.readouterr()
        call.printed, call.error = captured.out, captured.err
        return code

    return call


@pytest.fixture
def llm(run, endpoint):
    """The same, with the endpoint of this machine."""
    pytest.importorskip("openai", reason="needs the extra `llm`: pip install sharprank[llm]")

    def call(*more: str) -> int:
        code = run("--generator", "llm", "--base_url", endpoint.url, "--model", "m", *more)
        call.printed, call.error = run.printed, run.error
        return code

    return call


def rows(tmp_path: Path) -> list[dict]:
    return [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]


def summary(tmp_path: Path) -> dict:
    return json.loads((tmp_path / "rows.jsonl.summary.json").read_text())


def everything_written(tmp_path: Path) -> str:
    return "".join(path.read_text() for path in tmp_path.iterdir() if path.is_file())


# --- extractive --------------------------------------------------------------------------------------------------


def test_rows_are_made_offline_and_can_be_trained_on(run, tmp_path):
    assert run() == 0, run.error
    made = list(read_rows(Source(str(tmp_path / "rows.jsonl"))))
    assert len(made) == 6
    assert all(len(row.positives) == 1 and row.negatives for row in made)
    assert all(set(row) == {"query", "pos", "neg"} for row in rows(tmp_path))
    assert "made       6 rows" in run.printed and "enough rows" in run.printed


def test_no_negative_is_the_positive_or_nearly_it(run, corpus, tmp_path):
    lines = corpus.read_text().splitlines()
    twins = [{**json.loads(line), "id": f"twin{i}"} for i, line in enumerate(lines[:10])]
    corpus.write_text("\n".join([*lines, *map(json.dumps, twins)]) + "\n")
    assert run("--num_examples", "25", "--lambda1", "1", "--lambda2", "0", "--lambda3", "0") == 0
    for row in rows(tmp_path):
        assert all(overlap(shingles(row["pos"][0]), shingles(text)) < NEAR_DUPLICATE for text in row["neg"])
        assert len(set(row["neg"])) == len(row["neg"])


def test_passages_have_no_titles_so_that_form_tells_nothing(run, corpus, tmp_path):
    titles = [json.loads(line)["title"] for line in corpus.read_text().splitlines()]
    assert run() == 0
    for row in rows(tmp_path):
        assert not any(text.startswith(title) for text in (*row["pos"], *row["neg"]) for title in titles)


def test_the_summary_says_what_happened(run, tmp_path):
    assert run("--num_examples", "500", "--max_attempts", "90") == 0
    said = summary(tmp_path)
    numbers = said["summary"]
    assert numbers["total_attempts"] == numbers["successful_examples"] + numbers["failed_attempts"]
    assert numbers["success_rate"] == numbers["successful_examples"] / numbers["total_attempts"]
    assert sum(said["failures"].values()) == numbers["failed_attempts"]
    assert numbers["output_path"].endswith("rows.jsonl") and numbers["execution_time"] >= 0
    assert said["settings"]["lambda1"] == 0.7 and said["settings"]["seed"] == 42
    assert said["versions"]["python"] and said["complete"] is True
    assert len(rows(tmp_path)) == numbers["successful_examples"]


def test_it_ends_when_no_document_gives_a_further_row(run, tmp_path):
    assert run("--num_examples", "5000") == 0
    assert summary(tmp_path)["ended"] == "no document gives a further row"
    assert summary(tmp_path)["failures"]["no further query in the document"] >= 20


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(run, tmp_path):
    assert run() == 0
    first = (tmp_path / "rows.jsonl").read_bytes()
    assert run("--overwrite") == 0
    assert (tmp_path / "rows.jsonl").read_bytes() == first
    assert run("--overwrite", "--seed", "7") == 0
    assert (tmp_path / "rows.jsonl").read_bytes() != first


def test_more_rows_are_added_to_those_made_before(run, tmp_path):
    assert run("--num_examples", "9") == 0
    whole = (tmp_path / "rows.jsonl").read_bytes()
    assert run("--overwrite", "--num_examples", "4") == 0
    assert whole.startswith((tmp_path / "rows.jsonl").read_bytes()) and len(rows(tmp_path)) == 4
    assert run("--num_examples", "9") == 0
    assert (tmp_path / "rows.jsonl").read_bytes() == whole


def test_other_settings_are_refused_and_nothing_is_lost(run, tmp_path):
    assert run() == 0
    before = (tmp_path / "rows.jsonl").read_bytes()
    assert run("--lambda3", "0.3") == 2
    assert "was begun with lambda3 0.2, not 0.3" in run.error
    (tmp_path / "rows.jsonl.attempts.jsonl").unlink()
    assert run() == 2 and "says how it was made" in run.error
    assert (tmp_path / "rows.jsonl").read_bytes() == before


def test_a_killed_run_is_continued_to_the_same_bytes(corpus, tmp_path):
    words = [sys.executable, "-m", "sharprank", "synthesize", "--corpus_path", str(corpus), "--num_examples", "40"]
    whole, killed = tmp_path / "whole.jsonl", tmp_path / "killed.jsonl"
    subprocess.run([*words, "--output_file", str(whole)], check=True, capture_output=True)
    process = subprocess.Popen([*words, "--output_file", str(killed)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (killed.exists() and killed.read_bytes().count(b"\n") >= 3):
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(30)
    journal = Path(f"{killed}.attempts.jsonl")
    journal.write_bytes(journal.read_bytes()[:-7])  # as a power cut in the middle of a line leaves it
    subprocess.run([*words, "--output_file", str(killed)], check=True, capture_output=True)
    assert killed.read_bytes() == whole.read_bytes()


def test_separators_within_a_text_end_no_line_of_what_is_continued(tmp_path):
    row = {"query": "a\u2028b", "pos": ["c\u2029d\u0085e"], "neg": ["f\x0bg"]}
    begun = Journal(tmp_path / "rows.jsonl", {"seed": 1})
    begun.add("1", 0, Outcome(row))
    begun.add("2", 0, Outcome(reason="none"))
    continued = Journal(tmp_path / "rows.jsonl", {"seed": 1})
    assert continued.attempts == begun.attempts and continued.num_rows == 1
    assert json.loads((tmp_path / "rows.jsonl").read_text(encoding="utf-8")) == row


def test_listed_ids_stand_one_a_line_whatever_separators_they_hold(run, corpus, tmp_path):
    with open(corpus, "a", encoding="utf-8") as file:
        file.write(json.dumps({"id": "a\u2028b", "text": "Little is known of this."}) + "\n")
    (tmp_path / "ids.txt").write_bytes("a\u2028b\r\n31\r\n".encode())
    assert run("--doc_ids_file", str(tmp_path / "ids.txt")) == 0, run.error


def test_listed_documents_come_first_short_ones_too(run, corpus, tmp_path):
    with open(corpus, "a") as file:
        file.write(json.dumps({"id": "short", "title": "A short note", "text": "Little is known of this."}) + "\n")
    (tmp_path / "ids.txt").write_text("31\n\nshort\n2\n")
    assert run("--doc_ids_file", str(tmp_path / "ids.txt")) == 0
    attempts = [json.loads(line) for line in (tmp_path / "rows.jsonl.attempts.jsonl").read_text().splitlines()][1:]
    assert [attempt["doc_id"] for attempt in attempts[:3]] == ["31", "short", "2"]
    assert "short" not in [attempt["doc_id"] for attempt in attempts[3:]]


def test_the_pool_for_mining_has_the_form_of_the_passages(run, corpus, tmp_path):
    assert run("--output_pool", str(tmp_path / "pool.jsonl")) == 0
    pool = {json.loads(line)["text"] for line in (tmp_path / "pool.jsonl").read_text().splitlines()}
    assert len(pool) == 20
    assert all(text in pool for row in rows(tmp_path) for text in row["neg"])
    assert f"--candidate_pool {tmp_path / 'pool.jsonl'}" in run.printed


def test_a_pool_that_this_job_wrote_stays_and_no_other_file_is_replaced(run, corpus, tmp_path):
    pool = tmp_path / "pool.jsonl.gz"
    more = ["--output_pool", str(pool)]
    pool.write_bytes(gzip.compress(b"somebody else's\n"))
    before = pool.read_bytes()
    assert run(*more) == 2 and "--output_pool" in run.error and "--overwrite True" in run.error
    assert pool.read_bytes() == before and not (tmp_path / "rows.jsonl").exists()
    assert run(*more, "--overwrite") == 0
    written, inode = pool.read_bytes(), pool.stat().st_ino
    assert run(*more) == 0 and run(*more, "--num_examples", "8") == 0
    assert pool.stat().st_ino == inode and len(gzip.decompress(written).splitlines()) == 20
    pool.write_bytes(gzip.compress(gzip.decompress(written) + b"more\n"))
    assert run(*more) == 2


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--output_file", "{corpus}"], "is also --corpus_path"),
        (["--output_pool", "{corpus}"], "is also --corpus_path"),
        (["--output_pool", "{link}"], "is also --corpus_path"),
        (["--corpus_path", "{folder}", "--output_pool", "{corpus}"], "is also --corpus_path"),
        (["--summary_file", "{corpus}"], "is also --corpus_path"),
        (["--generator", "llm", "--model", "m", "--cache_file", "{corpus}"], "is also --corpus_path"),
        (["--doc_ids_file", "{folder}/ids.txt", "--summary_file", "{folder}/ids.txt"], "is also --doc_ids_file"),
        (["--output_pool", "{folder}/rows.jsonl"], "--output_file and --output_pool are both"),
        (["--summary_file", "{folder}/rows.jsonl"], "--output_file and --summary_file are both"),
        (["--output_pool", "{folder}/rows.jsonl.summary.json"], "--output_pool and --summary_file are both"),
        (["--output_pool", "{folder}"], "--output_pool {folder} is a folder"),
        (["--summary_file", "{folder}"], "--summary_file {folder} is a folder"),
    ],
)
def test_no_output_is_an_input_or_another_output(run, endpoint, corpus, tmp_path, more, said):
    paths = {"corpus": corpus, "link": tmp_path / "link.jsonl", "folder": tmp_path}
    (tmp_path / "ids.txt").write_text("31\n")
    paths["link"].symlink_to(corpus)
    before = corpus.read_bytes()
    assert run(*(word.format(**paths) for word in more), "--overwrite") == 2
    assert said.format(**paths) in run.error and "fix:" in run.error
    assert corpus.read_bytes() == before and not (tmp_path / "rows.jsonl").exists()


def test_without_a_pool_it_is_said_how_to_get_one_before_mining(run, tmp_path):
    assert run() == 0 and "again with --output_pool" in run.printed
    assert run("--output_pool", str(tmp_path / "pool.jsonl")) == 0 and "--candidate_pool" in run.printed


def test_documents_begin_with_different_kinds_but_never_with_key_words(run, tmp_path):
    assert run("--num_examples", "20") == 0
    attempts = [json.loads(line) for line in (tmp_path / "rows.jsonl.attempts.jsonl").read_text().splitlines()][1:]
    kinds = {attempt["kind"] for attempt in attempts if attempt["turn"] == 0 and attempt["row"]}
    assert kinds == {"title", "sentence"}


def test_settings_can_stand_in_a_yaml_file(run, tmp_path):
    (tmp_path / "c.yaml").write_text("num_examples: 3\nlambda1: 0.85\nquery_kinds: [title]\n")
    assert run("--config", str(tmp_path / "c.yaml"), "--num_examples", "2") == 0
    assert len(rows(tmp_path)) == 2
    settings = summary(tmp_path)["settings"]
    assert (settings["lambda1"], settings["query_kinds"]) == (0.85, ["title"])


def test_a_bi_encoder_can_find_the_negatives(run, tmp_path, tiny_encoder):
    assert run("--retriever", str(tiny_encoder), "--max_source_rank", "30", "--device", "cpu") == 0, run.error
    assert len(rows(tmp_path)) == 6


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--lambda1", "0", "--lambda2", "0", "--lambda3", "0"], "the weights sum to 0"),
        (["--lambda2", "-1"], "a weight is below 0"),
        (["--num_examples", "0"], "--num_examples 0 is less than 1"),
        (["--seed", "-1"], "--seed -1"),
        (["--query_kinds", "title", "poem"], "--query_kinds poem"),
        (["--min_length", "90000"], "no document has 90000 characters"),
        (["--doc_ids_file", "nowhere.txt"], "nowhere.txt cannot be read"),
        (["--corpus_path", "nowhere.jsonl"], "nowhere.jsonl"),
        (["--retriever", "./nowhere"], "model folder ./nowhere does not exist"),
        (["--generator", "magic"], "magic"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_made(run, tmp_path, more, said):
    assert run(*more) == 2
    assert said in run.error and "fix:" in run.error
    assert not (tmp_path / "rows.jsonl").exists() or rows(tmp_path) == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"text": "no id"}', "corpus.jsonl:21: a document without id"),
        ('{"id": 0, "text": "again"}', "corpus.jsonl:21: id 0 a second time"),
        ('{"id": "0", "text": "again as text"}', "corpus.jsonl:21: id 0 a second time"),
        ('{"id": "x", "title": "no text"}', "corpus.jsonl:21: no field 'text'"),
        ('{"id": "x", "text": 7}', "corpus.jsonl:21: 'text' is 7"),
        ("nonsense", "corpus.jsonl:21: malformed JSON"),
    ],
)
def test_a_bad_document_is_named_by_file_and_line(run, corpus, tmp_path, line, said):
    corpus.write_text(corpus.read_text() + line + "\n")
    assert run() == 2
    assert said in run.error and "--on_bad_row" not in run.error
    assert not (tmp_path / "rows.jsonl").exists()


def test_the_text_of_a_document_is_its_first_field_that_is_not_null(tmp_path):
    (tmp_path / "c.jsonl").write_text('{"id": "1", "title": null, "text": null, "contents": "some words"}\n')
    assert read_corpus(str(tmp_path / "c.jsonl"))["1"].text == "some words"


def test_listed_ids_that_the_corpus_does_not_have_are_named(run, tmp_path):
    (tmp_path / "ids.txt").write_text("31\nnobody\n")
    assert run("--doc_ids_file", str(tmp_path / "ids.txt")) == 2
    assert "1 ids are not in the corpus, first: nobody" in run.error


def test_help_comes_up_without_torch_and_without_the_client():
    code = (
        "import sys\nfrom sharprank.cli.synthesize import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "assert not {'torch', 'faiss', 'datasets', 'openai'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# --- a language model --------------------------------------------------------------------------------------------


def test_a_model_makes_rows_whose_labels_are_its_verdicts(llm, endpoint, corpus, tmp_path):
    assert llm() == 0, llm.error
    made = rows(tmp_path)
    assert len(made) == 6
    for row in made:
        town = row["query"].split()[-1]
        assert all(f"plant of {town} was" in text for text in row["pos"])
        assert not any(f"plant of {town} was" in text for text in row["neg"])
        assert min(len(row["pos"]), len(row["neg"])) == 1
        assert row["pos"][0].split()[0].lower() in ENERGIES
    report = summary(tmp_path)
    assert report["endpoint"]["requests"] == len(endpoint.prompts)
    assert report["verdicts"]["valid"] >= 6 and report["verdicts"]["invalid"] >= 6
    assert "verdicts" in llm.printed and "spent" in llm.printed


def test_the_source_document_is_never_judged(llm, endpoint, tmp_path):
    assert llm() == 0
    attempts = [json.loads(line) for line in (tmp_path / "rows.jsonl.attempts.jsonl").read_text().splitlines()][1:]
    for attempt in attempts:
        judged = [passage_id for ids in attempt.get("verdicts", {}).values() for passage_id in ids]
        assert attempt["doc_id"] not in judged and judged


def test_only_an_explicit_no_makes_a_negative(llm, endpoint, tmp_path):
    def unsure(prompt, number):
        reply = oracle(prompt)
        return Answer("I could not say." if reply.startswith("INVALID") else reply)

    endpoint.script = unsure
    assert llm("--max_attempts", "4") == 0
    assert rows(tmp_path) == []
    report = summary(tmp_path)
    assert report["verdicts"]["invalid"] == 0 and report["verdicts"]["undecided"] > 0
    assert set(report["failures"]) <= {"no invalid passage", "no verdict on any passage"}


def test_server_errors_are_undecided_and_never_negatives(llm, endpoint, tmp_path):
    failing = Answer(status=500, error={"message": "oh no"})
    turn = iter(range(10**6))
    endpoint.script = lambda prompt, number: (
        failing if not is_entity_prompt(prompt) and next(turn) % 8 < 4 else Answer(oracle(prompt))
    )
    assert llm("--max_attempts", "8", "--concurrency", "1", "--max_retries", "0", "--max_tries", "1") == 0, llm.error
    assert summary(tmp_path)["verdicts"]["undecided"] > 0
    for row in rows(tmp_path):
        town = row["query"].split()[-1]
        assert not any(f"plant of {town} was" in text for text in row["neg"])


def test_garbage_is_asked_for_again_and_then_counted(llm, endpoint, tmp_path):
    endpoint.script = lambda prompt, number: Answer("lorem ipsum")
    assert llm("--max_attempts", "2", "--max_tries", "3", "--concurrency", "1") == 0
    assert len(endpoint.prompts) == 6
    assert summary(tmp_path)["failures"] == {"no entity in the reply": 2}
    assert summary(tmp_path)["summary"]["failed_attempts"] == 2


def test_a_reply_that_is_whole_the_second_time_is_taken(llm, endpoint, tmp_path):
    seen = set()

    def second_time(prompt, number):
        first = prompt not in seen
        seen.add(prompt)
        return Answer("lorem ipsum" if first else oracle(prompt))

    endpoint.script = second_time
    assert llm("--num_examples", "2") == 0
    assert len(rows(tmp_path)) == 2


def test_a_quota_that_ends_midway_keeps_what_was_made_and_the_next_run_goes_on(llm, endpoint, tmp_path):
    assert llm("--output_file", str(tmp_path / "whole.jsonl")) == 0
    whole, paid = (tmp_path / "whole.jsonl").read_bytes(), len(endpoint.prompts)
    endpoint.prompts.clear()
    empty = Answer(status=429, error={"message": "You exceeded your current quota", "code": "insufficient_quota"})
    endpoint.script = lambda prompt, number: empty if number >= paid // 2 else Answer(oracle(prompt))
    assert llm("--concurrency", "1") == 2
    assert "the quota has ended" in llm.error and "rows are kept in" in llm.error and "fix:" in llm.error
    kept = (tmp_path / "rows.jsonl").read_bytes()
    assert 0 < kept.count(b"\n") < 6 and whole.startswith(kept)
    report = summary(tmp_path)
    assert report["complete"] is False and "quota" in report["ended"]
    endpoint.script = lambda prompt, number: Answer(oracle(prompt))
    endpoint.prompts.clear()
    assert llm("--concurrency", "1") == 0
    assert (tmp_path / "rows.jsonl").read_bytes() == whole
    assert len(endpoint.prompts) <= paid - paid // 2 + 1
    assert summary(tmp_path)["complete"] is True


def test_a_finished_run_again_asks_nothing_and_overwriting_pays_nothing(llm, endpoint, tmp_path):
    assert llm("--price_input", "2", "--price_output", "10") == 0
    first, spent = (tmp_path / "rows.jsonl").read_bytes(), summary(tmp_path)["endpoint"]
    paid = len(endpoint.prompts)
    assert spent["cost"] == pytest.approx((paid * 100 * 2 + paid * 10 * 10) / 1e6)
    assert llm() == 0
    assert llm("--overwrite") == 0
    assert len(endpoint.prompts) == paid
    assert (tmp_path / "rows.jsonl").read_bytes() == first
    assert summary(tmp_path)["endpoint"]["prompt_tokens_of_all_runs"] == paid * 100


def test_how_many_work_at_a_time_changes_no_byte_and_is_a_limit(llm, endpoint, tmp_path):
    endpoint.script = lambda prompt, number: Answer(oracle(prompt), wait=0.02)
    assert llm("--concurrency", "1") == 0
    assert endpoint.most_open == 1
    first = (tmp_path / "rows.jsonl").read_bytes()
    (tmp_path / "rows.jsonl.replies.jsonl").unlink()
    assert llm("--concurrency", "3", "--overwrite") == 0
    assert 1 < endpoint.most_open <= 3
    assert (tmp_path / "rows.jsonl").read_bytes() == first


def test_writer_and_judge_can_be_two_models(llm, endpoint):
    assert llm("--question_generator_model", "judge", "--num_examples", "1") == 0
    asked = {(is_entity_prompt(body["messages"][-1]["content"]), body["model"]) for body in endpoint.bodies}
    assert asked == {(True, "m"), (False, "judge")}


def test_the_key_is_never_printed_or_written(llm, endpoint, tmp_path):
    assert llm() == 0
    refused = Answer(status=401, error={"message": f"Incorrect API key provided: {KEY}"})
    assert KEY not in llm.printed + llm.error + everything_written(tmp_path)
    endpoint.script = lambda prompt, number: refused
    assert llm("--num_examples", "7", "--seed", "1", "--output_file", str(tmp_path / "b.jsonl"), "--api_key", KEY) == 2
    assert "refuses the key" in llm.error
    assert KEY not in llm.printed + llm.error + everything_written(tmp_path)


@pytest.mark.parametrize(
    ("name", "more", "said"),
    [
        ("OPENAI_API_KEY", [], "there is no key in $OPENAI_API_KEY"),
        (None, ["--model", ""], "no model was named"),
        (None, ["--base_url", "localhost:8000"], "--base_url localhost:8000 is no address"),
        (None, ["--base_url", "http://127.0.0.1:9/v1"], "cannot be reached"),
        (None, ["--timeout", "0"], "--timeout 0.0 is not above 0"),
        (None, ["--concurrency", "0"], "--concurrency 0 is less than 1"),
    ],
)
def test_an_endpoint_that_cannot_be_asked_is_an_error(llm, endpoint, monkeypatch, name, more, said):
    if name:
        monkeypatch.delenv(name)
    assert llm(*more) == 2
    assert said in llm.error and "fix:" in llm.error
    assert endpoint.prompts == []


def test_a_model_that_is_not_there_stops_at_the_first_question(llm, endpoint, tmp_path):
    endpoint.script = lambda prompt, number: Answer(status=404, error={"message": "no", "code": "model_not_found"})
    assert llm("--concurrency", "1") == 2
    assert "does not know the model 'm'" in llm.error
    assert len(endpoint.prompts) == 1


def test_the_keyboard_stops_it_at_once_and_keeps_what_was_made(endpoint, corpus, tmp_path):
    pytest.importorskip("openai", reason="needs the extra `llm`: pip install sharprank[llm]")
    broken = Answer(status=500, error={"message": "oh no"})
    endpoint.script = lambda prompt, number: broken if number >= 12 else Answer(oracle(prompt))
    words = [sys.executable, "-m", "sharprank", "synthesize", "--corpus_path", str(corpus), "--generator", "llm"]
    words += ["--output_file", str(tmp_path / "rows.jsonl"), "--base_url", endpoint.url, "--model", "m"]

    def hear_the_keyboard() -> None:  # which a test run in the background would not
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    process = subprocess.Popen(
        [*words, "--retry_seconds", "30"], stderr=subprocess.PIPE, text=True, preexec_fn=hear_the_keyboard
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and len(endpoint.prompts) < 14:
        time.sleep(0.01)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=25)
    assert process.returncode == 130, said
    assert "run the same command again to continue" in said
    assert summary(tmp_path)["complete"] is False
    assert len(rows(tmp_path)) == summary(tmp_path)["summary"]["successful_examples"]
