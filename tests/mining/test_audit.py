"""Mined files with known faults."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sharprank.cli.audit import main
from sharprank.mining import audit as module
from sharprank.mining.audit import audit
from sharprank.mining.audit_config import AuditConfig

LONG = " ".join(f"word{i}" for i in range(40))
GOOD = [
    {"query": f"query {i}", "pos": [f"positive {i}"], "neg": [f"negative {i} {j}" for j in range(3)]} for i in range(5)
]


@pytest.fixture
def check(tmp_path):
    def run(*rows, **flags):
        path = write(tmp_path / "mined.jsonl", [*GOOD, *rows])
        return audit(AuditConfig(input_file=str(path), **flags))

    return run


def write(path: Path, rows) -> Path:
    path.write_text(
        "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), encoding="utf-8"
    )
    return path


def row(query="q", pos=("p",), neg=("n",), **more) -> dict:
    return {"query": query, "pos": list(pos), "neg": list(neg), **more}


def test_good_rows_give_no_finding(check):
    found = check()
    assert found.findings == [] and (found.num_rows, found.num_negatives, found.num_distinct) == (5, 15, 15)


@pytest.mark.parametrize(
    ("faulty", "kind"),
    [
        (row(neg=["n", "P."]), module.POSITIVE),
        (row(pos=[LONG], neg=["n", f"A title. {LONG}"]), module.NEAR_POSITIVE),
        (row(query="What is it?", neg=["what is it"]), module.QUERY),
        (row(query="What is it?", pos=["what is it"]), module.QUERY),
        (row(neg=["n", "m", "N!"]), module.TWICE),
        (row(neg=[LONG, f"A title. {LONG}"]), module.NEAR_TWICE),
        (row(pos=["p", "P"]), module.POSITIVE_TWICE),
        (row(query="QUERY  1", neg=["positive 1"]), module.SAME_QUERY),
        (row(neg=[]), module.NO_NEGATIVE),
        (row(neg=["n", " "]), "neg holds a blank text"),
        (row(neg=["n", None]), "neg holds what is no text"),
        (row(pos=[]), "no positives"),
        (row(neg_scores=[float("nan")], pos_scores=[1.0]), "broken neg_scores"),
        (row(neg_scores=[float("inf")], pos_scores=[1.0]), "broken neg_scores"),
        (row(neg_scores=[1.0, 2.0], pos_scores=[1.0]), "neg_scores of the wrong length"),
        (row(neg_scores=[None], pos_scores=[1.0]), "partially scored"),
        (row(neg_scores=[1.0]), module.SCORES_OF_ONE_SIDE),
        (row(neg_similarity=[0.1, 0.2]), module.BROKEN_DESCRIPTION),
        (row(pos_similarity=["high"]), module.BROKEN_DESCRIPTION),
        (row(neg_similarity=[float("nan")]), module.BROKEN_DESCRIPTION),
        (row(neg_rank=[0]), module.BROKEN_DESCRIPTION),
        (row(neg_rank=7), module.BROKEN_DESCRIPTION),
        ('{"query": "q", "pos": ["p"]', "malformed JSON"),
        ("[1]", "not an object"),
    ],
)
def test_a_fault_is_found_named_and_placed(check, faulty, kind):
    found = check(faulty)
    assert [finding.kind for finding in found.findings] == [kind]
    assert found.findings[0].place.line == 6 and found.findings[0].detail


def test_a_positive_of_a_row_that_asks_nearly_the_same_is_found(check):
    query = "is there any evidence that the drug of the first trial has an effect on mice of old age"
    rows = [row(query=query, pos=["answer"]), row(query=query + " or not", pos=["other"], neg=["Answer.", "n"])]
    found = check(*rows)
    assert [(finding.kind, finding.place.line) for finding in found.findings] == [(module.NEAR_QUERY, 7)]
    assert check(*rows, near_duplicate=2.0).findings == []


def test_unknown_similarities_and_ranks_are_no_fault(check):
    described = {"neg_similarity": [None, 0.5], "neg_rank": [None, 3], "pos_similarity": [None], "neg_id": ["a", None]}
    assert check(row(neg=["n", "m"], **described)).findings == []


def test_negatives_that_score_like_a_positive_are_counted_but_no_finding(check):
    found = check(
        row(neg=["n", "m"], pos_scores=[2.0], neg_scores=[1.0, 2.0], pos_similarity=[0.1], neg_similarity=[0.9, 0.9]),
        row(query="r", neg=["n", "k"], pos_similarity=[0.5], neg_similarity=[0.6, None]),
    )
    assert found.findings == [] and (found.num_above, found.num_compared) == (2, 3)
    assert found.commonest == ("n", 2)


def test_the_command_exits_1_when_it_finds_something_and_0_when_not(tmp_path, capsys):
    good, bad = write(tmp_path / "good.jsonl", GOOD), write(tmp_path / "bad.jsonl", [*GOOD, row(neg=["p"])])
    assert main([str(good)]) == 0
    assert "nothing found" in capsys.readouterr().out
    assert main([str(bad)]) == 1
    printed = capsys.readouterr().out
    assert f"{bad}:6: neg[0] is pos[0]: p" in printed and "1 findings" in printed
    assert main([str(bad), "--output_format", "json"]) == 1
    assert json.loads(capsys.readouterr().out)["findings"][0]["line"] == 6


def test_a_file_that_is_not_there_is_the_users_to_mend_and_an_empty_one_a_finding(tmp_path, capsys):
    assert main([str(tmp_path / "none.jsonl")]) == 2
    assert main([str(write(tmp_path / "empty.jsonl", []))]) == 1
    assert "empty file" in capsys.readouterr().out
    assert main([str(write(tmp_path / "good.jsonl", GOOD)), "--near_duplicate", "0"]) == 2


def test_keys_of_other_names_are_understood(tmp_path):
    path = write(tmp_path / "rows.jsonl", [{"q": "q", "good": ["p"], "bad": ["p"]}])
    assert main([str(path), "--query_key", "q", "--positive_key", "good", "--negative_key", "bad"]) == 1
