"""`Reranker`: scores as in training, a float for one flat pair, a list for a list, best passages first."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from sharprank import Reranker
from sharprank.errors import UserError
from sharprank.models.scoring import PairScorer
from sharprank.models.windows import WindowRule

PASSAGES = ["a cat is not a dog", "the tree and the river", "open the file, read it"]


@pytest.fixture
def reranker(tiny_bert) -> Reranker:
    return Reranker.from_pretrained(str(tiny_bert), dtype="float32", device="cpu")


def test_one_flat_pair_gives_a_float_and_a_list_gives_a_list(reranker):
    one = reranker.compute_score(("what is a cat", PASSAGES[0]))
    listed = reranker.compute_score([("what is a cat", PASSAGES[0])])
    assert isinstance(one, float) and isinstance(listed, list)
    assert listed == [pytest.approx(one, abs=1e-6)]
    assert reranker.compute_score(["what is a cat", PASSAGES[0]]) == pytest.approx(one, abs=1e-6)
    assert reranker.compute_score([]) == []


def test_two_pairs_are_not_mistaken_for_one_flat_pair(reranker):
    scores = reranker.compute_score([("cat", "dog"), ("tree", "river")])
    assert len(scores) == 2


def test_scores_are_those_of_the_scorer_that_training_and_evaluation_use(reranker, tiny_bert):
    pairs = [("what is a cat", passage) for passage in PASSAGES]
    expected = PairScorer.load(str(tiny_bert), dtype="float32", device="cpu").score(pairs)
    np.testing.assert_allclose(reranker.compute_score(pairs), expected, atol=1e-6)


def test_normalize_gives_the_sigmoid(reranker):
    pair = ("what is a cat", PASSAGES[0])
    raw = reranker.compute_score(pair)
    assert reranker.compute_score(pair, normalize=True) == pytest.approx(torch.tensor(raw).sigmoid().item(), abs=1e-6)


def test_rank_puts_the_best_first_and_keeps_the_places_given(reranker):
    ranked = reranker.rank("what is a cat", PASSAGES)
    scores = reranker.compute_score([("what is a cat", passage) for passage in PASSAGES])
    assert [r.index for r in ranked] == sorted(range(3), key=lambda i: -scores[i])
    assert all(r.passage == PASSAGES[r.index] and r.score == pytest.approx(scores[r.index], abs=1e-6) for r in ranked)
    assert reranker.rank("what is a cat", PASSAGES, top_k=1) == ranked[:1]
    assert reranker.rank("what is a cat", []) == []


FIRST = [0.2, 0.9, 0.4]


def test_scores_of_the_first_stage_count_by_the_weight_that_is_stored_beside_the_model(tiny_bert, tmp_path):
    shutil.copytree(tiny_bert, tmp_path / "model")
    (tmp_path / "model" / "fusion.json").write_text('{"weight": 0.4, "first_stage": "bm25.trec"}')
    reranker = Reranker.from_pretrained(str(tmp_path / "model"), dtype="float32", device="cpu")
    own = np.array(reranker.compute_score([("cat", passage) for passage in PASSAGES]))
    first = np.array(FIRST)
    expected = 0.6 * (own - own.mean()) / own.std() + 0.4 * (first - first.mean()) / first.std()
    ranked = reranker.rank("cat", PASSAGES, first_stage_scores=FIRST)
    assert [one.index for one in ranked] == np.argsort(-expected).tolist()
    assert [one.score for one in ranked] == pytest.approx(sorted(expected, reverse=True), abs=1e-4)
    assert [one.index for one in reranker.rank("cat", PASSAGES, first_stage_scores=FIRST, top_k=1)] == [ranked[0].index]
    reranker.first_stage_weight = 1.0
    assert [one.index for one in reranker.rank("cat", PASSAGES, first_stage_scores=FIRST)] == [1, 2, 0]


def test_first_stage_scores_that_cannot_count_are_refused(reranker):
    with pytest.raises(ValueError, match="no weight"):
        reranker.rank("cat", PASSAGES, first_stage_scores=FIRST)
    reranker.first_stage_weight = 0.5
    with pytest.raises(ValueError, match="2 first-stage scores for 3 passages"):
        reranker.rank("cat", PASSAGES, first_stage_scores=FIRST[:2])
    with pytest.raises(ValueError, match="no probabilities"):
        reranker.rank("cat", PASSAGES, first_stage_scores=FIRST, normalize=True)


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), -float("inf"), None, "high"])
def test_a_first_stage_score_that_is_no_number_is_refused_with_its_place(reranker, broken):
    reranker.first_stage_weight = 0.5
    with pytest.raises(ValueError, match=f"first-stage score of passage 1 is {broken!r}"):
        reranker.rank("cat", PASSAGES, first_stage_scores=[0.2, broken, 0.4])


@pytest.mark.parametrize(
    ("weight", "more", "problem"),
    [
        (0.5, {"top_k": -1}, "top_k is -1"),
        (7, {}, "weight is 7; use a number from 0 to 1"),
        (float("nan"), {}, "weight is nan"),
        (0.5, {"first_stage_scores": FIRST[:2]}, "2 first-stage scores for 3 passages"),
        (0.5, {"normalize": True}, "no probabilities"),
        (None, {}, "no weight"),
    ],
)
def test_what_cannot_be_fused_is_refused_before_anything_is_scored(reranker, monkeypatch, weight, more, problem):
    monkeypatch.setattr(reranker.scorer, "score", lambda *args, **settings: pytest.fail("it scored"))
    reranker.first_stage_weight = weight
    with pytest.raises(ValueError, match=problem):
        reranker.rank("cat", PASSAGES, **{"first_stage_scores": FIRST, **more})


def test_first_stage_scores_may_be_an_array_and_top_k_none_at_all(reranker):
    reranker.first_stage_weight = 0.5
    listed = reranker.rank("cat", PASSAGES, first_stage_scores=FIRST)
    assert reranker.rank("cat", PASSAGES, first_stage_scores=np.array(FIRST)) == listed
    assert reranker.rank("cat", PASSAGES, first_stage_scores=FIRST, top_k=0) == []
    assert reranker.rank("cat", [], first_stage_scores=[]) == []


@pytest.mark.parametrize("pairs", [[("cat",)], [("cat", None)], [("a", "b", "c")], ["cat", 3]])
def test_what_is_no_pair_is_refused_with_its_value(reranker, pairs):
    with pytest.raises(ValueError, match="a pair is"):
        reranker.compute_score(pairs)


def test_a_length_beyond_the_model_is_refused(tiny_bert):
    with pytest.raises(UserError, match="128 positions"):
        Reranker.from_pretrained(str(tiny_bert), max_length=512)


def test_an_unknown_device_or_dtype_is_a_user_error(tiny_bert):
    with pytest.raises(UserError, match="device 'gpu'"):
        Reranker.from_pretrained(str(tiny_bert), device="gpu")
    with pytest.raises(UserError, match="dtype 'int3'"):
        Reranker.from_pretrained(str(tiny_bert), dtype="int3")


def test_importing_the_name_costs_torch_only_when_it_is_used():
    code = "import sharprank, sys; assert 'torch' not in sys.modules; sharprank.Reranker; assert 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_bfloat16_scores_stay_close_and_rank_alike(tiny_bert, reranker):
    pairs = [(query, passage) for query in ("cat", "read the file", "river") for passage in PASSAGES]
    low = Reranker.from_pretrained(str(tiny_bert), dtype="bfloat16", device="cpu").compute_score(pairs)
    full = reranker.compute_score(pairs)
    assert np.corrcoef(low, full)[0, 1] > 0.99


# --- many queries, threads, caches, long documents --------------------------------------------------------------------

QUERIES = ["what is a cat", "read the file", "river"]
LONG = " ".join(["the tree and the river", "a cat is not a dog", "open the file read it"] * 30)


def test_many_queries_in_one_call_rank_as_one_by_one(reranker):
    lists = [PASSAGES, [], PASSAGES[:1]]
    together = reranker.rank_many(QUERIES, lists, top_k=2)
    assert [len(ranked) for ranked in together] == [2, 0, 1]
    for query, passages, ranked in zip(QUERIES, lists, together, strict=True):
        alone = reranker.rank(query, passages, top_k=2)
        assert [r.index for r in ranked] == [r.index for r in alone]
        assert [r.score for r in ranked] == pytest.approx([r.score for r in alone], abs=1e-6)


@pytest.mark.parametrize(
    ("queries", "passages"),
    [(QUERIES, [PASSAGES]), ("cat", PASSAGES), (["cat"], ["dog"]), (["cat"], [[None]]), (["cat"], [[("a", "b")]])],
)
def test_lists_that_do_not_fit_are_refused(reranker, queries, passages):
    with pytest.raises(ValueError, match="one list|list of strings|a pair is"):
        reranker.rank_many(queries, passages)


def test_a_negative_top_k_is_refused(reranker):
    with pytest.raises(ValueError, match="top_k is -1"):
        reranker.rank("cat", PASSAGES, top_k=-1)


def test_ranks_are_probabilities_when_asked(reranker):
    raw, probable = (reranker.rank("what is a cat", PASSAGES, normalize=way) for way in (False, True))
    assert [r.index for r in raw] == [r.index for r in probable]
    assert all(0 < r.score < 1 for r in probable)


def test_scores_so_large_that_their_probabilities_are_all_1_still_rank():
    class Sure:
        def score(self, pairs, *, windows=None):
            return np.array([float(passage) for _, passage in pairs], dtype=np.float32)

    ranked = Reranker(Sure()).rank("how much", ["40", "60", "50"], normalize=True)
    assert [(one.index, one.score) for one in ranked] == [(1, 1.0), (2, 1.0), (0, 1.0)]


def test_threads_that_share_a_reranker_get_the_scores_of_one_thread(tiny_bert):
    from concurrent.futures import ThreadPoolExecutor

    shared = Reranker.from_pretrained(str(tiny_bert), dtype="float32", device="cpu", cached_passages=2)
    jobs = [(f"{query} {n}", [*PASSAGES[n % 3 :], LONG]) for n in range(12) for query in QUERIES]
    expected = [shared.score_lists([query], [passages])[0] for query, passages in jobs]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda job: shared.score_lists([job[0]], [job[1]])[0], jobs))
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, abs=1e-6)


def test_cached_passages_are_tokenised_once_and_the_oldest_goes_first(tiny_bert, reranker):
    caching = Reranker.from_pretrained(str(tiny_bert), dtype="float32", device="cpu", cached_passages=2)
    cache = caching.scorer.pair_tokenizer
    first, second, third = PASSAGES
    for passages in ([first, second], [first], [third], [second, first]):
        pairs = [("what is a cat", passage) for passage in passages]
        assert caching.compute_score(pairs) == pytest.approx(reranker.compute_score(pairs), abs=1e-6)
    before = cache.misses
    caching.compute_score([("river", first)])
    assert cache.misses == before and len(cache._kept) == 2
    windows = WindowRule(overlap=4)
    assert caching.rank("cat", [LONG], windows=windows)[0].score == pytest.approx(
        reranker.rank("cat", [LONG], windows=windows)[0].score, abs=1e-6
    )
    with pytest.raises(ValueError, match="keeps nothing"):
        Reranker(reranker.scorer, cached_passages=-1)


def test_rerank_answers_as_open_retrievals_does_for_any_number_of_documents(reranker):
    documents = [LONG, "", *PASSAGES]
    found = reranker.rerank("what is a cat", documents, chunk_max_length=40, chunk_overlap=1000)
    assert sorted(found["rerank_ids"]) == [0, 1, 2, 3, 4]
    assert found["rerank_document"] == [documents[i] for i in found["rerank_ids"]]
    assert found["rerank_scores"] == sorted(found["rerank_scores"], reverse=True)
    assert (
        reranker.rerank("what is a cat", documents, return_dict=False, chunk_max_length=40, chunk_overlap=1000)
        == (found["rerank_document"])
    )
    assert reranker.rerank("cat", []) == {"rerank_document": [], "rerank_scores": [], "rerank_ids": []}
    assert len(reranker.rerank("cat", ["dog"])["rerank_scores"]) == 1
    assert reranker.rerank(LONG, [LONG], chunk_max_length=16, max_chunks_per_doc=2)["rerank_ids"] == [0]


# --- models of others -------------------------------------------------------------------------------------------------

PAIRS = [(query, passage) for query in ("what is a cat", "read the file") for passage in PASSAGES]


@pytest.fixture
def ms_marco_layout(tiny_bert, tmp_path):
    """A folder as cross-encoder/ms-marco-MiniLM-L6-v2 is laid out: its activation is the identity."""
    folder = shutil.copytree(tiny_bert, tmp_path / "ms-marco")
    settings = json.loads((folder / "config.json").read_text())
    settings["sentence_transformers"] = {"activation_fn": "torch.nn.modules.linear.Identity", "version": "4.0.1"}
    (folder / "config.json").write_text(json.dumps(settings))
    return str(folder)


def test_the_ms_marco_layout_scores_as_its_own_library_does(ms_marco_layout):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    theirs = sentence_transformers.CrossEncoder(ms_marco_layout, device="cpu", max_length=128)
    ours = Reranker.from_pretrained(ms_marco_layout, device="cpu")
    pairs = [*PAIRS, ("what is a cat", "")]
    np.testing.assert_allclose(ours.compute_score(pairs), theirs.predict(pairs), atol=1e-5)


def test_the_bge_layout_scores_as_its_own_libraries_do(tiny_xlmr):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    flag_embedding = pytest.importorskip("FlagEmbedding")
    ours = Reranker.from_pretrained(str(tiny_xlmr), device="cpu")
    theirs = flag_embedding.FlagReranker(str(tiny_xlmr), use_fp16=False, devices="cpu", max_length=128)
    np.testing.assert_allclose(ours.compute_score(PAIRS), theirs.compute_score(PAIRS), atol=1e-5)
    np.testing.assert_allclose(
        ours.compute_score(PAIRS, normalize=True), theirs.compute_score(PAIRS, normalize=True), atol=1e-5
    )
    encoder = sentence_transformers.CrossEncoder(str(tiny_xlmr), device="cpu", max_length=128)
    np.testing.assert_allclose(ours.compute_score(PAIRS, normalize=True), encoder.predict(PAIRS), atol=1e-5)
