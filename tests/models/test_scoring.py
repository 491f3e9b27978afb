"""Scores agree with the other libraries that load the same folder, and do not depend on the company they keep."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sharprank.errors import UserError
from sharprank.models.scoring import PairScorer

QUERIES = ["what is a cat", "sort the table", "read a file in python"]
PASSAGES = [
    "a cat is not a dog",
    "set the key and the value of the table row " * 3,
    "the tree",
    "open the file, read it",
]
PAIRS = [(query, passage) for query in QUERIES for passage in PASSAGES]
FAMILIES = ["tiny_bert", "tiny_xlmr", "tiny_modernbert"]


@pytest.fixture(params=FAMILIES)
def folder(request):
    return str(request.getfixturevalue(request.param))


def test_scores_are_those_of_plain_transformers(folder):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    batch = tokenizer(
        [list(pair) for pair in PAIRS], padding=True, truncation="only_second", max_length=128, return_tensors="pt"
    )
    with torch.no_grad():
        expected = model(**batch).logits[:, 0].numpy()
    scores = PairScorer.load(folder, dtype="float32", device="cpu").score(PAIRS)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_scores_are_those_of_flag_reranker(folder):
    from FlagEmbedding import FlagReranker

    expected = FlagReranker(folder, use_fp16=False, devices="cpu", max_length=128).compute_score(PAIRS)
    scores = PairScorer.load(folder, dtype="float32", device="cpu").score(PAIRS)
    np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_scores_are_those_of_sentence_transformers(folder):
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(folder, device="cpu", activation_fn=torch.nn.Identity())
    expected = model.predict(PAIRS)
    scores = PairScorer.load(folder, dtype="float32", device="cpu").score(PAIRS)
    np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_a_score_does_not_depend_on_the_other_pairs_nor_on_the_budget(folder):
    scorer = PairScorer.load(folder, dtype="float32", device="cpu")
    together = scorer.score(PAIRS)
    alone = np.concatenate([scorer.score([pair]) for pair in PAIRS])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    scorer.budget = 30
    np.testing.assert_allclose(scorer.score(PAIRS[::-1])[::-1], together, atol=1e-6)


def test_models_that_cannot_be_packed_are_padded_and_said_so(tmp_path, tiny_tokenizer, capsys):
    from transformers import DistilBertConfig, DistilBertForSequenceClassification

    config = DistilBertConfig(
        vocab_size=len(tiny_tokenizer),
        dim=16,
        n_layers=1,
        n_heads=2,
        hidden_dim=32,
        num_labels=1,
        initializer_range=0.3,
    )
    DistilBertForSequenceClassification(config).save_pretrained(tmp_path)
    tiny_tokenizer.save_pretrained(tmp_path)
    scorer = PairScorer.load(str(tmp_path), dtype="float32", device="cpu")
    assert "cannot be packed" in capsys.readouterr().err
    together = scorer.score(PAIRS)
    alone = np.concatenate([scorer.score([pair]) for pair in PAIRS])
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_no_pairs_give_no_scores(tiny_bert):
    assert PairScorer.load(str(tiny_bert), device="cpu").score([]).shape == (0,)


def test_a_model_that_gives_nan_is_an_error_naming_the_pair(tiny_bert):
    scorer = PairScorer.load(str(tiny_bert), device="cpu")
    with torch.no_grad():
        scorer.model.classifier.bias.fill_(float("nan"))
    with pytest.raises(UserError, match="not a number, first: 'what is a cat'"):
        scorer.score(PAIRS)


def test_candidates_of_many_queries_come_back_as_a_run(tiny_bert):
    scorer = PairScorer.load(str(tiny_bert), device="cpu")
    queries = {"q1": QUERIES[0], "q2": QUERIES[1]}
    passages = {f"p{i}": text for i, text in enumerate(PASSAGES)}
    run = scorer.score_many(queries, passages, {"q1": ["p0", "p2"], "q2": []})
    expected = scorer.score([(QUERIES[0], PASSAGES[0]), (QUERIES[0], PASSAGES[2])])
    assert run["q2"] == {}
    assert list(run["q1"]) == ["p0", "p2"]
    np.testing.assert_allclose(list(run["q1"].values()), expected, atol=1e-6)
