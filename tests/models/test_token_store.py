"""Texts are tokenised once: what is kept is found by tokenizer, limit and texts, and never trusted when cut short."""

from __future__ import annotations

import numpy as np
import pytest

from sharprank.models.loading import load_tokenizer
from sharprank.models.pair_text import PairTokenizer
from sharprank.models.token_store import TokenStore, tokenizer_fingerprint

TEXTS = ["a cat is not a dog", "the tree and the river", "", "open the file read it " * 20]


@pytest.fixture
def tokenizer(tiny_bert):
    return load_tokenizer(str(tiny_bert))


def _counting(tokenizer, store):
    calls: list[int] = []
    pair_tokenizer = PairTokenizer(tokenizer, max_length=32, store=store)
    inner = pair_tokenizer._encode

    def counted(texts, limit):
        calls.append(len(texts))
        return inner(texts, limit)

    pair_tokenizer._encode = counted  # type: ignore[method-assign]
    return pair_tokenizer, calls


def test_kept_ids_are_those_of_the_tokenizer_and_are_memory_mapped(tokenizer, tmp_path):
    kept = PairTokenizer(tokenizer, max_length=32, store=TokenStore(tmp_path, tokenizer)).passages(TEXTS)
    fresh = PairTokenizer(tokenizer, max_length=32).passages(TEXTS)
    assert isinstance(kept.ids, np.memmap) and kept.ids.dtype == np.uint16
    assert [kept[i].tolist() for i in range(4)] == [fresh[i].tolist() for i in range(4)]
    assert max(kept.lengths) == 32


def test_the_same_texts_are_tokenised_once(tokenizer, tmp_path):
    first, calls = _counting(tokenizer, TokenStore(tmp_path, tokenizer))
    first.passages(TEXTS)
    assert calls
    again, calls = _counting(tokenizer, TokenStore(tmp_path, tokenizer))
    again.passages(TEXTS)
    assert calls == []


@pytest.mark.parametrize("other", [TEXTS[::-1], [*TEXTS[:-1], "another"], TEXTS[:-1], ["a cat is not a dogthe tree"]])
def test_other_texts_never_get_these_ids(tokenizer, tmp_path, other):
    PairTokenizer(tokenizer, max_length=32, store=TokenStore(tmp_path, tokenizer)).passages(TEXTS)
    kept = PairTokenizer(tokenizer, max_length=32, store=TokenStore(tmp_path, tokenizer)).passages(other)
    fresh = PairTokenizer(tokenizer, max_length=32).passages(other)
    assert kept.ids.tolist() == fresh.ids.tolist()


def test_another_length_or_tokenizer_never_gets_these_ids(tokenizer, tiny_xlmr, tmp_path):
    xlmr = load_tokenizer(str(tiny_xlmr))
    assert tokenizer_fingerprint(tokenizer) != tokenizer_fingerprint(xlmr)
    PairTokenizer(tokenizer, max_length=32, store=TokenStore(tmp_path, tokenizer)).passages(TEXTS)
    for one, length in ((tokenizer, 16), (xlmr, 32)):
        kept = PairTokenizer(one, max_length=length, store=TokenStore(tmp_path, one)).passages(TEXTS)
        assert kept.ids.tolist() == PairTokenizer(one, max_length=length).passages(TEXTS).ids.tolist()


def test_a_tokenizer_is_the_same_after_it_was_used_and_when_loaded_again(tokenizer, tiny_bert):
    before = tokenizer_fingerprint(tokenizer)
    tokenizer(["a cat"], truncation=True, max_length=3, padding="max_length")
    assert tokenizer_fingerprint(tokenizer) == before == tokenizer_fingerprint(load_tokenizer(str(tiny_bert)))


@pytest.mark.parametrize("name", ["ids.bin", "offsets.npy"])
def test_a_file_cut_short_is_made_again(tokenizer, tmp_path, name):
    PairTokenizer(tokenizer, max_length=32, store=TokenStore(tmp_path, tokenizer)).passages(TEXTS)
    (path,) = tmp_path.rglob(name)
    path.write_bytes(path.read_bytes()[:-3])
    again, calls = _counting(tokenizer, TokenStore(tmp_path, tokenizer))
    assert again.passages(TEXTS).ids.tolist() == PairTokenizer(tokenizer, max_length=32).passages(TEXTS).ids.tolist()
    assert calls


def test_a_kill_while_writing_leaves_nothing_that_is_read(tokenizer, tmp_path):
    store = TokenStore(tmp_path, tokenizer)

    def killed():
        yield [[1, 2, 3]]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.tokens(TEXTS, 32, killed())
    assert not list(tmp_path.rglob("ids.bin"))
