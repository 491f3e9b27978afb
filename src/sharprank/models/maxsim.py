"""A scoring head that compares tokens: every query token with the passage token most like it, after joint encoding.

An encoder trained to be searched with (most embedding models) puts tokens of like meaning close to each other, also
when query and passage are read together. So such an encoder ranks before any training, and what training adds, it adds
to that: a weight for every query token, and a linear map of the mean state, both zero at first.

This module is copied into every checkpoint with such a head, as the code that transformers loads with
`trust_remote_code=True`; it therefore imports nothing of ours.

Source: ColBERT's MaxSim (Khattab and Zaharia, SIGIR 2020), over jointly encoded pairs as in CEDR (MacAvaney et al.,
SIGIR 2019).

Shapes: T tokens of all sequences, B sequences, H hidden size, Q and P tokens of the longest query and passage.
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
        """The start: all query tokens count alike, and nothing else counts."""
        nn.init.constant_(self.scale, SCALE)
        for linear in (self.weigh, self.linear):
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, states_TH: torch.Tensor, ids_T: torch.Tensor, lengths_B: torch.Tensor) -> torch.Tensor:
        """Scores [B, 1], computed in float32 whatever the precision around it.

        Args:
            ids_T: the tokens, sequence after sequence: first token, query, separator, passage, separator.
            lengths_B: tokens of each sequence.
        """
        with torch.autocast(states_TH.device.type, enabled=False):
            states_TH = states_TH.float()
            of_query_T, of_passage_T, sequence_T = self._parts(ids_T, lengths_B)
            query_BQH, is_query_BQ = _rows(states_TH, of_query_T, sequence_T, len(lengths_B))
            passage_BPH, is_passage_BP = _rows(states_TH, of_passage_T, sequence_T, len(lengths_B))
            sims_BQP = F.normalize(query_BQH, dim=-1) @ F.normalize(passage_BPH, dim=-1).transpose(1, 2)
            best_BQ = sims_BQP.masked_fill(~is_passage_BP.unsqueeze(1), -1.0).amax(-1)
            weights_BQ = _linear(self.weigh, query_BQH).squeeze(-1).masked_fill(~is_query_BQ, -1e9).softmax(-1)
            matched_B = (weights_BQ * best_BQ).sum(-1)
            mean_BH = torch.zeros_like(states_TH[: len(lengths_B)]).index_add(0, sequence_T, states_TH)
            mean_BH = mean_BH / lengths_B.unsqueeze(1)
            return self.scale.float() * matched_B.unsqueeze(1) + _linear(self.linear, mean_BH)

    def _parts(self, ids_T: torch.Tensor, lengths_B: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Which tokens are the query's and which the passage's (bool [T]), and the sequence of each token [T]."""
        sequence_T = torch.repeat_interleave(torch.arange(len(lengths_B), device=ids_T.device), lengths_B)
        starts_B = lengths_B.cumsum(0) - lengths_B
        ends_T = (ids_T == self.separator).long()
        so_far_T = ends_T.cumsum(0)
        before_B = so_far_T[starts_B] - ends_T[starts_B]
        seen_T = so_far_T - before_B[sequence_T]
        first_T = torch.zeros_like(ids_T, dtype=torch.bool)
        first_T[starts_B] = True
        return (seen_T == 0) & ~first_T, (seen_T > 0) & (ends_T == 0), sequence_T


def _linear(layer: nn.Linear, states: torch.Tensor) -> torch.Tensor:
    """A linear map in float32: the weights of a whole model may have been loaded in less."""
    return F.linear(states, layer.weight.float(), layer.bias.float())


def _rows(
    states_TH: torch.Tensor, wanted_T: torch.Tensor, sequence_T: torch.Tensor, num: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The wanted tokens as padded rows [B, L, H] (one empty slot where there are none), and which slots are real."""
    of_N = sequence_T[wanted_T]
    counts_B = torch.bincount(of_N, minlength=num)
    slot_N = torch.arange(len(of_N), device=of_N.device) - (counts_B.cumsum(0) - counts_B)[of_N]
    longest = max(int(counts_B.max()), 1)
    rows_BLH = states_TH.new_zeros(num, longest, states_TH.shape[1])
    rows_BLH = rows_BLH.index_put((of_N, slot_N), states_TH[wanted_T])
    return rows_BLH, torch.arange(longest, device=of_N.device) < counts_B.unsqueeze(1)


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
    import transformers

    if not hasattr(transformers, encoder):
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
