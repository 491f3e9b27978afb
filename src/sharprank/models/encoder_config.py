"""What a bi-encoder says about itself: how token states become one vector, and what is put before a text.

Asked in this order, and never guessed:

1. what the caller sets;
2. the files that sentence-transformers models carry (modules.json, 1_Pooling/config.json,
   config_sentence_transformers.json, sentence_bert_config.json);
3. FlagEmbedding's table of known models, by name.

Refuses models with parts that would silently be left out (dense layers, other poolings). Loads no weights.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sharprank.errors import UserError

POOLINGS = ("cls", "mean", "last_token")

_LAYOUT_POOLINGS = {"cls": "cls", "mean": "mean", "lasttoken": "last_token"}
_OLD_POOLING_KEYS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_lasttoken": "lasttoken",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
}
_KNOWN_MODULES = {"Transformer", "Pooling", "Normalize", "Dropout"}
_PASSAGE_PROMPTS = ("document", "passage", "corpus")


@dataclass(frozen=True)
class EncoderConfig:
    """How texts become vectors.

    Attributes:
        pooling: "cls", "mean" or "last_token".
        source: where the pooling was found, in words.
        query_instruction: put before queries by `query_format`.
        query_format: two `{}`: the instruction, the query.
        passage_instruction: put before passages.
        max_length: the model's own limit (tokens), None where only its tokenizer knows one.
        lower_case: texts are lower-cased before the tokenizer sees them.
    """

    pooling: str
    source: str
    query_instruction: str = ""
    query_format: str = "{}{}"
    passage_instruction: str = ""
    max_length: int | None = None
    lower_case: bool = False

    def text(self, text: str, *, kind: str) -> str:
        """What the tokenizer sees of a text; `kind` is "query" or "passage"."""
        if kind == "query":
            text = self.query_format.format(self.query_instruction, text) if self.query_instruction else text
        else:
            text = self.passage_instruction + text
        return text.lower() if self.lower_case else text


def read_encoder_config(
    path: str,
    *,
    name: str,
    pooling: str | None = None,
    query_instruction: str | None = None,
    query_format: str | None = None,
    passage_instruction: str | None = None,
    cache_dir: str | None = None,
) -> EncoderConfig:
    """The model's own conventions, with those the caller sets in their place.

    Args:
        path: the model as `resolve_model` gave it.
        name: the model as the user named it, for messages and for FlagEmbedding's table.

    Raises:
        UserError: the pooling is nowhere to be found, or the model has parts we cannot compute.
    """
    if pooling is not None and pooling not in POOLINGS:
        raise UserError(f"--pooling_method {pooling!r} is unknown", fix=f"use one of: {', '.join(POOLINGS)}")
    own = _from_layout(path, name=name, pooling=pooling, cache_dir=cache_dir)
    if own is None and (pooling is None or (query_instruction and query_format is None)):
        own = _from_flagembedding(name)
    if own is None and pooling is not None:
        own = EncoderConfig(pooling=pooling, source="--pooling_method")
    if own is None:
        raise UserError(
            f"model {name} does not say how its token states become one vector (it has no 1_Pooling/config.json, "
            "and FlagEmbedding does not know its name)",
            fix=f"say it: --pooling_method {' | '.join(POOLINGS)} (the model's card tells which)",
        )
    given: dict[str, Any] = {
        "query_instruction": query_instruction,
        "query_format": query_format,
        "passage_instruction": passage_instruction,
    }
    changes = {key: value for key, value in given.items() if value is not None}
    if pooling is not None:
        changes |= {"pooling": pooling, "source": "--pooling_method"}
    return _checked(replace(own, **changes))


def said_to_embed(path: str, *, cache_dir: str | None = None) -> EncoderConfig | None:
    """What an encoder's own files say of how it embeds whole texts, by "mean" or "cls".

    None where they say nothing of the kind: nothing tells that it was trained to embed.
    """
    try:
        found = _from_layout(path, name=path, pooling=None, cache_dir=cache_dir) if path else None
    except UserError:  # it pools otherwise, or has more parts, as a cross-encoder of sentence-transformers has
        return None
    return found if found is not None and found.pooling in ("mean", "cls") else None


def _checked(config: EncoderConfig) -> EncoderConfig:
    try:
        complete = "\0Q" in config.query_format.format("I", "\0Q")
    except (IndexError, KeyError, ValueError):
        complete = False
    if not complete:
        raise UserError(
            f"the query instruction format {config.query_format!r} does not take an instruction and a query",
            fix="write two pairs of braces, such as '{}{}' or 'Instruct: {}\\nQuery: {}'",
        )
    return config


def _from_layout(path: str, *, name: str, pooling: str | None, cache_dir: str | None) -> EncoderConfig | None:
    """The conventions a sentence-transformers layout states; None where there is no such layout."""
    modules = _read_json(path, "modules.json", cache_dir)
    folder = _check_modules(modules, name=name) if isinstance(modules, list) else "1_Pooling"
    pooling_file = _read_json(path, f"{folder}/config.json", cache_dir) if folder else None
    if not isinstance(pooling_file, dict):
        return None
    prompts_file = _read_json(path, "config_sentence_transformers.json", cache_dir) or {}
    length_file = _read_json(path, "sentence_bert_config.json", cache_dir) or {}
    query, passage = _prompts(prompts_file)
    return EncoderConfig(
        pooling=pooling or _layout_pooling(pooling_file, name=name),
        source=f"{folder}/config.json of the model",
        query_instruction=query,
        passage_instruction=passage,
        max_length=length_file.get("max_seq_length"),
        lower_case=bool(length_file.get("do_lower_case", False)),
    )


def _check_modules(modules: list[Mapping[str, Any]], *, name: str) -> str | None:
    """The folder of the Pooling module."""
    kinds = {str(module.get("type", "")).rsplit(".", 1)[-1]: str(module.get("path", "")) for module in modules}
    unknown = sorted(set(kinds) - _KNOWN_MODULES)
    if unknown or kinds.get("Transformer", ""):
        part = f"a {unknown[0]} module" if unknown else f"its transformer in the sub-folder {kinds['Transformer']}"
        raise UserError(
            f"model {name} has {part}, which sharprank cannot compute",
            fix="use a bi-encoder of a transformer, a pooling and a normalisation",
        )
    return kinds.get("Pooling")


def _layout_pooling(config: Mapping[str, Any], *, name: str) -> str:
    modes = config.get("pooling_mode") or [mode for key, mode in _OLD_POOLING_KEYS.items() if config.get(key)]
    modes = [modes] if isinstance(modes, str) else list(modes) or ["mean"]  # their default, where no mode is on
    if len(modes) != 1 or modes[0] not in _LAYOUT_POOLINGS or config.get("include_prompt", True) is False:
        what = "leaves its prompt out of the pooling" if not config.get("include_prompt", True) else "+".join(modes)
        raise UserError(
            f"model {name} pools its token states in a way sharprank does not know: {what}",
            fix=f"use a model that pools by {', '.join(POOLINGS)}, or set --pooling_method",
        )
    return _LAYOUT_POOLINGS[modes[0]]


def _prompts(config: Mapping[str, Any]) -> tuple[str, str]:
    """What the model puts before queries and before passages."""
    prompts = config.get("prompts") or {}
    default = prompts.get(config.get("default_prompt_name") or "", "")
    passage = next((prompts[key] for key in _PASSAGE_PROMPTS if prompts.get(key)), default)
    return prompts.get("query") or default, passage


def _from_flagembedding(name: str) -> EncoderConfig | None:
    """What FlagEmbedding knows of the model, by the last part of its name (its parent's, for a checkpoint folder)."""
    path = Path(name)
    known_name = path.parent.name if path.name.startswith("checkpoint-") else path.name
    from FlagEmbedding import BGEM3FlagModel, FlagLLMModel, FlagModel
    from FlagEmbedding.inference.embedder.model_mapping import AUTO_EMBEDDER_MAPPING

    known: Any = AUTO_EMBEDDER_MAPPING.get(known_name)
    if known is None:
        return None
    if known.model_class not in (FlagModel, FlagLLMModel, BGEM3FlagModel):
        raise UserError(
            f"model {name} needs FlagEmbedding's {known.model_class.__name__}, which sharprank cannot run",
            fix="use a model of one dense vector a text, such as BAAI/bge-m3 or BAAI/bge-base-en-v1.5",
        )
    return EncoderConfig(
        pooling=known.pooling_method.value,
        source="FlagEmbedding's table of models",
        query_format=known.query_instruction_format,
    )


def _read_json(path: str, file: str, cache_dir: str | None) -> Any:
    """A JSON file of the model, from its folder or the hub; None where it has none."""
    from transformers.utils.hub import cached_file

    found = cached_file(
        path,
        file,
        cache_dir=cache_dir,
        _raise_exceptions_for_gated_repo=False,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    if found is None:
        return None
    try:
        return json.loads(Path(str(found)).read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(
            f"{found}: not valid JSON: {error}", fix="repair the file, or download the model again"
        ) from error
