"""Embedding in shards, and the store that keeps them."""

from __future__ import annotations

import errno

import numpy as np
import pytest

from sharprank.errors import UserError
from sharprank.retrieval import embeddings
from sharprank.retrieval.embeddings import EmbeddingStore, embed
from sharprank.retrieval.stored import StoredArray, load_array, save_array

TEXTS = [f"text {i}" for i in range(10)]
ENCODER = {"model": "m", "weights": "w"}


class Encoder:
    """Counts what it is asked; the vector of "text 7" is [7, 1]."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def __call__(self, texts, words) -> np.ndarray:
        self.asked.append(list(texts))
        return np.array([[float(text.split()[1]), 1.0] for text in texts], dtype=np.float32)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(embeddings, "SHARD_TEXTS", 4)


def table(shards) -> list[float]:
    return np.concatenate(shards)[:, 0].tolist()


def test_shards_hold_all_texts_in_their_order():
    shards = embed(TEXTS, Encoder(), name="passages")
    assert [len(shard) for shard in shards] == [4, 4, 2]
    assert table(shards) == list(range(10))


def test_stored_shards_are_not_encoded_again(tmp_path):
    first = embed(TEXTS, Encoder(), name="passages", store=EmbeddingStore(tmp_path, ENCODER))
    again = Encoder()
    second = embed(TEXTS, again, name="passages", store=EmbeddingStore(tmp_path, ENCODER))
    assert again.asked == []
    assert table(first) == table(second) == list(range(10))
    assert all(isinstance(shard, StoredArray) for shard in second)


def test_a_run_that_died_continues_after_its_last_finished_shard(tmp_path):
    class Dies(Encoder):
        def __call__(self, texts, words):
            if self.asked:
                raise KeyboardInterrupt
            return super().__call__(texts, words)

    with pytest.raises(KeyboardInterrupt):
        embed(TEXTS, Dies(), name="passages", store=EmbeddingStore(tmp_path, ENCODER))
    again = Encoder()
    assert table(embed(TEXTS, again, name="passages", store=EmbeddingStore(tmp_path, ENCODER))) == list(range(10))
    assert again.asked == [TEXTS[4:8], TEXTS[8:]]


def test_another_encoder_or_another_text_never_gets_stored_vectors(tmp_path):
    embed(TEXTS, Encoder(), name="passages", store=EmbeddingStore(tmp_path, ENCODER))
    other_model, other_text = Encoder(), Encoder()
    embed(TEXTS, other_model, name="passages", store=EmbeddingStore(tmp_path, ENCODER | {"weights": "x"}))
    embed(["text 11", *TEXTS[1:]], other_text, name="passages", store=EmbeddingStore(tmp_path, ENCODER))
    assert len(other_model.asked) == 3
    assert other_text.asked == [["text 11", *TEXTS[1:4]]]


def test_texts_are_told_apart_where_one_ends_and_the_next_begins(tmp_path):
    store = EmbeddingStore(tmp_path, ENCODER)
    embed(["text 1", "2 text 3"], lambda texts, words: np.zeros((2, 1), np.float32), name="x", store=store)
    assert embed(["text 12", " text 3"], Encoder(), name="x", store=store)[0][0, 0] == 12


@pytest.mark.parametrize("cut", [0, 10, 140, -1])
def test_a_shard_cut_short_is_encoded_again_not_read(tmp_path, cut):
    embed(TEXTS[:4], Encoder(), name="passages", store=EmbeddingStore(tmp_path, ENCODER))
    (shard,) = tmp_path.rglob("*.npy")
    shard.write_bytes(shard.read_bytes()[:cut])
    again = Encoder()
    assert table(embed(TEXTS[:4], again, name="passages", store=EmbeddingStore(tmp_path, ENCODER))) == [0, 1, 2, 3]
    assert again.asked == [TEXTS[:4]]


def test_a_store_that_cannot_be_written_is_a_user_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cache .* cannot be written"):
        EmbeddingStore(tmp_path / "file", ENCODER)


def test_a_shard_with_one_wrong_byte_is_encoded_again_not_read(tmp_path):
    embed(TEXTS[:4], Encoder(), name="passages", store=EmbeddingStore(tmp_path, ENCODER))
    (shard,) = tmp_path.rglob("*.npy")
    data = bytearray(shard.read_bytes())
    data[140] ^= 1
    shard.write_bytes(data)
    again = Encoder()
    embed(TEXTS[:4], again, name="passages", store=EmbeddingStore(tmp_path, ENCODER))
    assert again.asked == [TEXTS[:4]]


def test_float16_takes_half_the_disk_and_keeps_out_of_float32s_way(tmp_path):
    shards = embed(TEXTS, Encoder(), name="passages", store=EmbeddingStore(tmp_path, ENCODER, dtype="float16"))
    assert table(shards) == list(range(10)) and shards[0].dtype == np.float16
    again = Encoder()
    embed(TEXTS, again, name="passages", store=EmbeddingStore(tmp_path, ENCODER))
    assert len(again.asked) == 3


def test_a_full_disk_keeps_finished_shards_and_says_what_to_do(tmp_path, monkeypatch):
    store, encoder = EmbeddingStore(tmp_path, ENCODER), Encoder()

    def full(path, array):
        if len(encoder.asked) > 1:
            monkeypatch.setattr("numpy.save", fails)
        save_array(path, array)

    def fails(*args, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(embeddings, "save_array", full)
    with pytest.raises(UserError, match="No space left") as caught:
        embed(TEXTS, encoder, name="passages", store=store)
    assert "SHARPRANK_CACHE" in caught.value.fix and "kept" in caught.value.fix
    monkeypatch.undo()
    monkeypatch.setattr(embeddings, "SHARD_TEXTS", 4)
    assert not list(tmp_path.rglob("*.partial"))
    again = Encoder()
    embed(TEXTS, again, name="passages", store=EmbeddingStore(tmp_path, ENCODER))
    assert again.asked == [TEXTS[4:8], TEXTS[8:]]


def test_stored_records_come_back_and_an_empty_array_is_an_array(tmp_path):
    records = np.zeros(3, [("id", "<i8"), ("score", "<f4")])
    records["id"] = [3, 1, 2]
    save_array(tmp_path / "records", records)
    save_array(tmp_path / "empty", np.empty((0, 5), np.float32))
    found, empty = load_array(tmp_path / "records"), load_array(tmp_path / "empty")
    assert found is not None and found[1:]["id"].tolist() == [1, 2]
    assert empty is not None and empty[:].shape == (0, 5)
    assert load_array(tmp_path / "nothing") is None
