"""Padding-free encoding: several sequences laid end to end in one row, each attending only to itself.

BERT-like encoders (BERT, RoBERTa, XLM-R, CamemBERT, ELECTRA), ModernBERT and the usual decoders (Qwen, Gemma, Llama,
Mistral) take packed rows without a change to their code: positions restart for every sequence, and a registered
attention function splits the row at the boundaries that travel in the `packing` keyword. Where a head reads only the
first token of each sequence, the last layer computes keys and values for all tokens but everything else for the first
tokens alone: the same result for about a tenth less work on twelve layers, a seventh less on six.

What it refuses: attention masks (a padded batch through the packed function would attend to its padding).

Shapes: T tokens of a pack, B sequences, H hidden size, N heads, D size of a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from sharprank.models.attention import packed_attention, packed_mask

ATTENTION_NAME = "sharprank_packed"

_OFFSET_POSITIONS = {"roberta", "xlm-roberta", "xlm-roberta-xl", "camembert"}
_BERT_LIKE = {"bert", "electra", *_OFFSET_POSITIONS} - {"xlm-roberta-xl"}
_DECODERS = {"qwen2", "qwen3", "gemma", "llama", "mistral"}
PACKED_FAMILIES = frozenset(_BERT_LIKE | _DECODERS | {"modernbert"})


@dataclass(frozen=True)
class Packing:
    """Where the sequences of one packed row begin and end.

    Attributes:
        lengths: tokens of each sequence (B numbers).
        cu_seqlens: int32 [B + 1], the running sum, on the model's device.
    """

    lengths: tuple[int, ...]
    cu_seqlens: torch.Tensor

    @classmethod
    def of(cls, lengths: Sequence[int], device: torch.device | str = "cpu") -> Packing:
        ends = torch.tensor([0, *lengths], dtype=torch.int64).cumsum(0).to(torch.int32)
        return cls(tuple(int(length) for length in lengths), ends.to(device, non_blocking=True))

    @property
    def starts(self) -> torch.Tensor:
        """int64 [B], the row index of every sequence's first token."""
        return self.cu_seqlens[:-1].long()


def is_bert_like(config: Any) -> bool:
    """Whether the model is built of BERT's layers and reads its first token."""
    return config.model_type in _BERT_LIKE


def is_decoder(config: Any) -> bool:
    """Whether a token of this family sees only the tokens before it."""
    from transformers.models.auto import modeling_auto

    own, masked = modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    return config.model_type in own and config.model_type not in masked and not config.is_encoder_decoder


def first_position(config: Any) -> int:
    """The position id of a sequence's first token: RoBERTa-like models count from pad_token_id + 1, others from 0."""
    return config.pad_token_id + 1 if config.model_type in _OFFSET_POSITIONS else 0


def usable_positions(config: Any) -> int | None:
    """The longest sequence (tokens) the model has positions for; None when it has no such limit."""
    limit = getattr(config, "max_position_embeddings", None)
    if limit is None or getattr(config, "position_embedding_type", "absolute") not in ("absolute", None):
        return None
    return limit - first_position(config)


def uses_token_types(config: Any) -> bool:
    """Whether the family distinguishes query from passage by token type."""
    return config.model_type not in {"modernbert", *_OFFSET_POSITIONS} and getattr(config, "type_vocab_size", 0) > 1


def can_pack(model: nn.Module) -> bool:
    """Whether this model's family takes packed rows."""
    config: Any = model.config
    if config.model_type not in PACKED_FAMILIES or getattr(config, "is_decoder", False):
        return False
    if config.model_type in _DECODERS:  # the family's own classifier looks for its last token by padding
        return not hasattr(model, "score") or hasattr(model, "pooling")
    if config.model_type == "modernbert":
        return True
    return getattr(config, "position_embedding_type", "absolute") in ("absolute", None)


def enable_packing(model: Any, *, first_tokens_only: bool) -> bool:
    """Let `model` take packed rows; False (and nothing changed) when its family cannot.

    Padded batches keep working: without `packing` the registered function is ordinary masked SDPA.

    Args:
        model: a transformers encoder, with or without a head.
        first_tokens_only: the caller reads only each sequence's first token; the model then returns
            [B, 1, H] hidden states for a pack instead of [1, T, H].
    """
    if not can_pack(model) or (first_tokens_only and model.config.model_type in _DECODERS):
        return False
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface

    AttentionInterface.register(ATTENTION_NAME, packed_attention)
    AttentionMaskInterface.register(ATTENTION_NAME, packed_mask)
    model.set_attn_implementation(ATTENTION_NAME)
    if first_tokens_only:
        layers = _layers(model)
        last: Any = layers[-1]
        family = _modernbert_last_layer if model.config.model_type == "modernbert" else _bert_last_layer
        last.forward = partial(family, last)
    elif model.config.model_type == "modernbert" and hasattr(model, "classifier"):
        model.model.register_forward_hook(_mean_of_each_sequence, with_kwargs=True)
    return True


def reads_first_tokens(model: Any) -> bool:
    """Whether the model's classification head looks at first tokens only."""
    if hasattr(model, "pooling"):
        return model.pooling == "cls"
    if model.config.model_type in _DECODERS:
        return False
    return model.config.model_type != "modernbert" or model.config.classifier_pooling == "cls"


def _layers(model: Any) -> Any:
    base = model.base_model
    return base.layers if model.config.model_type == "modernbert" else base.encoder.layer


def _heads(x: torch.Tensor, size: int) -> torch.Tensor:
    """[1, T, N * D] -> [1, N, T, D]."""
    return x.view(*x.shape[:-1], -1, size).transpose(1, 2)


def _bert_last_layer(
    layer: Any, hidden_states: torch.Tensor, *args: Any, packing: Packing | None = None, **kwargs: Any
) -> torch.Tensor:
    """The last BERT layer, first tokens only: [1, T, H] -> [B, 1, H]."""
    if packing is None:
        return type(layer).forward(layer, hidden_states, *args, **kwargs)
    attention = layer.attention.self
    size = attention.attention_head_size
    first = hidden_states[:, packing.starts]
    context, _ = packed_attention(
        attention,
        _heads(attention.query(first), size),
        _heads(attention.key(hidden_states), size),
        _heads(attention.value(hidden_states), size),
        None,
        dropout=attention.dropout.p if layer.training else 0.0,
        scaling=attention.scaling,
        packing=packing,
    )
    attended = layer.attention.output(context.reshape(first.shape), first)
    return layer.feed_forward_chunk(attended).transpose(0, 1).clone()  # engines that shard layers want no view


def _modernbert_last_layer(
    layer: Any,
    hidden_states: torch.Tensor,
    *args: Any,
    packing: Packing | None = None,
    position_embeddings: Any = None,
    **kwargs: Any,
) -> torch.Tensor:
    """The last ModernBERT layer, first tokens only: [1, T, H] -> [B, 1, H]."""
    if packing is None:
        return type(layer).forward(layer, hidden_states, *args, position_embeddings=position_embeddings, **kwargs)
    from transformers.models.modernbert.modeling_modernbert import apply_rotary_pos_emb

    attention = layer.attn
    qkv = attention.Wqkv(layer.attn_norm(hidden_states)).view(1, hidden_states.shape[1], 3, -1, attention.head_dim)
    query, key, value = (part.transpose(1, 2) for part in qkv.unbind(dim=-3))
    query, key = apply_rotary_pos_emb(query, key, *position_embeddings, unsqueeze_dim=1)
    first = hidden_states[:, packing.starts]
    context, _ = packed_attention(
        attention,
        query[:, :, packing.starts],
        key,
        value,
        None,
        dropout=attention.attention_dropout if layer.training else 0.0,
        scaling=attention.head_dim**-0.5,
        sliding_window=attention.sliding_window,
        packing=packing,
    )
    first = first + attention.out_drop(attention.Wo(context.reshape(first.shape)))
    return (first + layer.mlp(layer.mlp_norm(first))).transpose(0, 1).clone()


def _mean_of_each_sequence(model: Any, args: Any, kwargs: dict[str, Any], output: Any) -> Any:
    """Forward hook for heads that pool by mean: [1, T, H] -> [B, 1, H]."""
    packing: Packing | None = kwargs.get("packing")
    if packing is not None:
        output.last_hidden_state = segment_means(output.last_hidden_state[0], packing).unsqueeze(1)
    return output


def segment_means(hidden_TH: torch.Tensor, packing: Packing) -> torch.Tensor:
    """Mean hidden state of each sequence of a pack: [T, H] -> [B, H]."""
    return torch.stack([part.mean(0) for part in hidden_TH.split(packing.lengths)])
