"""What `sharprank mine` refuses before anything is read."""

from __future__ import annotations

import pytest

from sharprank.errors import UserError
from sharprank.mining.checks import check_window
from sharprank.mining.config import MineConfig


def config(**flags) -> MineConfig:
    return MineConfig(**({"input_file": "in.jsonl", "output_file": "out.jsonl"} | flags))


def test_the_defaults_are_those_of_the_reference():
    defaults = config()
    defaults.check()
    assert defaults.window == (10, 210)
    assert defaults.negative_number == 15
    assert not defaults.use_gpu_for_searching
    assert defaults.candidate_pool is None


@pytest.mark.parametrize("written", ["2-200", " 2 - 200 "])
def test_a_range_is_two_numbers(written):
    assert config(range_for_sampling=written).window == (2, 200)


@pytest.mark.parametrize("written", ["200-2", "5-5", "2", "2:200", "-2-5", "a-b", "", "2-200-300", "1.5-3"])
def test_what_is_not_a_range_of_ranks_is_refused(written):
    with pytest.raises(UserError, match="--range_for_sampling"):
        config(range_for_sampling=written).check()


def test_a_range_that_cannot_hold_the_negatives_is_refused_with_the_way_out():
    with pytest.raises(UserError, match="ranks 3-10 hold 8 candidates, but negative_number is 15") as caught:
        config(range_for_sampling="2-10").check()
    assert "2-17" in caught.value.fix
    assert "--negative_number 8" in caught.value.fix
    config(range_for_sampling="2-10", negative_number=8).check()
    config(range_for_sampling="2-10", top_up="random").check()


def test_a_pool_that_ends_before_the_range_begins_is_refused():
    with pytest.raises(UserError, match="pool holds 80 passages"):
        check_window((100, 200), 15, top_up=False, pool_size=80)
    with pytest.raises(UserError, match="pool holds 80 passages"):
        check_window((80, 200), 15, top_up=True, pool_size=80)


def test_a_pool_too_small_for_the_negatives_is_refused():
    with pytest.raises(UserError, match="ranks 3-200 of a pool of 10 passages hold 8 candidates") as caught:
        check_window((2, 200), 15, top_up=False, pool_size=10)
    assert "--negative_number 8" in caught.value.fix
    check_window((2, 200), 8, top_up=False, pool_size=10)
    check_window((2, 200), 15, top_up=True, pool_size=10)


@pytest.mark.parametrize("flag", ["negative_number", "batch_size", "search_batch_size"])
@pytest.mark.parametrize("value", [0, -1])
def test_counts_below_one_are_refused(flag, value):
    with pytest.raises(UserError, match=f"--{flag} {value}"):
        config(**{flag: value}).check()


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_an_overlap_that_refuses_everything_is_refused(value):
    with pytest.raises(UserError, match="--near_duplicate"):
        config(near_duplicate=value).check()


@pytest.mark.parametrize("flag", ["input_file", "candidate_pool"])
def test_the_output_may_not_be_an_input(flag):
    with pytest.raises(UserError, match=f"is also --{flag}"):
        config(**{flag: "same.jsonl", "output_file": "./same.jsonl"}).check()


def test_the_output_may_not_lie_in_a_folder_that_is_an_input(tmp_path):
    with pytest.raises(UserError, match="lies in --input_file"):
        config(input_file=str(tmp_path), output_file=str(tmp_path / "deep" / "mined.jsonl")).check()
    (tmp_path / "link").symlink_to(tmp_path / "pool", target_is_directory=True)
    (tmp_path / "pool").mkdir()
    with pytest.raises(UserError, match="lies in --candidate_pool"):
        config(candidate_pool=str(tmp_path / "pool"), output_file=str(tmp_path / "link" / "mined.jsonl")).check()


def test_settings_leave_out_what_changes_no_byte():
    one = config(batch_size=1, search_batch_size=1, overwrite=True, device="cpu", embedding_cache="x", output_file="y")
    assert one.settings() == config().settings()
    assert config(seed=1).settings() != config().settings()


# --- windows, sources, scores, teacher -------------------------------------------------------------------------------


def test_several_windows_add_up_to_the_number():
    mined = config(range_for_sampling="2-20:5,20-200:20")
    mined.check()
    assert (mined.number, mined.window) == (25, (2, 200))
    assert config(range_for_sampling="2-20:5,20-200", negative_number=12).number == 12


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        ({"range_for_sampling": "2-20:5,20-200:10", "negative_number": 20}, "asks for 15 negatives"),
        ({"range_for_sampling": "2-20:15,20-200"}, "leaves none of 15"),
        ({"range_for_sampling": "2-5:9,20-200:10"}, "ranks 3-5 hold 3 candidates"),
        ({"sources": "dense,dense"}, "names dense twice"),
        ({"max_score": float("nan")}, "--max_score nan"),
        ({"absolute_margin": float("inf")}, "--absolute_margin inf"),
        ({"relative_margin": 95}, "--relative_margin 95 is not a share"),
        ({"relative_margin": -0.1}, "--relative_margin"),
        ({"max_score": 0.3, "min_score": 0.5}, "leave nothing"),
        ({"min_score": 0.7, "false_negatives": "topk_abs"}, "leave nothing"),
        ({"sources": "bm25", "false_negatives": "topk_percpos"}, "has no bi-encoder"),
        ({"teacher_promote": 0.9}, "there is no --teacher"),
        ({"teacher_margin": 1.0}, "there is no --teacher"),
        ({"teacher": "t", "teacher_promote": 9.0}, "is not a probability"),
        ({"teacher": "t", "teacher_ceiling": 0.0}, "is not a probability"),
        ({"overlap": -1}, "--overlap -1"),
        ({"report": "out.jsonl"}, "are both out.jsonl"),
        ({"output_candidates": "in.jsonl"}, "is also --input_file"),
        ({"output_candidates": "a.trec", "sources": "dense,a.trec"}, "is also the run a.trec"),
    ],
)
def test_flags_that_cannot_work_together_are_refused(flags, problem):
    with pytest.raises(UserError, match=problem):
        config(**flags).check()


def test_single_values_go_before_those_of_a_preset():
    assert config(false_negatives="topk_percpos").score_rule.relative_margin == 0.05
    mixed = config(false_negatives="topk_percpos", relative_margin=0.2, max_score=0.9).score_rule
    assert (mixed.relative_margin, mixed.ceiling) == (0.2, 0.9)
    assert not config().score_rule and config(max_score=0.0).score_rule


def test_shares_of_sources_make_a_narrow_window_wide_enough():
    config(range_for_sampling="2-10", sources="dense,bm25").check()
    config(range_for_sampling="2-10", sources="dense:1,random:20").check()


@pytest.mark.parametrize("flags", [{"range_for_sampling": "2-5:10,5-200:5"}, {"sources": "dense:2,bm25:1"}])
def test_a_range_that_gives_a_part_of_the_negatives_is_refused_by_that_part(flags):
    with pytest.raises(UserError, match="hold . candidates, but one source is to give 10 of them"):
        config(**{"range_for_sampling": "10-16", "negative_number": 15} | flags).check()
