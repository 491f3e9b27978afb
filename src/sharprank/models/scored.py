"""Transformers models whose forward pass ends in one score a sequence, where the family has no such class of its own.

Two kinds, each the family's class with another ending, so that loading, saving, sharding and adapters stay
transformers' own and the checkpoint stays one of its family:

- an encoder with a head of ours (`pooled_class`): a pooling and a linear map, or one that compares tokens; the
  encoder's weights keep their own names, the head's stand beside them under `score.`;
- a language model asked for an answer (`answering_class`): its output head computes the answers' rows and no others.

Both return `logits` [B, 1], take packs where their family does, and know nothing of tokenizers.

Shapes: T tokens of a pack, B sequences, H hidden size, A answers (1 or 2), K layers.
"""

from __future__ import annotations

import copy
import json
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers.modeling_outputs import SequenceClassifierOutput

from sharprank.models.loading import keep_names
from sharprank.models.maxsim import JOINT, LATE, MaxSim, forget_code
from sharprank.models.packing import enable_packing, reads_first_tokens
from sharprank.models.pooling import Pooling, pool_states
from sharprank.models.recipe import Recipe

POOLINGS: dict[str, Pooling] = {"cls": "cls", "mean": "mean", "last": "last_token", "weighted": "mean"}
"""Our names of the head's poolings, and how they pool tokens; "weighted" averages layers first, weights learned."""

COMPARING = (LATE, JOINT)
"""Heads that compare tokens: they have to know where the query ends, and rank before any training."""

HEADS = (*COMPARING, *POOLINGS)
"""All heads of ours, by what `--pooling` calls them."""

_ST_POOLINGS = {"cls": "cls", "mean": "mean", "last": "lasttoken"}


MODULE_FILES = ("modules.json", "config_sentence_transformers.json", "1_Pooling", "2_Dense")
"""What lies beside a checkpoint with a pooling head, for sentence-transformers; with another head it would be wrong."""


class ScoreHead(nn.Module):
    """Pooled states to one score: dropout and a linear map, and for "weighted" the weights of the layers.

    Args:
        hidden_size: H.
        num_layers: the encoder's layers; K = the later two thirds of their states are weighted.
    """

    def __init__(self, hidden_size: int, *, num_layers: int, pooling: str, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(hidden_size, 1)
        self.first_layer = (num_layers + 1) // 3
        weights = torch.ones(num_layers + 1 - self.first_layer) if pooling == "weighted" else None
        self.layer_weights = None if weights is None else nn.Parameter(weights)

    def reset(self) -> None:
        """A new head, in the place of an older one's weights."""
        nn.init.normal_(self.linear.weight, std=0.02)
        nn.init.zeros_(self.linear.bias)
        if self.layer_weights is not None:
            nn.init.ones_(self.layer_weights)

    def states(self, output: Any) -> torch.Tensor:
        """What is pooled: the last layer's states, or the weighted mean of the later layers'."""
        if self.layer_weights is None:
            return output.last_hidden_state
        layers = torch.stack(tuple(output.hidden_states[self.first_layer :]))
        weights = (self.layer_weights / self.layer_weights.sum()).to(layers.dtype)
        return torch.einsum("k,kbth->bth", weights, layers)

    def forward(self, pooled_BH: torch.Tensor) -> torch.Tensor:
        return self.linear(self.dropout(pooled_BH))


class _Pooled:
    """Mixed in before an encoder class; `pooling` is set on the class."""

    pooling: str

    def __init__(self, config: Any) -> None:
        super().__init__(config)  # type: ignore[call-arg]
        if getattr(self, "pooler", None) is not None:
            self.pooler = None  # it would be weights without a gradient
        self.score = ScoreHead(
            config.hidden_size,
            num_layers=config.num_hidden_layers,
            pooling=self.pooling,
            dropout=getattr(config, "hidden_dropout_prob", 0.0) or 0.0,
        )
        self.post_init()  # type: ignore[attr-defined]

    def _init_weights(self, module: Any) -> None:
        super()._init_weights(module)  # type: ignore[misc]
        if isinstance(module, ScoreHead) and module.layer_weights is not None:
            nn.init.ones_(module.layer_weights)

    def forward(
        self, input_ids: Any = None, attention_mask: Any = None, packing: Any = None, **inputs: Any
    ) -> SequenceClassifierOutput:
        output = super().forward(  # type: ignore[misc]
            input_ids=input_ids,
            attention_mask=attention_mask,
            **inputs,
            **({} if packing is None else {"packing": packing}),
            **({"output_hidden_states": True} if self.pooling == "weighted" else {}),
        )
        pooled = pool_states(self.score.states(output), POOLINGS[self.pooling], packing=packing, mask=attention_mask)
        return SequenceClassifierOutput(logits=self.score(pooled))  # type: ignore[arg-type]

    def save_pretrained(self, save_directory: Any, **kwargs: Any) -> Any:
        """As transformers does, and beside it the modules by which sentence-transformers' CrossEncoder loads it."""
        done = super().save_pretrained(save_directory, **kwargs)  # type: ignore[misc]
        if self.pooling in _ST_POOLINGS and kwargs.get("is_main_process", True):
            state = kwargs.get("state_dict") or self.state_dict()  # type: ignore[attr-defined]
            linear = {name: state[f"score.linear.{name}"].detach().cpu().contiguous() for name in ("weight", "bias")}
            _write_modules(Path(save_directory), self.pooling, linear)
        return done


def _write_modules(folder: Path, pooling: str, linear: dict[str, torch.Tensor]) -> None:
    from safetensors.torch import save_file

    size = linear["weight"].shape[1]
    base = "sentence_transformers"
    modules = [("", f"{base}.models.Transformer"), ("1_Pooling", f"{base}.models.Pooling")]
    modules.append(("2_Dense", f"{base}.models.Dense"))
    listed = [{"idx": i, "name": str(i), "path": path, "type": kind} for i, (path, kind) in enumerate(modules)]
    about = {"model_type": "CrossEncoder", "activation_fn": "torch.nn.modules.linear.Identity"}
    dense = {
        "in_features": size,
        "out_features": 1,
        "bias": True,
        "activation_function": "torch.nn.modules.linear.Identity",
        "module_output_name": "scores",
    }
    for name, content in (
        ("modules.json", listed),
        ("config_sentence_transformers.json", about),
        ("1_Pooling/config.json", {"embedding_dimension": size, "pooling_mode": _ST_POOLINGS[pooling]}),
        ("2_Dense/config.json", dense),
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    save_file({f"linear.{name}": value for name, value in linear.items()}, folder / "2_Dense" / "model.safetensors")


class _Answering:
    """Mixed in before a causal language model; `read_answers` says which tokens answer."""

    def forward(
        self, input_ids: Any = None, attention_mask: Any = None, packing: Any = None, **inputs: Any
    ) -> SequenceClassifierOutput:
        options = {"packing": packing} if packing is not None else {}
        output = super().forward(  # type: ignore[misc]
            input_ids=input_ids, attention_mask=attention_mask, **{"use_cache": False, **inputs}, **options
        )
        answers_BA = pool_states(output.logits, "last_token", packing=packing, mask=attention_mask)
        score = answers_BA[:, :1] - answers_BA[:, 1:2] if answers_BA.shape[1] == 2 else answers_BA
        return SequenceClassifierOutput(logits=score)  # type: ignore[arg-type]


def read_answers(model: Any, answers: tuple[int, ...]) -> None:
    """Let the output head of a language model compute the rows of `answers` (token ids) only: [..., A]."""
    head = model.get_output_embeddings()
    head.forward = partial(_rows_only, head, answers)


def _rows_only(head: Any, answers: tuple[int, ...], states: torch.Tensor) -> torch.Tensor:
    rows = torch.tensor(answers, device=head.weight.device)
    bias = None if getattr(head, "bias", None) is None else head.bias[rows]
    return F.linear(states, head.weight[rows], bias)


def pooled_class(config: Any, pooling: str, *, trust_remote_code: bool = False) -> Any:
    """The encoder class of `config` with a head of ours: one of `HEADS`."""
    from transformers import AutoModel

    encoder = _class_of(AutoModel, config, trust_remote_code)
    return _ending(MaxSim, encoder) if pooling in COMPARING else _ending(_Pooled, encoder, pooling=pooling)


def pooled_from(model: Any, recipe: Recipe, *, seed: int = 0) -> Any:
    """The encoder of a loaded model with the new head that a recipe asks for, drawn from `seed`."""
    assert recipe.pooling is not None
    encoder = model.base_model
    config = copy.deepcopy(encoder.config)
    forget_code(config)
    recipe.store(config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        pooled = pooled_class(config, recipe.pooling)(config)
    weights = {name: weight for name, weight in encoder.state_dict().items() if not name.startswith("score.")}
    found = pooled.load_state_dict(weights, strict=False)
    assert all(name.startswith("score.") for name in found.missing_keys), found.missing_keys
    enable_packing(pooled, first_tokens_only=reads_first_tokens(pooled))
    return keep_names(pooled)


def answering_class(config: Any, *, trust_remote_code: bool = False) -> Any:
    """The language model class of `config` that returns the score of its answers."""
    from transformers import AutoModelForCausalLM

    return _ending(_Answering, _class_of(AutoModelForCausalLM, config, trust_remote_code))


def _class_of(auto_class: Any, config: Any, trust_remote_code: bool) -> type:
    with torch.device("meta"):
        return type(auto_class.from_config(config, trust_remote_code=trust_remote_code))


def _ending(mixin: type, base: type, **attributes: Any) -> type:
    """`base` with another ending; it keeps its name, which transformers writes into config.json."""
    return type(base.__name__, (mixin, base), {"__module__": base.__module__, **attributes})
