"""`sharprank sample`: ids drawn at random, the same for the same seed, in the order `synthesize` would draw them."""

from __future__ import annotations

import json

import pytest

from sharprank.cli.sample import main
from sharprank.synthesis.corpus import eligible, read_corpus, turns


def ids(path):
    return path.read_text(encoding="utf-8").splitlines()


def test_ids_are_drawn_as_synthesize_draws_them(tmp_path, corpus, capsys):
    out = tmp_path / "ids.txt"
    assert (
        main(["--corpus", str(corpus), "--output", str(out), "--count", "7", "--seed", "3", "--test_count", "2"]) == 0
    )
    documents = read_corpus(str(corpus))
    order = turns([], eligible(documents, 300), seed=3)
    assert ids(out) == [next(order)[1] for _ in range(7)]
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 4 and printed[0].startswith(f"{ids(out)[0]}  ") and "7 documents" in printed[2]
    stats = json.loads((tmp_path / "ids.txt.stats.json").read_text())
    assert (stats["documents"], stats["drawn"], stats["settings"]["seed"]) == (20, 7, 3)


def test_short_documents_are_never_drawn_and_fewer_than_asked_is_said(tmp_path, capsys):
    records = [{"id": 1, "text": "long " * 100}, {"id": 2, "text": "short"}]
    (tmp_path / "c.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    out = tmp_path / "ids.txt"
    assert main(["--corpus_path", str(tmp_path / "c.jsonl"), "--output_file", str(out)]) == 0
    assert ids(out) == ["1"] and "only 1 of 2 documents" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["--count", "0"], ["--min_length", "100000"], ["--show", "-1"], ["--output", "."], ["--seed", "-1"]]
)
def test_what_cannot_be_drawn_is_refused(tmp_path, corpus, capsys, words):
    assert main(["--corpus", str(corpus), "--output", str(tmp_path / "ids.txt"), *words]) == 2
    assert "fix:" in capsys.readouterr().err and not (tmp_path / "ids.txt").exists()


def test_the_corpus_is_never_written_over(corpus, capsys):
    before = corpus.read_bytes()
    assert main(["--corpus", str(corpus), "--output", str(corpus), "--overwrite", "True"]) == 2
    assert "is also --corpus_path" in capsys.readouterr().err and corpus.read_bytes() == before


def test_other_settings_are_refused_and_the_same_again_changes_nothing(tmp_path, corpus, capsys):
    words = ["--corpus", str(corpus), "--output", str(tmp_path / "ids.txt"), "--count", "3"]
    assert main(words) == 0 and main(words) == 0
    assert "already made" in capsys.readouterr().err
    assert main([*words, "--seed", "1"]) == 2 and main([*words, "--seed", "1", "--overwrite", "True"]) == 0


def test_a_kill_between_the_statistics_and_the_ids_leaves_no_ids_of_other_settings(tmp_path, corpus, killed_halfway):
    out = tmp_path / "ids.txt"
    words = ["--corpus", str(corpus), "--output", str(out), "--count", "3"]
    assert main(words) == 0
    wanted = ids(out)
    with killed_halfway():
        main([*words, "--seed", "1", "--overwrite", "True"])
    assert main(words) == 0 and ids(out) == wanted
