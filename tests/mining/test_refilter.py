"""Mined rows filtered again, without mining again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sharprank.cli.filter import main
from sharprank.errors import UserError
from sharprank.mining.config import MineConfig
from sharprank.mining.mine import mine
from sharprank.mining.refilter import refilter
from sharprank.mining.refilter_config import RefilterConfig

ROW = {
    "id": 1, "query": "q", "pos": ["p", "r"], "neg": ["a", "b", "c"], "neg_similarity": [0.9, 0.5, None],
    "pos_similarity": [0.92, 0.8], "neg_rank": [1, 2, None], "neg_id": ["x", "y", "z"], "pos_scores": [3.0, 2.0],
    "neg_scores": [-1.0, 2.5, 0.0], "type": "t",
}  # fmt: skip


@pytest.fixture
def run(tmp_path):
    def filtered(*rows, **flags) -> list[dict]:
        path = tmp_path / "mined.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows or [ROW]))
        output = tmp_path / "filtered.jsonl"
        refilter(RefilterConfig(input_file=str(path), output_file=str(output), overwrite=True, **flags))
        return [json.loads(line) for line in output.read_text().splitlines()]

    return filtered


def test_negatives_go_with_all_that_describes_them_and_the_rest_of_the_row_stays(run):
    (row,) = run(relative_margin=0.05)
    assert row == ROW | {
        "neg": ["b", "c"], "neg_similarity": [0.5, None], "neg_rank": [2, None], "neg_id": ["y", "z"],
        "neg_scores": [2.5, 0.0],
    }  # fmt: skip
    assert list(row) == list(ROW)


def test_cosines_and_the_teacher_both_decide(run):
    assert run(teacher_margin=0.0)[0]["neg"] == ["a", "c"]
    assert run(teacher_margin=-1.0)[0]["neg"] == ["a", "b", "c"]
    assert run(teacher_margin=0.0, max_score=0.7)[0]["neg"] == ["c"]
    assert run(false_negatives="topk_abs", min_score=0.6)[0]["neg"] == ["c"]


def test_a_number_is_drawn_by_seed_and_query_from_what_is_left(run):
    rows = [{"query": f"q{i}", "pos": ["p"], "neg": [f"n{j}" for j in range(9)]} for i in range(20)]
    first = [row["neg"] for row in run(*rows, negative_number=3)]
    assert all(len(negatives) == 3 and negatives == sorted(negatives) for negatives in first)
    assert first == [row["neg"] for row in run(*rows, negative_number=3)]
    assert first != [row["neg"] for row in run(*rows, negative_number=3, seed=1)]
    assert [row["neg"] for row in run(*rows[::-1], negative_number=3)] == first[::-1]


def test_filtering_later_leaves_what_filtering_while_mining_leaves(tmp_path, encoder, ladder):
    pos = [{"query": f"q {i}", "pos": [f"positive {i} 0.{90 - i}"]} for i in range(9)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pos))
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in ladder))
    flags = {
        "input_file": str(tmp_path / "rows.jsonl"), "candidate_pool": str(tmp_path / "pool.jsonl"),
        "range_for_sampling": "0-30", "negative_number": 30, "output_scores": True,
    }  # fmt: skip
    outputs = []
    for name, more in (("strict", {"false_negatives": "topk_percpos"}), ("all", {})):
        config = MineConfig(**flags, **more, output_file=str(tmp_path / f"{name}.jsonl"))
        outputs.append(mine(config, load_encoder=lambda config: encoder).output_path)
    later = RefilterConfig(
        input_file=str(outputs[1]), output_file=str(tmp_path / "later.jsonl"), false_negatives="topk_percpos"
    )
    stats = refilter(later).stats
    assert Path(later.output_file).read_bytes() == outputs[0].read_bytes()
    assert stats["negatives"]["dropped"] and refilter(later).was_done


def test_a_kill_between_the_statistics_and_the_rows_leaves_no_rows_of_other_rules(tmp_path, killed_halfway):
    path, output = tmp_path / "mined.jsonl", tmp_path / "filtered.jsonl"
    path.write_text(json.dumps(ROW) + "\n")

    def run(**flags):
        refilter(RefilterConfig(input_file=str(path), output_file=str(output), **flags))
        return json.loads(output.read_text())["neg"]

    assert run(relative_margin=0.05) == ["b", "c"]
    with killed_halfway():
        run(teacher_margin=0.0, overwrite=True)
    assert run(relative_margin=0.05) == ["b", "c"] and run(teacher_margin=0.0, overwrite=True) == ["a", "c"]


@pytest.mark.parametrize(
    ("lacking", "flags", "fix"),
    [
        ("neg_similarity", {"max_score": 0.5}, "--output_scores"),
        ("pos_similarity", {"absolute_margin": 0.0}, "--output_scores"),
        ("neg_scores", {"teacher_margin": 0.0}, "--teacher"),
        ("pos_scores", {"teacher_margin": 0.0}, "--teacher"),
    ],
)
def test_a_row_without_the_scores_that_a_rule_needs_is_named_or_skipped(run, lacking, flags, fix):
    without = {key: value for key, value in ROW.items() if key != lacking}
    with pytest.raises(UserError, match=rf"mined\.jsonl:2: no '{lacking}'") as caught:
        run(ROW, without, **flags)
    assert fix in caught.value.fix
    assert len(run(ROW, without, **flags, on_bad_row="skip")) == 1


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        ({"relative_margin": 5}, "--relative_margin 5 is not a share"),
        ({"max_score": float("nan")}, "--max_score nan"),
        ({"teacher_margin": float("inf")}, "--teacher_margin inf"),
        ({"min_score": 0.7, "max_score": 0.7}, "leave nothing"),
        ({"min_score": 0.7, "false_negatives": "topk_abs"}, "leave nothing"),
    ],
)
def test_rules_that_cannot_work_are_refused_as_in_mining(run, flags, problem):
    with pytest.raises(UserError, match=problem):
        run(**flags)


def test_the_command_prints_what_was_dropped_and_refuses_to_do_nothing(tmp_path, capsys):
    path, output = tmp_path / "mined.jsonl", tmp_path / "out.jsonl"
    path.write_text(json.dumps(ROW) + "\n")
    words = ["--input_file", str(path), "--output_file", str(output)]
    assert main([*words, "--max_score", "0.1", "--negative_number", "1"]) == 0
    printed = capsys.readouterr().out
    assert "negatives  1 kept" in printed and "2: score above the ceiling" in printed
    assert main(words) == 2
    assert "nothing to filter by" in capsys.readouterr().err
    assert main(["--input_file", str(path), "--output_file", str(path), "--max_score", "1"]) == 2
