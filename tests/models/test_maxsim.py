"""The heads that compare tokens: by their definition, packed and padded, saved, reloaded and in other libraries."""

from __future__ import annotations

import copy
import json
import pickle
import shutil
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer, PreTrainedTokenizerFast

from sharprank.api.ranking import AutoModelForRanking
from sharprank.cli.main import main
from sharprank.errors import UserError
from sharprank.formats.writers import write_jsonl
from sharprank.models.batches import TokenBatch, model_inputs
from sharprank.models.bi_encoder import BiEncoder
from sharprank.models.checkpoint import open_reranker
from sharprank.models.cross_encoder import save_cross_encoder
from sharprank.models.kinds import PLAIN, Asked
from sharprank.models.maxsim import JOINT, LATE, LEVELS, SCALE, _alike, _halves
from sharprank.models.packing import uses_token_types
from sharprank.models.scored import COMPARING
from sharprank.models.scoring import PairScorer

C, A = ("red", "green", "blue"), ("cat", "dog", "fish")
CPU = torch.device("cpu")
PAIRS = [("a cat", "the dog can read"), ("read", "write the file to the house " * 3), ("what is it", "")]


@pytest.fixture(scope="session")
def encoders(tmp_path_factory, tiny_encoder, tiny_xlmr, tiny_modernbert) -> dict[str, Path]:
    """Encoders without a head, of the three families."""
    folders = {"bert": tiny_encoder}
    for family, whole in (("xlmr", tiny_xlmr), ("modernbert", tiny_modernbert)):
        folders[family] = tmp_path_factory.mktemp(family)
        AutoModel.from_pretrained(whole).save_pretrained(folders[family])
        AutoTokenizer.from_pretrained(whole).save_pretrained(folders[family])
    return folders


def drawn(checkpoint, **options):
    """A model whose head is no longer at its start, so that each of its parts shows."""
    model = checkpoint.load(for_training=True, **options).eval()
    draw = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for linear in model.score.children():
            linear.weight.normal_(generator=draw)
            linear.bias.normal_(generator=draw)
    return model


@torch.no_grad()
def by_hand(folder, model) -> list[float]:
    """The definition in plain words, one pair at a time, on the plain encoder's states."""
    encoder, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    score = apart_by_hand if model.pooling == LATE else together_by_hand
    return [score(encoder, tokenizer, model.score, query, passage) for query, passage in PAIRS]


def together_by_hand(encoder, tokenizer, head, query, passage) -> float:
    encoded = tokenizer([query], [passage], return_tensors="pt")
    states = encoder(**encoded).last_hidden_state[0]
    ids = encoded["input_ids"][0].tolist()
    border = ids.index(tokenizer.sep_token_id)
    passages = [state for state, i in zip(states[border:], ids[border:], strict=True) if i != tokenizer.sep_token_id]
    return matched(head, states[1:border], passages) + float(head.of_pair(states.mean(0)))


def apart_by_hand(encoder, tokenizer, head, query, passage, prompts=("", "")) -> float:
    queries, passages = (
        encoder(**tokenizer([prompt + text], return_tensors="pt", truncation=True)).last_hidden_state[0]
        for prompt, text in zip(prompts, (query, passage), strict=True)
    )
    wholes = [states[0] if head.text_pooling == "cls" else states.mean(0) for states in (queries, passages)]
    alike = float(torch.cosine_similarity(*wholes, dim=0))
    mapped = float(head.of_query(wholes[0])) + float(head.of_passage(wholes[1]))
    start, passage_start = (1 + len(tokenizer(prompt, add_special_tokens=False)["input_ids"]) for prompt in prompts)
    return matched(head, queries[start:-1], passages[passage_start:-1]) + float(head.text_scale) * alike + mapped


def matched(head, queries, passages) -> float:
    """What the best matches of the query's tokens are worth."""
    weights = torch.softmax(head.weigh(queries)[:, 0], 0)
    best = [
        max((float(torch.cosine_similarity(token, other, dim=0)) for other in passages), default=-1.0)
        for token in queries
    ]
    return float(head.token_scale) * sum(float(weight) * sim for weight, sim in zip(weights, best, strict=True))


@pytest.mark.parametrize("pooling", COMPARING)
@pytest.mark.parametrize("family", ["bert", "xlmr", "modernbert"])
def test_scores_are_those_of_the_definition_and_packs_are_exact(encoders, family, pooling):
    checkpoint = open_reranker(str(encoders[family]), asked=Asked(pooling=pooling))
    batch = TokenBatch.of(checkpoint.pair_tokenizer().encode(PAIRS))
    found = []
    for packed in (False, True):
        model = drawn(checkpoint, packed=packed)
        inputs = model_inputs(batch, model.config, device=CPU, token_types=uses_token_types(model.config))
        assert ("packing" in inputs) == packed
        scores = model(**inputs).logits[:, 0]
        np.testing.assert_allclose(scores.detach(), by_hand(encoders[family], model), atol=1e-4)
        (scores**2).sum().backward()
        found.append({name: p.grad for name, p in model.named_parameters()})
    padded, packed_gradients = found
    noise = 1e-6 * max(gradient.norm() for gradient in padded.values())  # keys' biases have no gradient at all
    for name, gradient in padded.items():
        assert gradient is not None, f"{name} would never learn"
        assert (packed_gradients[name] - gradient).norm() <= 1e-4 * gradient.norm() + noise, name


def test_before_training_a_score_is_the_mean_similarity_of_the_best_matches(tiny_encoder):
    scorer = PairScorer.load(str(tiny_encoder), device="cpu", asked=Asked(pooling=JOINT))
    np.testing.assert_allclose(scorer.score(PAIRS), by_hand(tiny_encoder, scorer.model), atol=1e-5)
    assert scorer.model.score.token_scale.item() == SCALE
    usual = SCALE * LEVELS[JOINT]
    assert scorer.score([("a cat", "")])[0] == pytest.approx(-SCALE - usual)  # nothing there to match
    assert np.abs(scorer.score(PAIRS) + usual).max() <= SCALE + 1e-4


def test_before_training_late_ranks_by_tokens_and_by_the_cosine_of_the_bi_encoder(tiny_encoder, tmp_path):
    pair = ("a cat", "the dog can read")
    for layout, pooling in (({"pooling_mode_mean_tokens": True}, "mean"), ({"pooling_mode_cls_token": True}, "cls")):
        folder = tmp_path / pooling
        shutil.copytree(tiny_encoder, folder)
        (folder / "1_Pooling").mkdir(exist_ok=True)
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(layout))
        checkpoint = open_reranker(str(folder))
        assert (checkpoint.recipe.pooling, checkpoint.recipe.text_pooling) == (LATE, pooling)
        scorer = PairScorer.of(checkpoint, device="cpu")
        head, encoder = scorer.model.score, BiEncoder.load(str(folder), device="cpu")
        assert head.token_scale.item() == head.text_scale.item() == SCALE / 2 and head.text_pooling == pooling
        one, other = (encoder.encode([text], kind=kind) for text, kind in zip(pair, ("query", "passage"), strict=True))
        with torch.no_grad():
            head.token_scale.zero_()
        expected = SCALE / 2 * float(one[0] @ other[0]) - SCALE * LEVELS[LATE]
        assert scorer.score([pair])[0] == pytest.approx(expected, abs=1e-4)


def with_prompts(encoder: Path, folder: Path, query: str, passage: str) -> Path:
    """The encoder as an embedding model that wants words before its texts."""
    shutil.copytree(encoder, folder)
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode": "mean"}')
    told = {"prompts": {"query": query, "document": passage}}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(told))
    return folder


@pytest.mark.parametrize("family", ["bert", "xlmr"])
def test_late_reads_before_a_text_what_the_embedding_model_wants_there(encoders, family, tmp_path, capsys):
    prompts = ("find ", "read the ")
    folder = with_prompts(encoders[family], tmp_path / "model", *prompts)
    checkpoint = open_reranker(str(folder))
    encoder, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    for packed in (False, True):
        model = drawn(checkpoint, packed=packed)
        batch = TokenBatch.of(checkpoint.pair_tokenizer().encode(PAIRS))
        inputs = model_inputs(batch, model.config, device=CPU, token_types=uses_token_types(model.config))
        with torch.no_grad():
            expected = [apart_by_hand(encoder, tokenizer, model.score, *pair, prompts) for pair in PAIRS]
        np.testing.assert_allclose(model(**inputs).logits[:, 0].detach(), expected, atol=1e-4)
    assert (
        "an embedding model that reads 'find' before queries and 'read the' before passages" in capsys.readouterr().err
    )
    save_cross_encoder(model, tokenizer, tmp_path / "saved")
    np.testing.assert_allclose(PairScorer.load(str(tmp_path / "saved"), device="cpu").score(PAIRS), expected, atol=1e-4)
    again = AutoModelForRanking(encoder, tokenizer, pooling_method=LATE)
    before = PairScorer.load(str(folder), device="cpu").score(PAIRS)
    np.testing.assert_allclose(again.compute_score(PAIRS), before, atol=1e-4)


def test_words_before_a_text_never_make_it_longer_than_the_encoder_can_read(tiny_encoder, tmp_path):
    prompts = ("find ", "read the file to the house ")
    folder = with_prompts(tiny_encoder, tmp_path / "model", *prompts)
    model = drawn(open_reranker(str(folder)), packed=False)
    scorer = PairScorer.load(str(folder), device="cpu")
    scorer.model.load_state_dict(model.state_dict())
    pair = ("cat", "write the dog " * 200)
    with torch.no_grad():
        encoder, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
        assert tokenizer.model_max_length == scorer.model.text_limit
        expected = apart_by_hand(encoder, tokenizer, model.score, *pair, prompts)
    assert scorer.score([pair])[0] == pytest.approx(expected, abs=1e-4)


def test_late_reads_a_query_once_for_all_its_passages_and_every_text_by_itself(tiny_encoder, monkeypatch):
    scorer = PairScorer.load(str(tiny_encoder), device="cpu")
    alone = [scorer.score([pair])[0] for pair in [("a cat", "the dog"), ("a cat", "write"), ("read", "write")]]
    seen = []
    encode = type(scorer.model)._encode

    def watched(self, **inputs):
        seen.append(inputs["packing"].lengths)
        return encode(self, **inputs)

    monkeypatch.setattr(type(scorer.model), "_encode", watched)
    together = scorer.score([("a cat", "the dog"), ("a cat", "write"), ("read", "write")])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert len(seen) == 1 and len(seen[0]) == 5  # two queries, three passages
    assert _halves([0, 7, 2, 2, 2], 2) == ([0, 7, 2], [0, 2])  # an empty passage between doubled separators


def test_a_training_starts_with_scores_around_nought(encoders):
    for folder, pooling in product(encoders.values(), COMPARING):
        checkpoint = open_reranker(str(folder), asked=Asked(pooling=pooling))
        batch = TokenBatch.of(checkpoint.pair_tokenizer().encode(PAIRS))
        for packed in (False, True):
            model = checkpoint.load(for_training=True, like=batch, packed=packed)
            inputs = model_inputs(batch, model.config, device=CPU, token_types=uses_token_types(model.config))
            with torch.no_grad():
                assert model(**inputs).logits.mean().item() == pytest.approx(0, abs=1e-4)


def test_losses_of_single_pairs_learn_as_fast_as_under_a_plain_head(tiny_encoder, tmp_path):
    write_jsonl(
        tmp_path / "rows.jsonl",
        ({"query": f"find the {c} {a}", "doc": f"a {c} {b}", "label": int(a == b)} for c in C for a in A for b in A),
    )
    losses = {}
    for pooling in (LATE, JOINT, PLAIN):
        words = (
            f"train -m {tiny_encoder} --train_data {tmp_path}/rows.jsonl --output_dir {tmp_path}/{pooling} --loss mse"
        )
        words += (
            f" --pooling {pooling} --max_len 32 --max_steps 4 --logging_steps 4 --save_strategy no --report_to none"
        )
        assert main(words.split()) == 0
        state = json.loads((tmp_path / pooling / "trainer_state.json").read_text())
        losses[pooling] = state["log_history"][0]["loss"]
    assert max(losses[LATE], losses[JOINT]) < 1.5 * losses[PLAIN]


def test_words_of_the_layout_in_a_text_are_not_taken_for_it(encoders):
    for name, word in (("bert", "[SEP]"), ("xlmr", "</s>"), ("modernbert", "[SEP]")):
        checkpoint = open_reranker(str(encoders[name]), asked=Asked(pooling=LATE))
        pairs = [(f"{word} cat", "the cat"), (f"cat {word} the", f"the {word} dog"), ("cat", "the dog")]
        border = checkpoint.recipe.separator
        counts = {list(ids).count(border) for ids, _ in checkpoint.pair_tokenizer().encode(pairs)}
        assert len(counts) == 1, name


def test_a_tokenizer_that_puts_nothing_between_the_two_gets_another_head(tiny_encoder, tmp_path):
    AutoModel.from_pretrained(tiny_encoder).save_pretrained(tmp_path / "bare")
    told = json.loads((tiny_encoder / "tokenizer.json").read_text())
    bare = Tokenizer.from_str(json.dumps({**told, "post_processor": None}))
    special = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    PreTrainedTokenizerFast(tokenizer_object=bare, **special).save_pretrained(tmp_path / "bare")
    assert open_reranker(str(tmp_path / "bare")).kind == "new_head"
    for pooling in COMPARING:
        with pytest.raises(UserError, match=f"--pooling {pooling}: .* no token that separates"):
            open_reranker(str(tmp_path / "bare"), asked=Asked(pooling=pooling))


def test_another_head_in_its_place_leaves_nothing_of_its_code(tiny_encoder, tmp_path):
    checkpoint = open_reranker(str(tiny_encoder))
    save_cross_encoder(drawn(checkpoint), checkpoint.tokenizer, tmp_path / "late")
    for pooling in (PLAIN, "mean", JOINT):
        checkpoint = open_reranker(str(tmp_path / "late"), asked=Asked(pooling=pooling), trust_remote_code=True)
        save_cross_encoder(checkpoint.load(for_training=True), checkpoint.tokenizer, tmp_path / pooling)
        if pooling == JOINT:
            head = checkpoint.load(for_training=True).score
            assert head.token_scale.item() == SCALE and not head.weigh.weight.any() and not head.of_pair.weight.any()
        told = json.loads((tmp_path / pooling / "config.json").read_text())
        assert (
            bool(told.get("auto_map")) == (pooling == JOINT) and told.get("sharprank", {}).get("text_pooling") is None
        )
        PairScorer.load(str(tmp_path / pooling), device="cpu").score(PAIRS)


def test_what_is_no_pair_is_refused(tiny_encoder):
    model = open_reranker(str(tiny_encoder)).load(packed=False)
    with pytest.raises(ValueError, match="are no pair: token 3 has to end query and passage"):
        model(input_ids=torch.tensor([[2, 7, 8, 3]]))


def test_padding_on_either_side_and_half_precision_change_nothing_that_matters(encoders):
    checkpoint = open_reranker(str(encoders["bert"]))
    model = drawn(checkpoint, packed=False)
    (ids, _), (others, _) = checkpoint.pair_tokenizer().encode(PAIRS[:2])
    expected = [model(input_ids=torch.tensor([row.tolist()])).logits.item() for row in (ids, others)]
    longest = max(len(ids), len(others)) + 3
    for left in (True, False):
        rows, masks = [], []
        for row in (ids.tolist(), others.tolist()):
            padding = [0] * (longest - len(row))
            rows.append(padding + row if left else row + padding)
            masks.append([0.0] * len(padding) + [1.0] * len(row) if left else [1.0] * len(row) + [0.0] * len(padding))
        found = model(input_ids=torch.tensor(rows), attention_mask=torch.tensor(masks)).logits[:, 0]
        np.testing.assert_allclose(found.detach(), expected, atol=1e-4)
    half = model.to(torch.bfloat16)(input_ids=torch.tensor([ids.tolist()])).logits
    assert half.dtype == torch.float32 and abs(float(half) - expected[0]) < 0.05 * max(1.0, abs(expected[0]))


def test_a_new_head_on_a_loaded_encoder_is_that_of_its_folder(tiny_encoder, tmp_path):
    shutil.copytree(tiny_encoder, tmp_path / "cls")
    (tmp_path / "cls" / "1_Pooling" / "config.json").write_text('{"pooling_mode": ["cls"]}')
    folder = str(tmp_path / "cls")
    encoder, tokenizer = AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    ranker = AutoModelForRanking(encoder, tokenizer, pooling_method=LATE)
    expected = PairScorer.load(folder, device="cpu").score(PAIRS)
    np.testing.assert_allclose(ranker.compute_score(PAIRS), expected, atol=1e-4)
    again = AutoModelForRanking(drawn(open_reranker(folder)), ranker.tokenizer, pooling_method=JOINT).model
    assert again.score.token_scale.item() == SCALE and not again.score.weigh.weight.any()


@pytest.mark.parametrize(
    ("files", "embeds"),
    [
        ({"1_Pooling/config.json": {"pooling_mode": "mean"}}, True),
        ({"1_Pooling/config.json": {"pooling_mode_max_tokens": True}}, False),
        ({"1_Pooling/config.json": {"pooling_mode_lasttoken": True}}, False),
        (
            {"1_Pooling/config.json": {"pooling_mode": "mean"}, "modules.json": [{"path": "2", "type": "x.Dense"}]},
            False,
        ),
        ({}, False),
    ],
)
def test_an_embedding_model_is_known_by_its_files(files, embeds, tiny_encoder, tmp_path):
    shutil.copytree(tiny_encoder, tmp_path / "m", ignore=shutil.ignore_patterns("1_Pooling"))
    for name, content in files.items():
        (tmp_path / "m" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "m" / name).write_text(json.dumps(content))
    checkpoint = open_reranker(str(tmp_path / "m"))
    assert (checkpoint.embeds, checkpoint.recipe.pooling) == (embeds, LATE if embeds else JOINT)
    assert open_reranker(str(tmp_path / "m"), asked=Asked(pooling=LATE)).ranks_already == embeds


def test_a_long_pair_among_short_ones_is_not_what_all_are_padded_to():
    assert _alike([5, 100, 8, 70, 9]) == [[0, 2], [1, 3], [4]]
    lengths = torch.randint(3, 500, (50,)).tolist()
    for some in _alike(lengths):
        assert max(lengths[place] for place in some) < 2 * min(lengths[place] for place in some)


def test_an_embedding_model_gets_late_unless_another_is_asked_for(tiny_encoder, tiny_bert, tiny_qwen3, tmp_path):
    assert open_reranker(str(tiny_encoder)).recipe.pooling == LATE
    assert open_reranker(str(tiny_encoder), asked=Asked(pooling=JOINT)).recipe.pooling == JOINT
    shutil.copytree(tiny_encoder, tmp_path / "bare")
    shutil.rmtree(tmp_path / "bare" / "1_Pooling")
    assert open_reranker(str(tmp_path / "bare")).recipe.pooling == JOINT  # nothing says that it was trained to embed
    assert open_reranker(str(tmp_path / "bare"), asked=Asked(pooling=LATE)).recipe.text_pooling == "mean"
    assert open_reranker(str(tiny_encoder), asked=Asked(pooling=PLAIN)).kind == "new_head"
    assert open_reranker(str(tiny_bert)).kind == "head"
    assert open_reranker(str(tiny_qwen3)).kind == "answers"
    with pytest.raises(UserError, match="no token that separates"):
        open_reranker(str(tiny_qwen3), asked=Asked(pooling=LATE))


def test_a_new_head_is_said_to_be_untrained_and_a_saved_one_is_not(tiny_encoder, tmp_path, capsys):
    checkpoint = open_reranker(str(tiny_encoder))
    model = drawn(checkpoint)
    save_cross_encoder(model, checkpoint.tokenizer, tmp_path)
    again = open_reranker(str(tmp_path))
    assert (again.trained, again.recipe.pooling, again.recipe.separator) == (True, LATE, checkpoint.recipe.separator)
    scores = PairScorer.load(str(tmp_path), device="cpu").score(PAIRS)
    np.testing.assert_allclose(scores, by_hand(tiny_encoder, model), atol=1e-4)
    assert "untrained" not in capsys.readouterr().err
    checkpoint.load()
    said = capsys.readouterr().err
    assert "gets a new head `late`, being an embedding model, which is untrained" in said
    assert open_reranker(str(tmp_path), asked=Asked(pooling=PLAIN)).trained is False


def test_a_head_that_is_not_whole_is_refused_and_not_drawn_anew(tiny_encoder, tmp_path):
    checkpoint = open_reranker(str(tiny_encoder))
    save_cross_encoder(drawn(checkpoint), checkpoint.tokenizer, tmp_path)
    path = tmp_path / "model.safetensors"
    save_file({n: w for n, w in load_file(path).items() if n != "score.token_scale"}, path, metadata={"format": "pt"})
    with pytest.raises(UserError, match="lacks score.token_scale, a part of the head"):
        PairScorer.load(str(tmp_path), device="cpu")
    assert open_reranker(str(tmp_path), asked=Asked(pooling="mean")).load(for_training=True)


@pytest.mark.parametrize("pooling", COMPARING)
@pytest.mark.parametrize("family", ["bert", "xlmr", "modernbert"])
def test_transformers_loads_it_with_the_code_beside_it(encoders, family, pooling, tmp_path):
    checkpoint = open_reranker(str(encoders[family]), asked=Asked(pooling=pooling))
    model = drawn(checkpoint)
    save_cross_encoder(model, checkpoint.tokenizer, tmp_path)
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path, trust_remote_code=True).eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    encoded = tokenizer([q for q, _ in PAIRS], [p for _, p in PAIRS], padding=True, return_tensors="pt")
    with torch.no_grad():
        found = loaded(**encoded).logits[:, 0]
    np.testing.assert_allclose(found, by_hand(encoders[family], model), atol=1e-4)


@pytest.mark.parametrize("pooling", [*COMPARING, PLAIN])
def test_weights_keep_their_names_where_transformers_would_save_older_ones(tiny_nomic, pooling, tmp_path):
    checkpoint = open_reranker(str(tiny_nomic), asked=Asked(pooling=pooling))
    model = checkpoint.load(for_training=True)
    save_cross_encoder(model, checkpoint.tokenizer, tmp_path)
    assert set(load_file(tmp_path / "model.safetensors")) == set(model.state_dict())
    loaded, about = AutoModelForSequenceClassification.from_pretrained(
        tmp_path, trust_remote_code=True, output_loading_info=True
    )
    assert not about["missing_keys"] and not about["unexpected_keys"]
    state = loaded.state_dict()
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    ranker = AutoModelForRanking(loaded, checkpoint.tokenizer, device="cpu")  # made by others, saved by us
    ranker.save_pretrained(str(tmp_path / "again"))
    assert set(load_file(tmp_path / "again" / "model.safetensors")) == set(state)


def test_a_model_with_the_head_of_its_family_can_be_pickled_and_copied(tiny_bert):
    model = open_reranker(str(tiny_bert)).load()
    for again in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert type(again) is type(model) and again is not model
        assert all(torch.equal(again.state_dict()[name], value) for name, value in model.state_dict().items())


def test_sentence_transformers_and_flagembedding_load_it_with_the_same_scores(tiny_encoder, tmp_path):
    flag, st = pytest.importorskip("FlagEmbedding"), pytest.importorskip("sentence_transformers")
    checkpoint = open_reranker(str(tiny_encoder))
    save_cross_encoder(drawn(checkpoint), checkpoint.tokenizer, tmp_path)
    expected = PairScorer.load(str(tmp_path), device="cpu").score(PAIRS[:2])
    theirs = st.CrossEncoder(str(tmp_path), device="cpu", trust_remote_code=True, activation_fn=torch.nn.Identity())
    np.testing.assert_allclose(theirs.predict(PAIRS[:2]), expected, atol=1e-4)
    theirs = flag.FlagReranker(str(tmp_path), trust_remote_code=True, devices="cpu")
    np.testing.assert_allclose(theirs.compute_score(PAIRS[:2]), expected, atol=1e-4)


FOREIGN_CODE = """
from transformers import BertModel as Base


class BertModel(Base):
    def forward(self, *args, **kwargs):
        out = super().forward(*args, **kwargs)
        out.last_hidden_state = out.last_hidden_state.roll(1, -1).abs()
        return out
"""


def test_foreign_code_stays_named_where_its_class_is_called_as_one_of_transformers(tiny_encoder, tmp_path, monkeypatch):
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    base, saved = tmp_path / "base", tmp_path / "saved"
    shutil.copytree(tiny_encoder, base)
    (base / "modeling_own.py").write_text(FOREIGN_CODE)
    config = json.loads((base / "config.json").read_text()) | {"auto_map": {"AutoModel": "modeling_own.BertModel"}}
    (base / "config.json").write_text(json.dumps(config))
    checkpoint = open_reranker(str(base), trust_remote_code=True)
    model = checkpoint.load()
    assert "foreign code" in checkpoint.loads_with()
    expected = PairScorer(model, checkpoint.pair_tokenizer(), device=CPU).score(PAIRS)
    save_cross_encoder(model, checkpoint.tokenizer, saved)
    assert not (saved / "modeling_maxsim.py").exists()
    again = PairScorer.load(str(saved), trust_remote_code=True, device="cpu").score(PAIRS)
    np.testing.assert_allclose(again, expected, atol=1e-5)


def test_the_checkpoint_names_its_code_and_opens_here_without_trusting_it(tiny_encoder, tmp_path):
    checkpoint = open_reranker(str(tiny_encoder))
    save_cross_encoder(checkpoint.load(for_training=True), checkpoint.tokenizer, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["auto_map"] == {"AutoModelForSequenceClassification": "modeling_maxsim.Reranker"}
    code = (tmp_path / "modeling_maxsim.py").read_text()
    assert "import sharprank" not in code and "from sharprank" not in code
    (tmp_path / "modeling_maxsim.py").write_text("raise SystemExit('this must not run')")
    PairScorer.load(str(tmp_path), device="cpu").score(PAIRS)
