"""A scoring head for encoders that come without one, as a plain transformers checkpoint that every library loads.

BERT-like classifiers read the first token only, and in an encoder trained to be pooled by mean (most embedding
models) that token was never trained to say anything. So such an encoder gets one more layer of its own kind,
initialised to do nothing but add the mean of all tokens to the first: attention weights all equal (zero queries),
values and output the identity, feed-forward switched off. It trains like any other layer, and the checkpoint stays a
`BertForSequenceClassification` with one more layer.

ModernBERT needs no such layer: its classifier can pool by mean itself.
"""

from __future__ import annotations

import copy
from typing import Any

import torch

from sharprank.models.packing import is_bert_like

MEAN_WEIGHT = 3.0
"""How much the mean of all tokens counts beside the first token (layer normalisation follows)."""


def add_mean_layer(model: Any) -> bool:
    """Append a layer that adds the mean of all tokens to the first; False (and nothing done) for other families.

    Args:
        model: a sequence classifier whose head reads the first token.
    """
    if not is_bert_like(model.config):
        return False
    layers = model.base_model.encoder.layer
    layer = copy.deepcopy(layers[-1])
    with torch.no_grad():
        _average_all_tokens(layer.attention)
        _do_nothing(layer.output)
        _pass_through(_head_dense(model))
    attention = layer.attention.self
    attention.layer_idx = len(layers)
    layers.append(layer)
    model.config.num_hidden_layers = len(layers)
    return True


def _average_all_tokens(attention: Any) -> None:
    # Keys keep their weights: with queries AND keys at zero neither would ever receive a gradient.
    attention.self.query.weight.zero_()
    attention.self.query.bias.zero_()
    _pass_through(attention.self.value)
    _pass_through(attention.output.dense, weight=MEAN_WEIGHT)
    _plain_norm(attention.output.LayerNorm)


def _do_nothing(output: Any) -> None:
    """The feed-forward part: its output is zero at first, so only the residual passes."""
    output.dense.weight.zero_()
    output.dense.bias.zero_()
    _plain_norm(output.LayerNorm)


def _pass_through(dense: Any, *, weight: float = 1.0) -> None:
    dense.weight.copy_(weight * torch.eye(dense.weight.shape[0]))
    dense.bias.zero_()


def _plain_norm(norm: Any) -> None:
    norm.weight.fill_(1.0)
    norm.bias.zero_()


def _head_dense(model: Any) -> Any:
    """The square linear map between the first token and the score."""
    pooler = getattr(model.base_model, "pooler", None)
    return pooler.dense if pooler is not None else model.classifier.dense
