"""Long texts as overlapping windows of themselves: pieces of the text, each short enough for a model.

A text that fits is its one window, unchanged. Knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sharprank.errors import UserError
from sharprank.models.windows import WindowRule


def text_windows(tokenizer: Any, texts: Sequence[str], *, room: int, rule: WindowRule) -> list[list[str]]:
    """Every text cut into pieces of at most `room` tokens.

    Args:
        tokenizer: a fast one, which knows where in the text its tokens stand.
        room: tokens of a window, special ones not counted.

    Raises:
        UserError: a tokenizer that does not know.
    """
    if not tokenizer.is_fast:
        raise UserError(
            "this model's tokenizer does not say where its tokens stand, so passages cannot be split",
            fix="use --long_passages truncate, or a model with a fast tokenizer",
        )
    spans = tokenizer(
        list(texts),
        add_special_tokens=False,
        truncation=False,
        padding=False,
        return_attention_mask=False,
        return_token_type_ids=False,
        return_offsets_mapping=True,
        verbose=False,
    )["offset_mapping"]
    return [_windows(text, own, room, rule) for text, own in zip(texts, spans, strict=True)]


def _windows(text: str, spans: Sequence[tuple[int, int]], room: int, rule: WindowRule) -> list[str]:
    if len(spans) <= room:
        return [text]
    parts = (spans[window] for window in rule.cut(len(spans), room))
    return [text[part[0][0] : part[-1][1]] for part in parts]
