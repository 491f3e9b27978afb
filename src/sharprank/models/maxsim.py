"""A scoring head that compares tokens: every query token with the passage token most like it, after joint encoding.

An encoder trained to be searched with (most embedding models) puts tokens of like meaning close to each other, also
when query and passage are read together. So such an encoder ranks before any training, and what training adds, it adds
to that: a weight for every query token, and a linear map of the mean state, both zero at first.

This module is copied into every checkpoint with such a head, as the code that transformers loads with
`trust_remote_code=True`; it therefore imports nothing of ours.

Source: ColBERT's MaxSim (Khattab and Zaharia, SIGIR 2020), over jointly encoded pairs as in CEDR (MacAvaney et al.,
SIGIR 2019).

Shapes: T tokens of all sequences, B sequences, H hidden size, L tokens of the longest sequence, Q of its query.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

SCALE = 20.0
"""What a similarity (-1 to 1) counts in a score: the inverse of the temperature embedding models are trained with."""

LEVEL = 0.7
"""The similarity that scores 0 at the start, MiniLM's between best matches; training begins with its own data's."""

CODE = "modeling_maxsim"
"""The name of this module beside a checkpoint."""


class MaxSimHead(nn.Module):
    """Token states to one score a sequence.

    Args:
        hidden_size: H.
        separator: id of the token that ends the query; the same token may stand before and after the passage.
    """

    def __init__(self, hidden_size: int, separator: int) -> None:
        super().__init__()
        self.separator = separator
        self.scale = nn.Parameter(torch.tensor([SCALE]))
        self.weigh = nn.Linear(hidden_size, 1)
        self.linear = nn.Linear(hidden_size, 1)

    def reset(self) -> None:
        """The start: all query tokens count alike, and nothing else counts; scores are around 0."""
        nn.init.constant_(self.scale, SCALE)
        for linear in (self.weigh, self.linear):
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)
        nn.init.constant_(self.linear.bias, -SCALE * LEVEL)

    @torch.no_grad()
    def centre(self, scores: torch.Tensor) -> None:
        """Move the start so that scores like these have mean 0: what an encoder takes for alike differs."""
        self.linear.bias.sub_(scores.float().mean())

    def forward(self, states_TH: torch.Tensor, ids_T: torch.Tensor, lengths_B: torch.Tensor) -> torch.Tensor:
        """Scores [B, 1], computed in float32 whatever the precision around it.

        Args:
            ids_T: the tokens, sequence after sequence: first token, query, separator, passage, separator.
            lengths_B: tokens of each sequence.
        """
        lengths = lengths_B.tolist()
        places: list[int] = []
        scores: list[torch.Tensor] = []
        with torch.autocast(states_TH.device.type, enabled=False):
            for some in _alike(lengths):
                index_BL, real_BL = _positions(lengths, some, device=states_TH.device)
                ids_BL = ids_T[index_BL].masked_fill(~real_BL, self.separator)
                places += some
                scores.append(self._scores(states_TH[index_BL].float(), ids_BL, real_BL))
        back_B = torch.tensor(places, device=states_TH.device).argsort()
        return torch.cat(scores)[back_B]

    def _scores(self, states_BLH: torch.Tensor, ids_BL: torch.Tensor, real_BL: torch.Tensor) -> torch.Tensor:
        """Scores [B, 1] of sequences as padded rows; the padding's ids are separators."""
        is_end_BL = ids_BL == self.separator
        in_query_BL = is_end_BL.cumsum(1) == 0
        is_passage_BL = ~in_query_BL & ~is_end_BL
        longest = int(in_query_BL.sum(1).max())
        is_query_BQ = in_query_BL[:, 1:longest]  # the first token is the query's only as far as its place goes
        unit_BLH = F.normalize(states_BLH, dim=-1)
        sims_BQL = unit_BLH[:, 1:longest] @ unit_BLH.transpose(1, 2)
        best_BQ = sims_BQL.masked_fill(~is_passage_BL.unsqueeze(1), -1.0).amax(-1)
        logits_BQ = _linear(self.weigh, states_BLH[:, 1:longest]).squeeze(-1)
        weights_BQ = logits_BQ.masked_fill(~is_query_BQ, -1e9).softmax(-1) * is_query_BQ
        matched_B1 = (weights_BQ * best_BQ).sum(1, keepdim=True)
        mean_BH = (states_BLH * real_BL.unsqueeze(-1)).sum(1) / real_BL.sum(1, keepdim=True)
        return self.scale.float() * matched_B1 + _linear(self.linear, mean_BH)


def _linear(layer: nn.Linear, states: torch.Tensor) -> torch.Tensor:
    """A linear map in float32: the weights of a whole model may have been loaded in less."""
    return F.linear(states, layer.weight.float(), layer.bias.float())


def _alike(lengths: list[int]) -> list[list[int]]:
    """Places of sequences of which none is twice as long as another: padding them costs at most as much again.

    >>> _alike([5, 100, 8, 70])
    [[0, 2], [1, 3]]
    """
    by_size: dict[int, list[int]] = {}
    for place, length in enumerate(lengths):
        by_size.setdefault((length - 1).bit_length(), []).append(place)
    return list(by_size.values())


def _positions(lengths: list[int], some: list[int], *, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Where the tokens of some sequences are [B, L] (padding: at their first), and which are real (bool [B, L])."""
    ends = torch.tensor(lengths, device=device).cumsum(0)[some]
    lengths_B1 = torch.tensor([lengths[place] for place in some], device=device).unsqueeze(1)
    steps_L = torch.arange(max(lengths[place] for place in some), device=device)
    real_BL = steps_L < lengths_B1
    return ends.unsqueeze(1) - lengths_B1 + steps_L.where(real_BL, 0), real_BL


class MaxSim:
    """Mixed in before an encoder class: the encoder with this head, whose `logits` are [B, 1].

    The configuration says under `sharprank` which token separates query and passage.
    """

    pooling = "maxsim"

    def __init__(self, config: Any) -> None:
        super().__init__(config)  # type: ignore[call-arg]
        if getattr(self, "pooler", None) is not None:
            self.pooler = None  # it would be weights without a gradient
        self.score = MaxSimHead(config.hidden_size, config.sharprank["separator"])
        self.post_init()  # type: ignore[attr-defined]

    def _init_weights(self, module: Any) -> None:
        super()._init_weights(module)  # type: ignore[misc]
        if isinstance(module, MaxSimHead):
            module.reset()

    def forward(self, input_ids: Any = None, attention_mask: Any = None, packing: Any = None, **inputs: Any) -> Any:
        from transformers.modeling_outputs import SequenceClassifierOutput

        inputs = {**inputs, "return_dict": True, **({} if packing is None else {"packing": packing})}
        output = super().forward(input_ids=input_ids, attention_mask=attention_mask, **inputs)  # type: ignore[misc]
        if packing is not None:
            lengths = torch.diff(packing.cu_seqlens).long()
            scores = self.score(output.last_hidden_state[0], input_ids[0], lengths)
        else:
            real = torch.ones_like(input_ids) if attention_mask is None else attention_mask
            tokens = real.bool()
            scores = self.score(output.last_hidden_state[tokens], input_ids[tokens], real.long().sum(1))
        return SequenceClassifierOutput(logits=scores)

    def save_pretrained(self, save_directory: Any, **kwargs: Any) -> Any:
        """As transformers does, and beside it this module, so that other libraries can load the head as well."""
        done = super().save_pretrained(save_directory, **kwargs)  # type: ignore[misc]
        if kwargs.get("is_main_process", True):
            write_code(Path(save_directory), encoder=type(self).__name__)
        return done


def write_code(folder: Path, *, encoder: str) -> None:
    """Put this module into a checkpoint, for `AutoModelForSequenceClassification` with `trust_remote_code=True`.

    Args:
        encoder: name of the encoder's class; only transformers' own ones can be named in the code.
    """
    if not _is_of_transformers(encoder):
        return
    code = Path(__file__).read_text(encoding="utf-8").rstrip("\n")
    code += (
        f"\n\n\nfrom transformers import {encoder}  # noqa: E402\n\n\nclass Reranker(MaxSim, {encoder}):\n    pass\n"
    )
    (folder / f"{CODE}.py").write_text(code, encoding="utf-8")
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["auto_map"] = {"AutoModelForSequenceClassification": f"{CODE}.Reranker"}
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def can_carry_code(model_class: type) -> bool:
    """Whether `write_code` can name the encoder that such a class is made of."""
    return _is_of_transformers(model_class.__name__)


def _is_of_transformers(encoder: str) -> bool:
    import transformers

    return hasattr(transformers, encoder)


def forget_code(config: Any) -> None:
    """Take what names this module out of a configuration whose model gets another head."""
    auto_map = getattr(config, "auto_map", None) or {}
    kept = {name: code for name, code in auto_map.items() if not str(code).startswith(f"{CODE}.")}
    if len(kept) < len(auto_map):
        config.auto_map = kept
