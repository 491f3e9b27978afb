"""Language models as rerankers: the published ways of asking, the answers' rows alone, packed like everything else."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from sharprank.errors import UserError
from sharprank.models.checkpoint import open_reranker
from sharprank.models.cross_encoder import save_cross_encoder
from sharprank.models.kinds import Asked
from sharprank.models.pair_text import PairTokenizer
from sharprank.models.prompts import GEMMA, QWEN3
from sharprank.models.scoring import PairScorer

PAIRS = [
    ("what is a cat?", "a cat is a fast animal; it can read the list."),
    ("where is the river", "the house of the fish is green and slow " * 9),
    ("(x) y", ""),
]


def qwen_ids(tokenizer, query: str, passage: str, max_length: int) -> list[int]:
    """Token ids as the model card of Qwen3-Reranker makes them: prefix, the body as one text cut behind, suffix."""
    prefix = tokenizer.encode(QWEN3.before[0], add_special_tokens=False)
    suffix = tokenizer.encode(QWEN3.after[0], add_special_tokens=False)
    body = f"<Instruct>: {QWEN3.instruction}\n<Query>: {query}\n<Document>: {passage}"
    ids = tokenizer(body, truncation=True, max_length=max_length - len(prefix) - len(suffix))["input_ids"]
    return prefix + ids + suffix


def test_qwen_scores_are_those_of_its_model_card(tiny_qwen3):
    tokenizer = AutoTokenizer.from_pretrained(tiny_qwen3)
    model = AutoModelForCausalLM.from_pretrained(tiny_qwen3).eval()
    yes, no = tokenizer.convert_tokens_to_ids("yes"), tokenizer.convert_tokens_to_ids("no")
    expected = []
    for query, passage in PAIRS:
        logits = model(torch.tensor([qwen_ids(tokenizer, query, passage, 256)])).logits[0, -1]
        expected.append((logits[yes] - logits[no]).item())
    assert np.std(expected) > 1e-2
    found = PairScorer.load(str(tiny_qwen3), max_length=256, device="cpu").score(PAIRS)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_gemma_scores_are_those_of_flagembedding(tiny_gemma):
    from FlagEmbedding import FlagLLMReranker

    peer = FlagLLMReranker(str(tiny_gemma), use_fp16=False, devices="cpu", max_length=400)
    expected = peer.compute_score(PAIRS)
    assert np.std(expected) > 1e-2
    found = PairScorer.load(str(tiny_gemma), max_length=512, device="cpu").score(PAIRS)
    np.testing.assert_allclose(found, expected, atol=1e-5)


texts = st.text(
    st.sampled_from(" \n.?!(:<>aé'7\t") | st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=30
)


@settings(max_examples=200)
@given(query=texts, passage=texts)
def test_pieces_tokenised_apart_are_the_tokens_of_the_whole_text(tiny_qwen_tokenizer, query, passage):
    pair = PairTokenizer(tiny_qwen_tokenizer, max_length=512, query_max_length=400, prompt=QWEN3)
    ids, types = pair.encode([(query, passage)])[0]
    assert ids.tolist() == qwen_ids(tiny_qwen_tokenizer, query, passage, 512)
    assert not types.any()


@pytest.mark.parametrize("prompt", [QWEN3, GEMMA], ids=["qwen3", "gemma"])
def test_long_texts_are_cut_inside_the_prompt(prompt, tiny_qwen_tokenizer, tiny_gemma_tokenizer):
    tokenizer = tiny_qwen_tokenizer if prompt is QWEN3 else tiny_gemma_tokenizer
    pair = PairTokenizer(tokenizer, max_length=260, prompt=prompt)
    ids, _ = pair.encode([("cat " * 300, "dog " * 300)])[0]
    assert pair.layout is not None and len(ids) == 260
    assert ids[: len(pair.layout.before)].tolist() == pair.layout.before.tolist()
    assert ids[-len(pair.layout.after) :].tolist() == pair.layout.after.tolist()
    assert "dog" in tokenizer.decode(ids).replace(" ", "")
    start = len(pair.layout.before) + pair.query_max_length
    assert ids[start : start + len(pair.layout.between)].tolist() == pair.layout.between.tolist()
    with pytest.raises(UserError, match="the prompt alone has"):
        PairTokenizer(tokenizer, max_length=40, prompt=prompt)


def test_a_long_passage_scores_as_its_best_window_inside_the_prompt(tiny_qwen3):
    from sharprank.models.windows import WindowRule, pair_windows

    scorer = PairScorer.load(str(tiny_qwen3), max_length=200, device="cpu")
    tokenizer, rule = scorer.pair_tokenizer, WindowRule(overlap=0, length=110)
    query, words = "where is the cat", ["river", "house", "green", "slow"] * 24
    windows, owners = pair_windows(tokenizer, [(query, " ".join(words))], rule)
    assert tokenizer.layout is not None and len(windows) > 2 and not owners.any()
    start, end = tokenizer.layout.before, tokenizer.layout.after
    for ids, _ in windows:
        assert ids[: len(start)].tolist() == start.tolist() and ids[-len(end) :].tolist() == end.tolist()
        assert len(ids) <= 110
    inputs = [torch.from_numpy(ids.astype(np.int64))[None] for ids, _ in windows]
    best = max(scorer.model(ids, torch.ones_like(ids)).logits.item() for ids in inputs)
    found = scorer.score([(query, " ".join(words))], windows=rule)
    assert float(found[0]) == pytest.approx(best, abs=1e-5)
    with pytest.raises(UserError, match="windows of 60 tokens hold nothing"):
        scorer.score([(query, "river")], windows=WindowRule(length=60))


def test_only_the_rows_of_the_answers_are_computed(tiny_qwen3):
    checkpoint = open_reranker(str(tiny_qwen3))
    model = checkpoint.load()
    seen = []
    model.lm_head.register_forward_hook(lambda module, inputs, output: seen.append(output.shape[-1]))
    ids, _ = checkpoint.pair_tokenizer(200).encode(PAIRS[:1])[0]
    model(input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long))
    assert seen == [2]


@pytest.mark.parametrize("folder", ["tiny_qwen3", "tiny_gemma"])
@pytest.mark.parametrize("training", [False, True])
def test_packed_scores_and_gradients_are_those_of_padded_rows(folder, training, request):
    from sharprank.models.batches import TokenBatch, model_inputs

    checkpoint = open_reranker(str(request.getfixturevalue(folder)))
    batch = TokenBatch.of(checkpoint.pair_tokenizer(300).encode(PAIRS))
    found = []
    for packed in (False, True):
        model = checkpoint.load(packed=packed).train(training)
        if not packed:
            model.set_attn_implementation("eager")
        inputs = model_inputs(batch, model.config, device=torch.device("cpu"), token_types=False)
        assert ("packing" in inputs) == packed
        scores = model(**inputs).logits[:, 0]
        (scores**2).sum().backward()
        found.append((scores.detach(), {name: p.grad for name, p in model.named_parameters()}))
    (padded, expected), (packed_scores, gradients) = found
    torch.testing.assert_close(packed_scores, padded, atol=1e-5, rtol=0)
    for name, gradient in expected.items():
        assert (gradients[name] - gradient).norm() <= 1e-4 * gradient.norm() + 1e-6, name


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "qwen3", "gemma"])
def test_every_family_of_decoders_packs_exactly(family):
    from transformers import AutoConfig, AutoModelForCausalLM

    from sharprank.models.batches import TokenBatch, model_inputs
    from sharprank.models.packing import _DECODERS, enable_packing
    from sharprank.models.pooling import pool_states

    assert family in _DECODERS and len(_DECODERS) == 5
    sizes = {"vocab_size": 90, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "head_dim": 8}
    window = {"sliding_window": 12} if family == "mistral" else {}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.2, "pad_token_id": 0}
    config = AutoConfig.for_model(family, **sizes, **heads, **window)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).model.eval()
    rng = np.random.default_rng(0)
    ids = [rng.integers(1, 90, size=length) for length in (40, 3, 1, 25)]
    batch = TokenBatch.of([(row, np.zeros_like(row)) for row in ids])
    found = []
    for packed in (False, True):
        model.set_attn_implementation("eager")
        assert not packed or enable_packing(model, first_tokens_only=False)
        for grad in (torch.no_grad, torch.enable_grad):
            inputs = model_inputs(batch, model.config, device=torch.device("cpu"), token_types=False)
            with grad():
                states = model(**inputs).last_hidden_state
            mask, packing = inputs.get("attention_mask"), inputs.get("packing")
            found.append(pool_states(states, "last_token", packing=packing, mask=mask).detach())
    for states in found[1:]:
        torch.testing.assert_close(states, found[0], atol=1e-4, rtol=0)


def test_what_is_saved_is_a_language_model_that_remembers_how_to_be_asked(tiny_qwen3, tmp_path, capsys):
    asked = Asked(instruction="Find the animal.")
    checkpoint = open_reranker(str(tiny_qwen3), asked=asked)
    assert "asked by 'qwen3'" in capsys.readouterr().err
    save_cross_encoder(checkpoint.trained_with(max_length=200).load(), checkpoint.tokenizer, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["architectures"] == ["Qwen3ForCausalLM"]
    assert type(AutoModelForCausalLM.from_pretrained(tmp_path)).__name__ == "Qwen3ForCausalLM"
    again = open_reranker(str(tmp_path))
    assert "asked by" not in capsys.readouterr().err
    assert again.pair_tokenizer().max_length == 200
    before = PairScorer.load(str(tiny_qwen3), max_length=200, device="cpu", asked=asked).score(PAIRS)
    found = PairScorer.load(str(tmp_path), device="cpu").score(PAIRS)
    assert found.tolist() == before.tolist()
    other = PairScorer.load(str(tiny_qwen3), max_length=200, device="cpu").score(PAIRS)
    assert not np.allclose(found, other)


def test_sentence_transformers_reads_the_same_scores_given_our_prompt(tiny_qwen3):
    from sentence_transformers import CrossEncoder

    peer = CrossEncoder(str(tiny_qwen3), device="cpu", activation_fn=torch.nn.Identity())
    pair_tokenizer = open_reranker(str(tiny_qwen3)).pair_tokenizer(256)
    ids, _ = pair_tokenizer.encode(PAIRS[:1])[0]
    features = {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids), dtype=torch.long)}
    expected = peer(features)["scores"][0, 0].item()
    found = PairScorer.load(str(tiny_qwen3), max_length=256, device="cpu").score(PAIRS[:1])
    assert found[0] == pytest.approx(expected, abs=1e-5)


def test_a_language_model_made_a_classifier_takes_a_prompt_and_is_padded(tiny_qwen3, tmp_path, capsys):
    from transformers import AutoModelForSequenceClassification

    tokenizer = AutoTokenizer.from_pretrained(tiny_qwen3)
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(tiny_qwen3, num_labels=1, pad_token_id=None).eval()
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    checkpoint = open_reranker(str(tmp_path), asked=Asked(prompt="qwen3"))
    assert checkpoint.kind == "head" and checkpoint.config.pad_token_id == tokenizer.pad_token_id
    found = PairScorer.of(checkpoint, max_length=256, device="cpu").score(PAIRS)
    assert "sorted by length and padded" in capsys.readouterr().err
    expected = [model(torch.tensor([qwen_ids(tokenizer, *pair, 256)])).logits.item() for pair in PAIRS]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_an_answer_of_several_tokens_is_named(tiny_qwen3, tmp_path):
    values = QWEN3.to_dict() | {"yes": "certainly so"}
    (tmp_path / "prompt.json").write_text(json.dumps(values))
    with pytest.raises(UserError, match="'certainly so' is not one token"):
        open_reranker(str(tiny_qwen3), asked=Asked(prompt=str(tmp_path / "prompt.json")))
    (tmp_path / "prompt.json").write_text(json.dumps(values | {"yes": "no"}))
    with pytest.raises(UserError, match="the same token"):
        open_reranker(str(tiny_qwen3), asked=Asked(prompt=str(tmp_path / "prompt.json")))


@pytest.mark.parametrize(("specials", "chosen"), [(["<|im_start|>", "<|im_end|>"], "qwen3"), ([], None)])
def test_a_tokenizer_without_a_first_token_never_gets_a_prompt_that_starts_with_one(
    specials, chosen, tiny_qwen3, tmp_path
):
    learned = Tokenizer(models.BPE())
    learned.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>", *specials],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    learned.train_from_iterator(["yes no"] * 100, trainer)
    shutil.copytree(tiny_qwen3, tmp_path / "m", ignore=shutil.ignore_patterns("*token*"))
    end = "<|endoftext|>"
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=learned, pad_token=end, eos_token=end)
    tokenizer.save_pretrained(tmp_path / "m")
    if chosen is None:
        with pytest.raises(UserError, match="no prompt of ours") as caught:
            open_reranker(str(tmp_path / "m"))
        assert "--prompt qwen3" in str(caught.value.fix)
        with pytest.raises(UserError, match="this tokenizer has none") as caught:
            PairTokenizer(tokenizer, max_length=64, prompt=GEMMA)
        assert "--prompt qwen3" in str(caught.value.fix)
        return
    checkpoint = open_reranker(str(tmp_path / "m"))
    assert checkpoint.recipe.prompt == QWEN3
    assert np.isfinite(PairScorer.of(checkpoint, max_length=512, device="cpu").score(PAIRS)).all()


def test_a_prompt_that_is_none_is_refused(tiny_qwen3, tmp_path):
    path = tmp_path / "prompt.json"
    for content, message in (
        ('{"query": "{query}"}', "a prompt has"),
        ("[", "is no JSON"),
        (json.dumps(QWEN3.to_dict() | {"query": "ask"}), "holds no {query}"),
        (json.dumps(QWEN3.to_dict() | {"passage": "{passage}."}), "a long passage would cut off"),
        (json.dumps(QWEN3.to_dict() | {"yes": None, "no": None}), "no answer 'yes'"),
    ):
        path.write_text(content)
        with pytest.raises(UserError, match=message):
            open_reranker(str(tiny_qwen3), asked=Asked(prompt=str(path)))
    with pytest.raises(UserError, match="use qwen3, gemma"):
        raise_with_fix(lambda: open_reranker(str(tiny_qwen3), asked=Asked(prompt="qwen9")))
    with pytest.raises(UserError, match="--instruction belongs to a prompt"):
        open_reranker("minilm" if False else str(tiny_qwen3), asked=Asked(instruction="x", pooling="last"))


def raise_with_fix(work):
    try:
        work()
    except UserError as error:
        raise UserError(f"{error.problem} {error.fix}", fix=error.fix) from error


def test_a_language_model_is_known_by_its_architecture_and_not_by_its_path(tiny_bert, tmp_path):
    folder = tmp_path / "qwen-intern-llama"
    shutil.copytree(tiny_bert, folder)
    assert open_reranker(str(folder)).kind == "head"
