"""The one place where a (query, passage) pair becomes token ids, for training, evaluation and use alike.

Queries and passages are tokenised once each, in batches, without special tokens; a pair is then spliced from
its two parts in the tokenizer's own pair layout (`[CLS] q [SEP] p [SEP]`, `<s> q </s></s> p </s>`, ...). The
splice is checked against the tokenizer on real pairs; where it differs, pairs are tokenised one call at a time.

Language models are asked with a prompt (`prompts`): its pieces take the places of the special tokens, and a pair is
spliced from them by definition.

Truncation: the passage is cut, never the query, unless the query alone would fill the pair: a query keeps at
most `query_max_length` tokens (three quarters of `max_length` by default, FlagReranker's rule).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sharprank.errors import UserError
from sharprank.models.batches import TokenBatch, Tokens
from sharprank.models.prompts import PASSAGE, QUERY, Prompt
from sharprank.models.token_store import TokenStore
from sharprank.progress import progress_bar, say

PROBED_PAIRS = 256
"""Pairs of a data set on which splicing is compared with the tokenizer itself (about a tenth of a second)."""

_CHUNK = 1024
_LEAST_ROOM = 8
"""Tokens that a prompt has to leave for query and passage."""

_PROBE = ("what is asked", "the passage that answers it")


@dataclass(frozen=True)
class PairLayout:
    """Special tokens before the query, between the two texts and after the passage, and the type of each part."""

    before: np.ndarray
    between: np.ndarray
    after: np.ndarray
    query_type: int
    passage_type: int
    between_type: np.ndarray

    @property
    def num_special(self) -> int:
        return len(self.before) + len(self.between) + len(self.after)


class PairTokenizer:
    """Turns queries, passages and pairs into token ids.

    Args:
        tokenizer: a transformers tokenizer.
        max_length: tokens of a whole pair, special tokens included.
        query_max_length: tokens a query keeps at most; default three quarters of what the prompt leaves.
        prompt: the words around the two texts; None: the tokenizer's own special tokens.
        guarded: the words of these tokens (`[SEP]`, `</s>`) are ordinary text in a text, for heads that go by them;
            otherwise they are what the tokenizer makes of them, as in other libraries.

    Raises:
        UserError: the prompt alone fills the pair.
    """

    def __init__(
        self,
        tokenizer: Any,
        *,
        max_length: int,
        query_max_length: int | None = None,
        prompt: Prompt | None = None,
        guarded: bool = False,
    ) -> None:
        self.tokenizer = tokenizer
        self.prompt = prompt
        self.layout = pair_layout(tokenizer) if prompt is None else _prompt_layout(tokenizer, prompt)
        room = max_length - (self.layout.num_special if self.layout else 4) - 1
        if prompt is not None and room < _LEAST_ROOM:
            raise UserError(
                f"a pair of {max_length} tokens leaves {max(0, room)} for query and passage: the prompt alone has "
                f"{self.num_special}",
                fix=f"use {self.num_special + 64} tokens or more",
            )
        self.max_length = max_length
        whole = max_length if prompt is None else room
        self.query_max_length = max(1, min(query_max_length or whole * 3 // 4, room))
        self._reserved = self._special_words() if guarded else ()
        self._splices: bool | None = (None if prompt is None else True) if self.layout else False
        self._around_query = ("", "") if prompt is None else tuple(prompt.query.split(QUERY))
        self._before_passage = "" if prompt is None else prompt.passage.split(PASSAGE)[0]
        self._query_end = _encode(tokenizer, [self._around_query[1]])[0] if self._around_query[1] else []

    def _special_words(self) -> tuple[str, ...]:
        """The tokens that mark where query and passage are."""
        if self.layout is None:
            return ()
        layout = np.concatenate([self.layout.before, self.layout.between, self.layout.after])
        return tuple(dict.fromkeys(self.tokenizer.convert_ids_to_tokens(layout.tolist())))

    def _plain(self, text: str) -> str:
        """A text with a space in the special words: a vocabulary of pieces holds them even as ordinary text."""
        for word in self._reserved:
            if word in text:
                text = text.replace(word, f"{word[0]} {word[1:]}")
        return text

    def queries(self, texts: Sequence[str], *, progress: str | None = None, store: TokenStore | None = None) -> Tokens:
        """Token ids of queries, cut to `query_max_length`, without special tokens.

        Args:
            progress: words for a progress bar; no bar without them.
            store: where the ids are kept for the next run.
        """
        start, end = self._around_query
        limit = self.query_max_length
        return self._tokens(
            [f"{start}{text}{end}" for text in texts] if start or end else texts,
            lambda ids: self.cut_query(ids, limit),
            cut=f"{limit}, the end {self._query_end}" if self._query_end else f"{limit}",
            progress=progress,
            store=store,
        )

    def cut_query(self, ids: Any, limit: int) -> Any:
        """A query's token ids shortened to `limit`, what the prompt puts behind the query kept."""
        if len(ids) <= limit:
            return ids
        end = self._query_end[-limit:]
        return [*ids[: limit - len(end)], *end]

    def passages(
        self,
        texts: Sequence[str],
        *,
        whole: bool = False,
        progress: str | None = None,
        store: TokenStore | None = None,
    ) -> Tokens:
        """Token ids of passages without special tokens, cut to `max_length` unless `whole`; see `queries`."""
        start = self._before_passage
        limit = None if whole else self.max_length
        return self._tokens(
            [start + text for text in texts] if start else texts,
            lambda ids: ids[:limit],
            cut=str(limit),
            progress=progress,
            store=store,
        )

    def _tokens(
        self,
        texts: Sequence[str],
        shorten: Callable[[list[int]], Any],
        *,
        cut: str,
        progress: str | None,
        store: TokenStore | None,
    ) -> Tokens:
        """The texts' ids, from the store where there is one; `cut` says what `shorten` does."""
        make = self._some_at_a_time(texts, shorten, progress)
        if self._reserved:
            cut = f"{cut}, guarded"
        return Tokens.joined(make) if store is None else store.tokens(texts, make, cut=cut)

    def _some_at_a_time(
        self, texts: Sequence[str], shorten: Callable[[list[int]], Any], progress: str | None
    ) -> Iterator[Tokens]:
        with progress_bar(total=len(texts), desc=progress, unit="text") as bar:
            for start in range(0, len(texts), _CHUNK):
                rows = _encode(self.tokenizer, [self._plain(text) for text in texts[start : start + _CHUNK]])
                bar.update(len(rows))
                yield Tokens.of([shorten(row) for row in rows])

    def splice(self, query_ids: np.ndarray, passage_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(ids, types) of one pair from its two parts; the passage is cut to the room that is left."""
        layout = self.layout
        if layout is None:
            raise ValueError("this tokenizer's pairs cannot be spliced; use encode()")
        room = self.max_length - layout.num_special - len(query_ids)
        passage_ids = passage_ids[: max(0, room)]
        ids = np.concatenate([layout.before, query_ids, layout.between, passage_ids, layout.after])
        types = np.full(len(ids), layout.query_type)
        middle = len(layout.before) + len(query_ids)
        types[middle : middle + len(layout.between)] = layout.between_type
        types[middle + len(layout.between) :] = layout.passage_type
        return ids, types

    def can_splice(self, pairs: Sequence[tuple[str, str]]) -> bool:
        """Whether spliced pairs equal the tokenizer's own, checked once on up to PROBED_PAIRS of those given."""
        if self._splices is None:
            step = max(1, len(pairs) // PROBED_PAIRS)
            self._splices = all(self._same(query, passage) for query, passage in pairs[::step][:PROBED_PAIRS])
            if not self._splices:
                say("note: this tokenizer's pairs differ from their spliced parts; tokenising pair by pair instead")
        return self._splices

    def _same(self, query: str, passage: str) -> bool:
        query_ids, passage_ids = self.queries([query])[0], self.passages([passage])[0]
        if len(query_ids) == self.query_max_length:
            return True  # a query that was cut has no counterpart in the tokenizer's own truncation
        ids, types = self.splice(query_ids, passage_ids)
        expected_ids, expected_types = self._whole(query, passage)
        return np.array_equal(ids, expected_ids) and np.array_equal(types, expected_types)

    def _whole(self, query: str, passage: str) -> tuple[np.ndarray, np.ndarray]:
        """(ids, types) of one pair from a single tokenizer call; an over-long query is cut first."""
        query_ids = self.queries([query])[0]
        if len(query_ids) == self.query_max_length:
            query = self.tokenizer.decode(query_ids, clean_up_tokenization_spaces=False)
        whole = self.tokenizer(  # lists, because beside a single query an empty passage counts as none
            [self._plain(query)],
            [self._plain(passage)],
            truncation="only_second",
            max_length=self.max_length,
            return_token_type_ids=True,
        )
        return np.asarray(whole["input_ids"][0]), np.asarray(whole["token_type_ids"][0])

    @property
    def num_special(self) -> int:
        """Special tokens of a pair."""
        return self.layout.num_special if self.layout else self.tokenizer.num_special_tokens_to_add(pair=True)

    def join(self, query_ids: np.ndarray, passage_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(ids, types) of one pair from its two parts, where they cannot be spliced: by way of their texts."""
        texts = [self.tokenizer.decode(ids, clean_up_tokenization_spaces=False) for ids in (query_ids, passage_ids)]
        return self._whole(texts[0], texts[1])

    def encode(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[np.ndarray, np.ndarray]]:
        """(ids, types) of every pair; each distinct text is tokenised once."""
        if not pairs:
            return []
        if not self.can_splice(pairs):
            return [self._whole(query, passage) for query, passage in pairs]
        queries = {text: index for index, text in enumerate(dict.fromkeys(query for query, _ in pairs))}
        passages = {text: index for index, text in enumerate(dict.fromkeys(passage for _, passage in pairs))}
        query_tokens, passage_tokens = self.queries(list(queries)), self.passages(list(passages))
        return [self.splice(query_tokens[queries[q]], passage_tokens[passages[p]]) for q, p in pairs]

    def batch(self, pairs: Sequence[tuple[str, str]]) -> TokenBatch:
        """The pairs as one batch of token sequences."""
        return TokenBatch.of(self.encode(pairs))


def _encode(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    # Truncation happens in the callers and not in the tokenizer: its truncation state is shared between threads.
    return tokenizer(texts, add_special_tokens=False, return_attention_mask=False, verbose=False)["input_ids"]


def _prompt_layout(tokenizer: Any, prompt: Prompt) -> PairLayout:
    """The prompt's pieces as token ids; language models have one token type."""
    parts = {name: _joined(tokenizer, prompt.pieces(name)) for name in ("before", "between", "after")}
    if prompt.starts_with_bos:
        if tokenizer.bos_token_id is None:
            raise UserError(
                "the prompt starts with a first token, and this tokenizer has none",
                fix="use one that does not: --prompt qwen3, or a JSON file",
            )
        parts["before"] = np.concatenate([[tokenizer.bos_token_id], parts["before"]]).astype(np.int64)
    return PairLayout(
        **parts, query_type=0, passage_type=0, between_type=np.zeros(len(parts["between"]), dtype=np.int64)
    )


def _joined(tokenizer: Any, pieces: list[str]) -> np.ndarray:
    return np.asarray([token for ids in _encode(tokenizer, pieces) for token in ids] if pieces else [], np.int64)


def pair_layout(tokenizer: Any) -> PairLayout | None:
    """The tokenizer's pair layout, read off one probe pair; None when it is not prefix + q + middle + p + suffix."""
    query, passage = (np.asarray(ids) for ids in _encode(tokenizer, list(_PROBE)))
    whole = tokenizer(*_PROBE, return_token_type_ids=True)
    ids, types = np.asarray(whole["input_ids"]), np.asarray(whole["token_type_ids"])
    at_query = _find(ids, query, 0)
    at_passage = _find(ids, passage, at_query + len(query)) if at_query >= 0 else -1
    if at_passage < 0:
        return None
    between = slice(at_query + len(query), at_passage)
    layout = PairLayout(
        before=ids[:at_query],
        between=ids[between],
        after=ids[at_passage + len(passage) :],
        query_type=int(types[at_query]),
        passage_type=int(types[at_passage]),
        between_type=types[between],
    )
    regular = np.all(types[:at_query] == layout.query_type) and np.all(types[at_passage:] == layout.passage_type)
    return layout if regular else None


def _find(ids: np.ndarray, part: np.ndarray, start: int) -> int:
    for index in range(start, len(ids) - len(part) + 1):
        if np.array_equal(ids[index : index + len(part)], part):
            return index
    return -1
