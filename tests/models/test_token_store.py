"""Texts are tokenised once: what is kept is found by tokenizer, limit and texts, and never trusted when cut short."""

from __future__ import annotations

import numpy as np
import pytest

from sharprank.models import pair_text
from sharprank.models.batches import Tokens
from sharprank.models.loading import load_tokenizer
from sharprank.models.pair_text import PairTokenizer
from sharprank.models.token_store import TokenStore, tokenizer_fingerprint
from sharprank.records import Group
from sharprank.training.groups import DrawKey, GroupDataset

TEXTS = ["a cat is not a dog", "the tree and the river", "", "open the file read it " * 20]


@pytest.fixture
def tokenizer(tiny_bert):
    return load_tokenizer(str(tiny_bert))


def fresh(tokenizer, texts=TEXTS, *, max_length=32) -> Tokens:
    return PairTokenizer(tokenizer, max_length=max_length).passages(texts)


def kept(tokenizer, folder, texts=TEXTS, *, max_length=32) -> Tokens:
    store = TokenStore(folder, tokenizer)
    return PairTokenizer(tokenizer, max_length=max_length).passages(texts, store=store)


def tokens_of(tokens: Tokens) -> list[list[int]]:
    return [tokens[number].tolist() for number in range(len(tokens))]


@pytest.fixture
def calls(monkeypatch) -> list[int]:
    """How many texts the tokenizer was given, call by call."""
    seen: list[int] = []
    original = pair_text._encode
    monkeypatch.setattr(
        pair_text, "_encode", lambda tokenizer, texts: seen.append(len(texts)) or original(tokenizer, texts)
    )
    return seen


def test_kept_ids_are_those_of_the_tokenizer_and_are_memory_mapped(tokenizer, tmp_path):
    found = kept(tokenizer, tmp_path)
    assert isinstance(found.ids, np.memmap) and found.ids.dtype == np.uint16
    assert tokens_of(found) == tokens_of(fresh(tokenizer))
    assert max(found.lengths) == 32


def test_the_same_texts_are_tokenised_once(tokenizer, tmp_path, calls):
    kept(tokenizer, tmp_path)
    assert sum(calls) >= len(TEXTS)
    calls.clear()
    PairTokenizer(tokenizer, max_length=32)
    before = sum(calls)
    kept(tokenizer, tmp_path)
    assert sum(calls) == 2 * before  # the probe of the pair layout, nothing more


@pytest.mark.parametrize("other", [TEXTS[::-1], [*TEXTS[:-1], "another"], TEXTS[:-1], ["a cat is not a dogthe tree"]])
def test_other_texts_never_get_these_ids(tokenizer, tmp_path, other):
    kept(tokenizer, tmp_path)
    assert tokens_of(kept(tokenizer, tmp_path, other)) == tokens_of(fresh(tokenizer, other))


def test_another_length_or_tokenizer_never_gets_these_ids(tokenizer, tiny_xlmr, tmp_path):
    xlmr = load_tokenizer(str(tiny_xlmr))
    assert tokenizer_fingerprint(tokenizer) != tokenizer_fingerprint(xlmr)
    kept(tokenizer, tmp_path)
    for other, length in ((tokenizer, 16), (xlmr, 32)):
        assert tokens_of(kept(other, tmp_path, max_length=length)) == tokens_of(fresh(other, max_length=length))


def test_queries_and_passages_cut_differently_are_kept_apart(tokenizer, tmp_path):
    pairs, store = PairTokenizer(tokenizer, max_length=32), TokenStore(tmp_path, tokenizer)
    assert max(pairs.passages(TEXTS, store=store).lengths) == 32
    assert max(pairs.queries(TEXTS, store=store).lengths) == pairs.query_max_length == 24
    assert max(pairs.passages(TEXTS, whole=True, store=store).lengths) > 32


def test_a_tokenizer_is_the_same_after_it_was_used_and_when_loaded_again(tokenizer, tiny_bert):
    before = tokenizer_fingerprint(tokenizer)
    tokenizer(["a cat"], truncation=True, max_length=3, padding="max_length")
    assert tokenizer_fingerprint(tokenizer) == before == tokenizer_fingerprint(load_tokenizer(str(tiny_bert)))


@pytest.mark.parametrize("name", ["ids.bin", "offsets.npy"])
def test_a_file_cut_short_is_made_again(tokenizer, tmp_path, name):
    kept(tokenizer, tmp_path)
    (path,) = tmp_path.rglob(name)
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    assert tokens_of(kept(tokenizer, tmp_path)) == tokens_of(fresh(tokenizer))
    assert path.read_bytes() == whole


def test_a_kill_while_writing_leaves_nothing_that_is_read(tokenizer, tmp_path):
    def killed():
        yield Tokens.of([[1, 2, 3]])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        TokenStore(tmp_path, tokenizer).tokens(TEXTS, killed(), cut="32")
    assert not list(tmp_path.rglob("ids.bin"))


def test_training_over_the_same_rows_again_tokenises_nothing(tokenizer, tmp_path, calls):
    groups = [Group(f"query {i}", ("a cat", f"the tree {i}"), (1.0, 0.0)) for i in range(5)]
    store = TokenStore(tmp_path, tokenizer)
    first = GroupDataset(groups, PairTokenizer(tokenizer, max_length=32), group_size=2, seed=0, store=store)
    calls.clear()
    again = GroupDataset(groups, PairTokenizer(tokenizer, max_length=32), group_size=2, seed=0, store=store)
    assert max(calls) <= 2  # probes of the pair layout and of single pairs; never all queries or passages
    key = DrawKey(3, 0)
    assert again[key].tokens.ids.tolist() == first[key].tokens.ids.tolist()
