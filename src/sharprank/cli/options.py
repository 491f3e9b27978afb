"""From a command line to a checked configuration, for every command alike.

One dataclass (or a tuple of them) describes a command's flags; `parse` fills it from its defaults, then from
`--config FILE` (YAML or JSON), then from the flags, later ones winning. `run_command` turns the outcome into an
exit code. Knows no stage and imports no torch.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import json
import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import yaml
from transformers.hf_argparser import HfArgumentParser, string_to_bool

from sharprank.errors import UserError
from sharprank.progress import is_first_rank

EXIT_DONE = 0
EXIT_OUR_FAULT = 1
EXIT_USER_CAN_FIX = 2
EXIT_INTERRUPTED = 130

SECONDS_RANK_0_SPEAKS_FIRST = 10.0

CONFIG_FLAGS = ("--config", "--config_path")
CONFIG_HELP = "YAML or JSON file with values for any of these flags; a flag on the command line wins over the file"


FlagsOfFile = Callable[[Mapping[str, Any], Path], Mapping[str, Any]]


def parse(
    config_class: Any,
    argv: Sequence[str] | None = None,
    *,
    prog: str,
    description: str,
    flags_of_file: FlagsOfFile | None = None,
    beneath: Sequence[str] = (),
) -> Any:
    """Fill `config_class` from its defaults, `--config FILE` and the flags in `argv`, later ones winning.

    A class with a field `given` that is no flag (`init=False`) is told there which of its flags were given a value, by
    the words or by a file: a value that equals the default is given as much as any other.

    Args:
        config_class: a dataclass whose fields are the flags (`metadata={"help": ..., "aliases": [...]}`), or a tuple
            of such classes.
        argv: the words after the command; None means those of this process.
        prog: the command as the user types it, for the help text.
        description: what the command does, for the help text.
        flags_of_file: turns what a configuration file holds into flags, where that is not one flag a key.
        beneath: words that count less than the files, where another command has defaults of its own for this one.

    Returns:
        One instance, or a tuple of them in the order given.

    Raises:
        UserError: an unknown flag or key, a missing or malformed value, an unreadable file.
    """
    several = isinstance(config_class, tuple)
    classes = config_class if several else (config_class,)
    parser = _parser(classes, prog=prog, description=description)
    words = [_at_home(_known_spelling(parser, word)) for word in (sys.argv[1:] if argv is None else argv)]
    _refuse_unknown(parser, [word for word in words if word.startswith("--") and not _is_known(parser, word)])
    said = [*_words_of_config_files(parser, words, flags_of_file), *words]
    configs = _instances(parser, [*beneath, *said])
    for config in configs:
        if any(field.name == "given" and not field.init for field in dataclasses.fields(config)):
            config.given = _given(parser, said)
    return configs if several else configs[0]


def flags_in_file(
    config_class: Any, path: str | Path, *, prog: str, flags_of_file: FlagsOfFile | None = None
) -> frozenset[str]:
    """The flags of a command that a configuration file gives a value; arguments and errors as those of `parse`."""
    classes = config_class if isinstance(config_class, tuple) else (config_class,)
    parser = _parser(classes, prog=prog, description="")
    return _given(parser, _words_of_config_file(parser, Path(path), flags_of_file))


def run_command(work: Callable[[], int | None]) -> int:
    """Do the work and return the exit code: 0 done, 2 the user can fix it, 1 our fault (traceback kept).

    Args:
        work: the whole command, parsing included, so that a wrong flag is reported like any other mistake.
    """
    try:
        code = work() or EXIT_DONE
        sys.stdout.flush()
        return code
    except UserError as error:
        _report(str(error))
        return EXIT_USER_CAN_FIX
    except KeyboardInterrupt:
        _report("stopped by the keyboard; run the same command again to continue")
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of our stdout (head, less) has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_DONE
    except Exception:
        traceback.print_exc()
        return EXIT_OUR_FAULT


def _report(message: str) -> None:
    """Print to stderr; ranks other than 0 wait, so that torchrun sees (and ends the job on) rank 0 speaking first."""
    if not is_first_rank():
        time.sleep(SECONDS_RANK_0_SPEAKS_FIRST)
        message = f"rank {os.environ['RANK']}: {message}"
    print(message, file=sys.stderr, flush=True)


class _Parser(HfArgumentParser):
    """HfArgumentParser whose complaints are UserErrors."""

    def error(self, message: str) -> NoReturn:
        missing = re.match(r"the following arguments are required: (.*)", message)
        if missing:
            flags = ", ".join(group.split("/")[0] for group in missing[1].split(", "))
            raise UserError(f"{self.prog}: no value for {flags}", fix=f"add it; `{self.prog} --help` says what it is")
        raise UserError(f"{self.prog}: {message}", fix=f"see `{self.prog} --help`")


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Each flag in one spelling, and no default where there is none."""

    def _format_action_invocation(self, action: argparse.Action) -> str:
        names = [name for name in action.option_strings if not name.startswith("--") or "-" not in name[2:]]
        value = self._format_args(action, self._get_default_metavar_for_optional(action)) if action.nargs != 0 else ""
        return f"{', '.join(names or action.option_strings)} {value}".rstrip()

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default is None else super()._get_help_string(action)


def _parser(classes: Sequence[Any], *, prog: str, description: str) -> _Parser:
    usage = f"{prog} [flags]"
    parser = _Parser(
        classes, prog=prog, usage=usage, description=description, allow_abbrev=False, formatter_class=_HelpFormatter
    )
    parser.add_argument(*CONFIG_FLAGS, metavar="FILE", action="append", default=argparse.SUPPRESS, help=CONFIG_HELP)
    for action in parser._actions:
        if action.type is string_to_bool and action.nargs is None:  # Optional[bool]: accept the bare flag too
            action.nargs, action.const = "?", True
        if isinstance(action, argparse._StoreFalseAction):  # --no_x says what `--x False` says
            action.help = argparse.SUPPRESS
    return parser


def _known_spelling(parser: _Parser, word: str) -> str:
    """`--some-flag` for `--some_flag`, the other way round, and every mixture; also where they are aliases."""
    name, equals, value = word.partition("=")
    if not name.startswith("--") or name in parser._option_string_actions:
        return word
    for spelling in ("--" + name[2:].replace("-", "_"), "--" + name[2:].replace("_", "-")):
        if spelling in parser._option_string_actions:
            return spelling + equals + value
    return word


def _at_home(word: str) -> str:
    """`~/x` as a shell means it, also where none has looked: in a file, and in most of them behind `--flag=`."""
    flag, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    return flag + equals + (os.path.expanduser(value) if value == "~" or value.startswith("~/") else value)


def _instances(parser: _Parser, words: Sequence[str]) -> tuple[Any, ...]:
    namespace, unknown = parser.parse_known_args(list(words))
    _refuse_unknown(parser, unknown)
    vars(namespace).pop("config", None)
    try:
        return parser.parse_dict(vars(namespace))
    except ValueError as error:  # a dataclass refusing its values, as TrainingArguments does
        raise UserError(f"{parser.prog}: {error}", fix=f"see `{parser.prog} --help`") from error


def _given(parser: _Parser, words: Sequence[str]) -> frozenset[str]:
    """The flags that these words give a value. Leaves the parser without defaults: it is of no use after."""
    for action in parser._actions:
        action.default, action.required = argparse.SUPPRESS, False
    return frozenset(vars(parser.parse_known_args(list(words))[0])) - {"config"}


def _is_known(parser: _Parser, word: str) -> bool:
    return word.partition("=")[0] in parser._option_string_actions


def _refuse_unknown(parser: _Parser, unknown: Sequence[str]) -> None:
    if not unknown:
        return
    word = next((word for word in unknown if word.startswith("-")), unknown[0])
    if not word.startswith("-"):
        raise UserError(
            f"{parser.prog}: nothing expects the word {word!r}",
            fix=f"put quotes around values with blanks; see `{parser.prog} --help`",
        )
    name = word.partition("=")[0]
    fix = _suggestion(name, list(parser._option_string_actions), parser)
    raise UserError(f"{parser.prog}: unknown flag {name}", fix=fix)


def _suggestion(name: str, known: Sequence[str], parser: _Parser) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    see = f"see `{parser.prog} --help`"
    return f"did you mean {close[0]}? {see}" if close else see


# --- configuration files ---------------------------------------------------------------------------------------


def _words_of_config_files(parser: _Parser, words: Sequence[str], flags_of_file: FlagsOfFile | None) -> list[str]:
    """The command-line words that say what the `--config` files say, in their order."""
    finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    finder.add_argument(*CONFIG_FLAGS, action="append", default=[])
    if words and words[-1] in CONFIG_FLAGS:
        parser.error("argument --config: expected one argument")
    paths = finder.parse_known_args(list(words))[0].config
    return [word for path in paths for word in _words_of_config_file(parser, Path(path), flags_of_file)]


def _words_of_config_file(parser: _Parser, path: Path, flags_of_file: FlagsOfFile | None) -> list[str]:
    actions = {action.dest: action for action in parser._actions if action.dest not in ("help", "config")}
    words: list[str] = []
    data = _read_config(path)
    for key, value in (flags_of_file(data, path) if flags_of_file else data).items():
        name = str(key).replace("-", "_")
        if name not in actions:
            raise UserError(f"{path}: unknown key {key!r}", fix=_suggestion(name, list(actions), parser))
        words += _words_of_value(actions[name], value)
    _check_words(parser, words, path=path)
    return [_at_home(word) for word in words]


def _read_config(path: Path) -> Mapping[str, Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read --config {path}: {error}", fix="name a readable YAML or JSON file") from error
    try:
        data = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (json.JSONDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: {reason}", fix="make it a valid YAML or JSON file of `flag: value` lines") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise UserError(f"{path}: holds a {type(data).__name__}", fix="write `flag: value` lines (a mapping)")
    return data


def _words_of_value(action: argparse.Action, value: Any) -> list[str]:
    flag = f"--{action.dest}"
    if value is None or value == []:  # no command-line word says "nothing": it becomes the default
        action.default, action.required = value, False
        return []
    if isinstance(value, list):
        return [flag, *map(_word, value)]
    return [f"{flag}={_word(value)}"]


def _word(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else str(value)


def _check_words(parser: _Parser, words: Sequence[str], *, path: Path) -> None:
    """Parse a file's words alone, so that a wrong value is reported as the file's and not as a flag's."""
    required = [action for action in parser._actions if action.required]
    for action in required:
        action.required = False
    try:
        parser.parse_known_args(list(words))
    except UserError as error:
        problem = error.problem.removeprefix(f"{parser.prog}: ")
        raise UserError(f"{path}: {problem}", fix=error.fix) from error
    finally:
        for action in required:
            action.required = True
