"""What a reranker needs beyond its family's configuration, kept under `sharprank` in the checkpoint's config.json.

Other tools ignore the key. Whatever a flag asks for wins over what is stored, and is stored in what is saved.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from sharprank.errors import UserError
from sharprank.models.prompts import Prompt, prompt_from

KEY = "sharprank"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a checkpoint is used.

    Attributes:
        pooling: of our own head ("late", "maxsim", "cls", "mean", "last", "weighted"); None: the family's head.
        separator: id of the token between query and passage, for "late" and "maxsim".
        text_pooling: how "late" pools a whole text, "mean" or "cls"; None: by the mean.
        query_prefix, passage_prefix: token ids that "late" reads before every query and passage.
        text_limit: tokens that "late" reads of a text at most, with what is before it; None: no more than of a pair.
        prompt: the words around query and passage; None: the tokenizer's own pair.
        max_length: tokens of a pair in training; None: not known.
    """

    pooling: str | None = None
    separator: int | None = None
    text_pooling: str | None = None
    query_prefix: tuple[int, ...] = ()
    passage_prefix: tuple[int, ...] = ()
    text_limit: int | None = None
    prompt: Prompt | None = None
    max_length: int | None = None

    def store(self, config: Any) -> None:
        """Write it into a transformers configuration, in the place of an older one; nothing where nothing is to say."""
        values = {
            "pooling": self.pooling,
            "separator": self.separator,
            "text_pooling": self.text_pooling,
            "query_prefix": list(self.query_prefix) or None,
            "passage_prefix": list(self.passage_prefix) or None,
            "text_limit": self.text_limit,
            "prompt": None if self.prompt is None else self.prompt.to_dict(),
            "max_length": self.max_length,
        }
        told = {name: value for name, value in values.items() if value is not None}
        if told:
            setattr(config, KEY, told)
        elif hasattr(config, KEY):
            delattr(config, KEY)


def stored_recipe(config: Any, *, where: str) -> Recipe:
    """What a configuration says of itself; an empty recipe where it says nothing.

    Raises:
        UserError: the key holds something else.
    """
    values = getattr(config, KEY, None)
    if values is None:
        return Recipe()
    if not isinstance(values, Mapping) or not set(values) <= {field.name for field in fields(Recipe)}:
        raise UserError(
            f"{where}: {KEY!r} in its config.json is {values!r}", fix="it was made by a newer sharprank: pip install -U"
        )
    prompt = values.get("prompt")
    return Recipe(
        pooling=values.get("pooling"),
        separator=values.get("separator"),
        text_pooling=values.get("text_pooling"),
        query_prefix=tuple(values.get("query_prefix") or ()),
        passage_prefix=tuple(values.get("passage_prefix") or ()),
        text_limit=values.get("text_limit"),
        prompt=None if prompt is None else prompt_from(prompt, where=f"{where}: the prompt in its config.json"),
        max_length=values.get("max_length"),
    )
