"""Bi-encoders, held against sentence-transformers, FlagEmbedding and plain transformers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from sharprank.errors import UserError
from sharprank.models.bi_encoder import BiEncoder
from sharprank.models.encoder_config import EncoderConfig, read_encoder_config

TEXTS = [
    "what is a dog",
    "the apple and the banana are in the tree " * 4,
    "cat",
    "Write a Python file, read a line; find the error!",
    "中文搜索",
    "rank the passage of the query by the score of the model",
    "a b c d e f g " * 60,
]


def write_json(path: Path, data) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(data), encoding="utf-8")


@pytest.fixture
def encoder_folder(tiny_encoder, tmp_path) -> Path:
    """A copy of the tiny encoder to change."""
    return Path(shutil.copytree(tiny_encoder, tmp_path / "encoder"))


@pytest.fixture
def bare_folder(encoder_folder) -> Path:
    """The tiny encoder without a word about pooling."""
    shutil.rmtree(encoder_folder / "1_Pooling")
    return encoder_folder


def load(path: Path, **options) -> BiEncoder:
    return BiEncoder.load(str(path), device="cpu", **options)


def plain_states(path: Path, text: str, *, max_length: int = 128) -> torch.Tensor:
    """Hidden states [T, H] of one text alone, by plain transformers."""
    from transformers import AutoModel, AutoTokenizer

    model, tokenizer = AutoModel.from_pretrained(path).eval(), AutoTokenizer.from_pretrained(path)
    inputs = tokenizer(text, truncation=True, max_length=max_length, return_tensors="pt")
    with torch.inference_mode():
        return model(**inputs).last_hidden_state[0]


def layout(
    folder: Path, *, pooling: dict | None = None, prompts: dict | None = None, length: dict | None = None
) -> None:
    """Write what sentence-transformers writes beside a model."""
    module = "sentence_transformers.models"
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    write_json(
        folder / "modules.json",
        [
            {"idx": i, "name": str(i), "path": path, "type": f"{module}.{kind}"}
            for i, (path, kind) in enumerate(modules)
        ],
    )
    mean = {"word_embedding_dimension": 32, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}
    write_json(folder / "1_Pooling" / "config.json", pooling or mean)
    write_json(folder / "2_Normalize" / "config.json", {})
    write_json(folder / "config_sentence_transformers.json", prompts or {})
    write_json(folder / "sentence_bert_config.json", length or {"max_seq_length": 128, "do_lower_case": False})


# --- references -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pooling", ["cls", "mean", "last_token"])
def test_vectors_are_those_of_plain_transformers_one_text_at_a_time(tiny_encoder, pooling):
    vectors = load(tiny_encoder, pooling=pooling).encode(TEXTS, kind="passage")
    for text, vector in zip(TEXTS, vectors, strict=True):
        states = plain_states(tiny_encoder, text)
        pooled = {"cls": states[0], "mean": states.mean(0), "last_token": states[-1]}[pooling]
        np.testing.assert_allclose(vector, torch.nn.functional.normalize(pooled, dim=0).numpy(), atol=1e-5)


@pytest.mark.parametrize("family", ["tiny_xlmr", "tiny_modernbert"])
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_other_families_give_the_vectors_of_plain_transformers(family, pooling, request):
    folder = request.getfixturevalue(family)
    vectors = load(folder, pooling=pooling).encode(TEXTS, kind="passage")
    for text, vector in zip(TEXTS, vectors, strict=True):
        states = plain_states(folder, text)
        pooled = states[0] if pooling == "cls" else states.mean(0)
        np.testing.assert_allclose(vector, torch.nn.functional.normalize(pooled, dim=0).numpy(), atol=1e-5)


def test_a_causal_model_is_packed_and_pools_its_last_token(tmp_path, tiny_tokenizer):
    from transformers import Qwen2Config, Qwen2Model

    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(tiny_tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, intermediate_size=64, max_position_embeddings=128,
    )  # fmt: skip
    Qwen2Model(config).save_pretrained(tmp_path)
    tiny_tokenizer.save_pretrained(tmp_path)
    encoder = load(tmp_path, pooling="last_token")
    assert encoder.packed
    for text, vector in zip(TEXTS, encoder.encode(TEXTS, kind="passage"), strict=True):
        last = plain_states(tmp_path, text)[-1]
        np.testing.assert_allclose(vector, torch.nn.functional.normalize(last, dim=0).numpy(), atol=1e-5)


@pytest.mark.parametrize("mode", ["pooling_mode_cls_token", "pooling_mode_mean_tokens", "pooling_mode_lasttoken"])
def test_vectors_are_those_of_sentence_transformers(encoder_folder, mode):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    modes = ("pooling_mode_cls_token", "pooling_mode_mean_tokens", "pooling_mode_lasttoken")
    layout(
        encoder_folder,
        pooling={"word_embedding_dimension": 32, **{key: key == mode for key in modes}},
        prompts={"prompts": {"query": "find the ", "document": "read this "}},
        length={"max_seq_length": 20, "do_lower_case": True},
    )
    reference = sentence_transformers.SentenceTransformer(str(encoder_folder), device="cpu")
    encoder = load(encoder_folder)
    assert encoder.max_lengths == {"query": 20, "passage": 20}
    np.testing.assert_allclose(encoder.encode(TEXTS, kind="query"), reference.encode_query(TEXTS), atol=1e-5)
    np.testing.assert_allclose(encoder.encode(TEXTS, kind="passage"), reference.encode_document(TEXTS), atol=1e-5)


def test_a_model_saved_by_todays_sentence_transformers_says_its_pooling(encoder_folder, tmp_path):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    layout(encoder_folder, length={"max_seq_length": 24})
    reference = sentence_transformers.SentenceTransformer(str(encoder_folder), device="cpu")
    reference.save(str(tmp_path / "saved"))
    encoder = load(tmp_path / "saved")
    assert encoder.config.pooling == "mean"
    np.testing.assert_allclose(encoder.encode(TEXTS, kind="passage"), reference.encode(TEXTS), atol=1e-5)


def test_minilm_gives_the_vectors_of_sentence_transformers(minilm):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    reference = sentence_transformers.SentenceTransformer(str(minilm), device="cpu")
    encoder = BiEncoder.load("minilm", device="cpu", dtype="float32")
    assert encoder.max_lengths == {"query": 256, "passage": 256}
    np.testing.assert_allclose(encoder.encode(TEXTS, kind="query"), reference.encode(TEXTS), atol=1e-5)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_vectors_are_those_of_flagembedding(tiny_encoder, pooling):
    from FlagEmbedding import FlagModel

    reference = FlagModel(
        str(tiny_encoder),
        pooling_method=pooling,
        query_instruction_for_retrieval="find the ",
        query_max_length=30,
        passage_max_length=40,
        use_fp16=False,
        devices="cpu",
    )
    encoder = load(
        tiny_encoder, pooling=pooling, query_instruction="find the ", query_max_length=30, passage_max_length=40
    )
    np.testing.assert_allclose(encoder.encode(TEXTS, kind="query"), reference.encode_queries(TEXTS), atol=1e-5)
    np.testing.assert_allclose(encoder.encode(TEXTS, kind="passage"), reference.encode_corpus(TEXTS), atol=1e-5)


# --- the same vectors, whatever the batch ------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["tiny_encoder", "tiny_xlmr"])
def test_the_tokenizing_batch_changes_no_bit(family, request):
    encoder = load(request.getfixturevalue(family), pooling="mean")
    texts = [f"{text} {i}" for i in range(40) for text in TEXTS]
    once = encoder.encode(texts, kind="passage")
    for batch in (1, 7, 100):
        assert (encoder.encode(texts, kind="passage", tokenize_batch=batch) == once).all()


def test_no_texts_give_no_vectors(tiny_encoder):
    assert load(tiny_encoder).encode([], kind="query").shape == (0, 32)


def test_vectors_have_length_one_unless_asked_otherwise(tiny_encoder):
    np.testing.assert_allclose(np.linalg.norm(load(tiny_encoder).encode(TEXTS, kind="query"), axis=1), 1, atol=1e-6)
    assert (np.linalg.norm(load(tiny_encoder, normalize=False).encode(TEXTS, kind="query"), axis=1) > 1.5).all()


def test_half_precision_stays_close(tiny_encoder):
    half = load(tiny_encoder, dtype="bfloat16").encode(TEXTS, kind="passage")
    assert half.dtype == np.float32
    assert ((half * load(tiny_encoder).encode(TEXTS, kind="passage")).sum(1) > 0.999).all()


# --- what the model says of itself ---------------------------------------------------------------------------------


def config_of(folder: Path, **options) -> EncoderConfig:
    return read_encoder_config(str(folder), name=options.pop("name", str(folder)), **options)


def test_a_model_without_a_word_about_pooling_is_an_error_never_cls(bare_folder):
    with pytest.raises(UserError, match="does not say") as caught:
        load(bare_folder)
    assert "--pooling_method" in caught.value.fix
    assert load(bare_folder, pooling="mean").config.pooling == "mean"


def test_flagembeddings_table_is_asked_by_name(bare_folder):
    assert config_of(bare_folder, name="intfloat/e5-small-v2").pooling == "mean"
    assert config_of(bare_folder, name="BAAI/bge-small-en-v1.5").pooling == "cls"
    assert config_of(bare_folder, name="out/bge-m3/checkpoint-500").pooling == "cls"
    known = config_of(bare_folder, name="intfloat/multilingual-e5-large-instruct", query_instruction="Find it.")
    assert known.text("q", kind="query") == "Instruct: Find it.\nQuery: q"
    assert known.text("p", kind="passage") == "p"


def test_a_pooling_that_is_set_needs_no_table(bare_folder):
    import subprocess
    import sys

    code = (
        "import sys; from sharprank.models.encoder_config import read_encoder_config as read\n"
        f"read({str(bare_folder)!r}, name='BAAI/bge-m3', pooling='mean'); assert 'FlagEmbedding' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_instruction_for_a_known_model_takes_its_format_from_the_table(bare_folder):
    known = config_of(bare_folder, name="Qwen/Qwen3-Embedding-0.6B", pooling="mean", query_instruction="Find it.")
    assert (known.pooling, known.text("q", kind="query")) == ("mean", "Instruct: Find it.\nQuery:q")


def test_flagembeddings_table_refuses_models_of_another_kind(bare_folder):
    with pytest.raises(UserError, match="ICLLLMEmbedder"):
        config_of(bare_folder, name="BAAI/bge-en-icl")


def test_the_models_own_files_win_over_the_table_and_flags_win_over_both(encoder_folder):
    assert config_of(encoder_folder, name="BAAI/bge-small-en-v1.5").pooling == "mean"
    assert config_of(encoder_folder, pooling="cls").pooling == "cls"


def test_an_instruction_that_is_set_replaces_the_models_own(encoder_folder):
    layout(encoder_folder, prompts={"prompts": {"query": "find ", "passage": "read "}})
    assert config_of(encoder_folder).text("x", kind="query") == "find x"
    assert config_of(encoder_folder).text("x", kind="passage") == "read x"
    assert config_of(encoder_folder, query_instruction="").text("x", kind="query") == "x"
    assert config_of(encoder_folder, query_instruction="seek ").text("x", kind="query") == "seek x"


def test_the_default_prompt_goes_before_both(encoder_folder):
    layout(encoder_folder, prompts={"prompts": {"all": "text: "}, "default_prompt_name": "all"})
    assert config_of(encoder_folder).text("x", kind="query") == "text: x"
    assert config_of(encoder_folder).text("x", kind="passage") == "text: x"


@pytest.mark.parametrize(
    "pooling",
    [
        {"pooling_mode_max_tokens": True},
        {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True},
        {"pooling_mode": "weightedmean"},
        {"pooling_mode": ["cls", "mean"]},
        {"pooling_mode": "mean", "include_prompt": False},
    ],
)
def test_a_pooling_we_cannot_compute_is_refused(encoder_folder, pooling):
    layout(encoder_folder, pooling=pooling)
    with pytest.raises(UserError, match="pools its token states"):
        load(encoder_folder)


def test_a_dense_layer_is_refused_not_left_out(encoder_folder):
    layout(encoder_folder)
    modules = json.loads((encoder_folder / "modules.json").read_text())
    modules.append({"idx": 3, "name": "3", "path": "3_Dense", "type": "sentence_transformers.models.Dense"})
    write_json(encoder_folder / "modules.json", modules)
    with pytest.raises(UserError, match="Dense"):
        load(encoder_folder)


def test_an_unknown_pooling_and_a_broken_format_are_refused(encoder_folder):
    with pytest.raises(UserError, match="pooling_method 'max'"):
        load(encoder_folder, pooling="max")
    for broken in ("{}", "no braces", "{0} {2}", "{"):
        with pytest.raises(UserError, match="instruction format"):
            load(encoder_folder, query_instruction_format=broken)


def test_a_length_beyond_the_models_positions_is_refused_with_the_limit(tiny_encoder):
    with pytest.raises(UserError, match="--embedder_passage_max_length 129 is more than the 128") as caught:
        load(tiny_encoder, passage_max_length=129)
    assert "128" in caught.value.fix
    with pytest.raises(UserError, match="no room"):
        load(tiny_encoder, query_max_length=2)


def test_a_folder_without_tokenizer_is_refused(encoder_folder):
    for file in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"):
        (encoder_folder / file).unlink(missing_ok=True)
    with pytest.raises(UserError, match="tokenizer"):
        load(encoder_folder)


def test_a_model_that_is_nowhere_is_a_user_error():
    with pytest.raises(UserError):
        BiEncoder.load("nobody/has-this-model", pooling="cls", device="cpu")


def test_broken_weights_are_an_error_naming_the_first_text(encoder_folder):
    encoder = load(encoder_folder)
    with torch.no_grad():
        encoder.model.encoder.layer[1].output.dense.bias[0] = float("nan")
    with pytest.raises(UserError, match="no usable vector .* 2 texts, the first: 'one'"):
        encoder.encode(["one", "two"], kind="query")


def test_the_hash_of_the_weights_tells_models_apart(tiny_encoder):
    encoder = load(tiny_encoder)
    before = encoder.weights_sha256()
    assert before == load(tiny_encoder).weights_sha256()
    with torch.no_grad():
        encoder.model.encoder.layer[1].output.dense.bias[0] += 1
    assert encoder.weights_sha256() != before


def test_settings_tell_what_decides_the_vectors(tiny_encoder):
    settings = load(tiny_encoder, query_instruction="find ", dtype="bfloat16").settings()
    assert settings["pooling"] == "mean"
    assert settings["query_instruction"] == "find "
    assert settings["dtype"] == "bfloat16"
    assert settings["passage_max_length"] == 128
    json.dumps(settings)
