"""Flags, configuration files and exit codes, the same for every command."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field

import pytest

from sharprank.cli import options
from sharprank.errors import UserError


@dataclass(kw_only=True)
class Settings:
    input_file: str = field(metadata={"help": "rows", "aliases": ["-i", "--old_name"]})
    top_up: str = field(default="none", metadata={"help": "fill from the pool"})
    learning_rate: float = 2e-5
    number: int | None = None
    keep_existing: bool = False
    normalize: bool = True
    use_bf16: bool | None = None
    keys: list[str] = field(default_factory=lambda: ["pos"])


@dataclass(kw_only=True)
class MoreSettings:
    seed: int = 0

    def __post_init__(self):
        if self.seed < 0:
            raise ValueError("seed must not be negative")


def parse(*words, config_class=Settings):
    return options.parse(config_class, list(words), prog="sharprank stage", description="A stage.")


def test_defaults_come_from_the_dataclass():
    assert parse("--input_file", "a") == Settings(input_file="a")


@pytest.mark.parametrize("flag", ["--top_up", "--top-up"])
def test_low_lines_and_hyphens_spell_the_same_flag(flag):
    assert parse("-i", "a", flag, "random").top_up == "random"


@pytest.mark.parametrize("flag", ["--old_name", "--old-name", "--old-name=x", "--input-file=x", "-i"])
def test_aliases_take_both_spellings_too(flag):
    words = [flag] if "=" in flag else [flag, "x"]
    assert parse(*words).input_file == "x"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--keep_existing"], True),
        (["--keep-existing", "True"], True),
        (["--keep_existing", "false"], False),
        ([], False),
    ],
)
def test_booleans_are_taken_bare_and_with_a_value(words, expected):
    assert parse("-i", "a", *words).keep_existing is expected


@pytest.mark.parametrize(("words", "expected"), [(["--use_bf16"], True), (["--use_bf16", "False"], False), ([], None)])
def test_a_boolean_that_may_be_unset_is_taken_bare_too(words, expected):
    assert parse("-i", "a", *words).use_bf16 is expected


@pytest.mark.parametrize("words", [["--no_normalize"], ["--no-normalize"], ["--normalize", "False"]])
def test_a_boolean_that_is_on_can_be_switched_off(words):
    assert parse("-i", "a", *words).normalize is False


def test_flags_win_over_the_config_file_and_the_file_over_the_defaults(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("input_file: from file\ntop-up: random\nlearning_rate: 1e-4\nkeys: [a, b]\nkeep_existing: true\n")
    config = parse("--config", str(path), "--top_up", "none")
    assert config == Settings(
        input_file="from file", top_up="none", learning_rate=1e-4, keys=["a", "b"], keep_existing=True
    )


def test_a_json_config_file_works_and_null_means_nothing(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"input_file": "x", "number": None, "keys": [], "normalize": False}))
    assert parse(f"--config={path}") == Settings(input_file="x", keys=[], normalize=False)


def test_a_path_from_home_is_understood_behind_an_equals_sign_and_in_a_file(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "c.yaml").write_text("input_file: ~/rows.jsonl\nkeys: [~/a, b~/c]\n")
    found = parse("--config=~/c.yaml", "--top_up=~/pool.jsonl")
    assert (found.input_file, found.top_up) == (f"{tmp_path}/rows.jsonl", f"{tmp_path}/pool.jsonl")
    assert found.keys == [f"{tmp_path}/a", "b~/c"]


def test_config_path_is_another_name_of_it(tmp_path):
    (tmp_path / "a.yaml").write_text("input_file: a\n")
    assert parse("--config_path", str(tmp_path / "a.yaml")).input_file == "a"
    assert parse(f"--config-path={tmp_path / 'a.yaml'}").input_file == "a"
    with pytest.raises(UserError, match="expected one argument"):
        parse("--config_path")


def test_a_later_config_file_wins_over_an_earlier_one(tmp_path):
    (tmp_path / "a.yaml").write_text("input_file: a\nnumber: 1\n")
    (tmp_path / "b.yaml").write_text("number: 2\n")
    config = parse("--config", str(tmp_path / "a.yaml"), "--config", str(tmp_path / "b.yaml"))
    assert (config.input_file, config.number) == ("a", 2)


def test_a_tuple_of_dataclasses_gives_a_tuple():
    config = parse("-i", "a", "--seed", "7", config_class=(Settings, MoreSettings))
    assert config == (Settings(input_file="a"), MoreSettings(seed=7))


def test_the_parsers_classes_stay_as_they_were_for_the_next_call(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("input_file: a\nkeys: null\n")
    assert parse("--config", str(path)).keys is None
    assert parse("-i", "a").keys == ["pos"]


BAD = {
    "unknown flag": (["-i", "a", "--top_upp", "x"], None, "unknown flag --top_upp", "did you mean --top_up?"),
    "unknown flag, nothing else": (["--inputfile", "x"], None, "unknown flag --inputfile", "did you mean --input"),
    "abbreviated flag": (["-i", "a", "--top", "x"], None, "unknown flag --top", "see `sharprank stage --help`"),
    "stray word": (["-i", "a", "b"], None, "nothing expects the word 'b'", "quotes"),
    "no value": (["-i"], None, "expected one argument", "--help"),
    "missing flag": ([], None, "no value for --input_file", "add it"),
    "not a number": (["-i", "a", "--number", "two"], None, "--number", "--help"),
    "unknown key": (["-i", "a"], "top_uq: x", "unknown key 'top_uq'", "did you mean top_up?"),
    "bad value in file": (["-i", "a"], "number: two", "config.yaml: argument --number", "--help"),
    "bad boolean in file": (["-i", "a"], "normalize: perhaps", "config.yaml: argument --normalize", "--help"),
    "no mapping": (["-i", "a"], "- a\n- b", "holds a list", "flag: value"),
    "broken yaml": (["-i", "a"], "a: [", "config.yaml", "valid YAML"),
}


@pytest.mark.parametrize("case", BAD, ids=list(BAD))
def test_wrong_words_and_files_are_named_with_a_way_out(case, tmp_path):
    words, text, problem, fix = BAD[case]
    if text is not None:
        (tmp_path / "config.yaml").write_text(text)
        words = [*words, "--config", str(tmp_path / "config.yaml")]
    with pytest.raises(UserError) as caught:
        parse(*words)
    assert problem in caught.value.problem and "\n" not in caught.value.problem
    assert fix in caught.value.fix


def test_a_config_file_that_is_not_there_is_named():
    with pytest.raises(UserError, match="cannot read --config nowhere.yaml"):
        parse("-i", "a", "--config", "nowhere.yaml")


def test_config_without_a_file_name_is_refused():
    with pytest.raises(UserError, match="--config: expected one argument"):
        parse("-i", "a", "--config")


def test_a_dataclass_that_refuses_its_values_is_the_users_to_fix():
    with pytest.raises(UserError, match="seed must not be negative"):
        parse("--seed", "-1", config_class=MoreSettings)


def test_help_shows_flags_defaults_and_what_they_do(capsys):
    with pytest.raises(SystemExit) as exit_:
        parse("--help")
    text = capsys.readouterr().out
    assert exit_.value.code == 0
    assert "--top_up" in text and "fill from the pool" in text and "(default: none)" in text and "--config" in text


def _fail_for_the_user():
    raise UserError("no such file: x", fix="name a file")


def _fail_for_us():
    raise KeyError("bug")


def test_a_user_error_is_two_lines_on_stderr_and_exit_code_2(capsys):
    assert options.run_command(_fail_for_the_user) == 2
    assert capsys.readouterr() == ("", "error: no such file: x\n  fix: name a file\n")


def test_another_failure_keeps_its_traceback_and_gives_exit_code_1(capsys):
    assert options.run_command(_fail_for_us) == 1
    assert "Traceback" in capsys.readouterr().err


def test_success_is_exit_code_0_with_or_without_a_return_value():
    assert options.run_command(lambda: None) == 0
    assert options.run_command(lambda: 0) == 0


def test_other_ranks_wait_for_rank_0_to_speak_first(capsys, monkeypatch):
    pauses = []
    monkeypatch.setattr(options.time, "sleep", pauses.append)
    monkeypatch.setenv("RANK", "1")
    assert options.run_command(_fail_for_the_user) == 2
    assert pauses == [options.SECONDS_RANK_0_SPEAKS_FIRST]
    assert capsys.readouterr().err.startswith("rank 1: error:")


def test_a_reader_that_closes_our_stdout_is_no_failure():
    process = subprocess.run(f"{sys.executable} -m sharprank --help | true", shell=True, capture_output=True, text=True)
    assert process.stderr == ""


@dataclass(kw_only=True)
class Knowing:
    top_up: str = "none"
    number: int | None = None
    keep_existing: bool = False
    given: frozenset[str] = field(init=False, default=frozenset())


def test_a_class_that_asks_is_told_which_flags_were_given_even_their_defaults(tmp_path):
    (tmp_path / "config.yaml").write_text("number: 3\n")
    assert parse(config_class=Knowing).given == frozenset()
    words = ["--top-up=none", "--keep_existing", "--config", str(tmp_path / "config.yaml")]
    assert parse(*words, config_class=Knowing).given == {"top_up", "keep_existing", "number"}


def test_words_beneath_count_more_than_defaults_and_less_than_a_file(tmp_path):
    (tmp_path / "config.yaml").write_text("number: 3\n")
    words = ["--config", str(tmp_path / "config.yaml"), "--keep_existing", "False"]
    beneath = ["--number=1", "--top_up=random", "--keep_existing=True"]
    found = options.parse(Knowing, words, prog="sharprank stage", description="", beneath=beneath)
    assert (found.number, found.top_up, found.keep_existing) == (3, "random", False)
    assert found.given == {"number", "keep_existing"}


def test_the_flags_that_a_file_sets_are_known_by_name(tmp_path):
    (tmp_path / "config.yaml").write_text("number: 3\ntop-up: none\nkeep_existing: null\n")
    assert options.flags_in_file(Knowing, tmp_path / "config.yaml", prog="sharprank stage") == {"number", "top_up"}
