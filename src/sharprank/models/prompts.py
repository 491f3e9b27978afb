"""How a language model is asked whether a passage answers a query: the words around the two texts, and the answers.

A prompt is a few pieces, each tokenised by itself and laid end to end: before, query, between, passage, after. That
is what the published models were trained with (Qwen3-Reranker, bge-reranker-v2-gemma), and it lets a passage be cut
without touching what follows it. The pieces are chosen so that they are tokens of the whole text as well: a piece
begins with a space or a line's start, never inside a word.

Knows neither models nor pairs; `pair_text` lays the pieces out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from sharprank.errors import UserError

QUERY, PASSAGE, INSTRUCTION = "{query}", "{passage}", "{instruction}"


@dataclass(frozen=True)
class Prompt:
    """The words around a query and a passage, and the tokens that answer.

    Attributes:
        before, between, after: pieces of text, each tokenised by itself; `{instruction}` stands for the instruction.
        query, passage: one `{query}` or `{passage}` each, with what is tokenised together with it.
        yes: the answer whose logit is the score; None for a model with a head of its own.
        no: the answer whose logit is taken off; None: nothing is.
        starts_with_bos: the tokenizer's first token comes first.
        instruction: what the model is asked to judge.
    """

    before: tuple[str, ...]
    query: str
    between: tuple[str, ...]
    passage: str
    after: tuple[str, ...]
    yes: str | None = None
    no: str | None = None
    starts_with_bos: bool = False
    instruction: str = ""

    def __post_init__(self) -> None:
        for name, text, place in (("query", self.query, QUERY), ("passage", self.passage, PASSAGE)):
            if text.count(place) != 1:
                raise UserError(f"prompt: {name} {text!r} holds no {place}", fix=f"write {place} where it belongs")
        if not self.passage.endswith(PASSAGE):
            raise UserError(
                f"prompt: passage {self.passage!r} goes on behind {PASSAGE}, which a long passage would cut off",
                fix="put what follows the passage into 'after'",
            )
        if self.no is not None and self.yes is None:
            raise UserError(f"prompt: it has the answer no ({self.no!r}) but no answer yes", fix="name 'yes' too")

    def pieces(self, name: str) -> list[str]:
        """The texts of `before`, `between` or `after`, instruction filled in."""
        return [piece.replace(INSTRUCTION, self.instruction) for piece in getattr(self, name)]

    def to_dict(self) -> dict[str, Any]:
        """As JSON knows it, for a checkpoint's config.json."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


QWEN3 = Prompt(
    before=(
        "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
        'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n',
        "<Instruct>: {instruction}\n<Query>:",
    ),
    query=" {query}\n",
    between=("<Document>:",),
    passage=" {passage}",
    after=("<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",),
    yes="yes",
    no="no",
    instruction="Given a web search query, retrieve relevant passages that answer the query",
)
"""Of Qwen3-Reranker's model card; the score is logit(yes) - logit(no)."""

GEMMA = Prompt(
    before=(),
    query="A: {query}",
    between=("\n",),
    passage="B: {passage}",
    after=("\n", "{instruction}"),
    yes="Yes",
    starts_with_bos=True,
    instruction="Given a query A and a passage B, determine whether the passage contains an answer to the query by "
    "providing a prediction of either 'Yes' or 'No'.",
)
"""Of bge-reranker-v2-gemma and FlagEmbedding's decoder rerankers; the score is logit(Yes)."""

PROMPTS = {"qwen3": QWEN3, "gemma": GEMMA}


def read_prompt(name_or_file: str) -> Prompt:
    """A prompt by its name, or from a JSON file with the attributes of `Prompt`.

    Raises:
        UserError: no such name or file, or a file that holds no prompt.
    """
    if name_or_file in PROMPTS:
        return PROMPTS[name_or_file]
    try:
        values = json.loads(Path(name_or_file).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"--prompt {name_or_file} is no prompt: {error.strerror}",
            fix=f"use {', '.join(PROMPTS)}, or name a JSON file",
        ) from error
    except ValueError as error:
        raise UserError(f"--prompt {name_or_file} is no JSON: {error}", fix="mend the file") from error
    return prompt_from(values, where=f"--prompt {name_or_file}")


def prompt_from(values: Any, *, where: str) -> Prompt:
    """The prompt that `Prompt.to_dict` gave.

    Raises:
        UserError: missing or unknown keys.
    """
    names = {field.name for field in fields(Prompt)}
    needed = {"before", "query", "between", "passage", "after"}
    if not isinstance(values, Mapping) or not needed <= set(values) <= names:
        found = sorted(values) if isinstance(values, Mapping) else type(values).__name__
        raise UserError(
            f"{where} holds {found}, and a prompt has {', '.join(sorted(names))}",
            fix=f"give at least {', '.join(sorted(needed))}",
        )
    lists = {name: tuple([v] if isinstance(v := values[name], str) else v) for name in ("before", "between", "after")}
    return Prompt(**{**values, **lists})


def choose_prompt(tokenizer: Any) -> tuple[str, Prompt]:
    """Name and prompt that suit a language model which says nothing of its own: by the turns its tokenizer knows.

    Chat turns of Qwen's kind are enough for its prompt, whose other marks are read as text where they are no tokens.

    Raises:
        UserError: none of ours: the tokenizer knows no such turns, and has no first token.
    """
    if {"<|im_start|>", "<|im_end|>"} <= set(tokenizer.get_added_vocab()):
        name = "qwen3"
    elif tokenizer.bos_token_id is not None:
        name = "gemma"
    else:
        raise UserError(
            "no prompt of ours suits this language model: its tokenizer has neither <|im_start|> nor a first token",
            fix="name one that needs no first token: --prompt qwen3, or a JSON file",
        )
    return name, PROMPTS[name]


def with_instruction(prompt: Prompt, instruction: str | None) -> Prompt:
    """The prompt with another instruction.

    Raises:
        UserError: the prompt has no place for one.
    """
    if instruction is None:
        return prompt
    if not any(INSTRUCTION in piece for piece in (*prompt.before, *prompt.between, *prompt.after)):
        raise UserError("--instruction: this prompt has no {instruction}", fix="write it into the prompt's file")
    return replace(prompt, instruction=instruction)


def answer_ids(prompt: Prompt, tokenizer: Any) -> tuple[int, ...]:
    """The tokens of the answers: (yes,) or (yes, no).

    Raises:
        UserError: an answer that is several tokens, or none that the tokenizer knows.
    """
    ids = []
    for answer in (prompt.yes, prompt.no):
        if answer is None:
            continue
        tokens = tokenizer(answer, add_special_tokens=False)["input_ids"]
        if len(tokens) != 1 or tokens[0] == tokenizer.unk_token_id:
            pieces = tokenizer.convert_ids_to_tokens(tokens)
            raise UserError(
                f"the answer {answer!r} is not one token of this tokenizer but {len(tokens)}: {pieces}",
                fix="name answers that are single tokens: --prompt FILE with other 'yes' and 'no'",
            )
        ids.append(int(tokens[0]))
    if len(ids) == 2 and ids[0] == ids[1]:
        raise UserError(f"the answers {prompt.yes!r} and {prompt.no!r} are the same token", fix="use two that differ")
    return tuple(ids)
