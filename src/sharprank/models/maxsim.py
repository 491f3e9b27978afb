"""A scoring head that compares tokens: every query token with the passage token most like it.

An encoder trained to be searched with (most embedding models) puts tokens of like meaning close to each other, so such
an encoder ranks before any training, and what training adds, it adds to that. Two ways of reading:

- `late`: query and passage are read apart, each as the encoder was trained to read a text, and compared afterwards,
  token by token and as wholes (the cosine of the two pooled texts). A query is read once for its passages of a batch.
- `maxsim`: both are read together, each token seeing all others, and compared token by token.

What training adds beside the encoder's own weights: a weight for every query token and linear maps of the pooled
states, all zero at first.

This module is copied into every checkpoint with such a head, as the code that transformers loads with
`trust_remote_code=True`; it therefore imports nothing of ours.

Source: ColBERT's MaxSim (Khattab and Zaharia, SIGIR 2020); over jointly encoded pairs as in CEDR (MacAvaney et al.,
SIGIR 2019); tokens and whole texts together as in BGE-M3's hybrid score (Chen et al., 2024, arXiv 2402.03216).

Shapes: T tokens of all sequences, B pairs, H hidden size, L tokens of the longest passage, Q of the longest query.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

SCALE = 20.0
"""What a similarity (-1 to 1) counts in a score: the inverse of the temperature embedding models are trained with. With
two similarities each counts half of it."""

CODE = "modeling_maxsim"
"""The name of this module beside a checkpoint."""

JOINT, LATE = "maxsim", "late"

LEVELS = {JOINT: 0.7, LATE: 0.45}
"""The similarity that scores 0 at the start, MiniLM's between queries and their candidates: of best matches that were
read together, and the mean of both similarities of texts read apart. Training begins with its own data's."""


@dataclass(frozen=True)
class Span:
    """A text's tokens: `start` to `end` among all tokens, `before` tokens in front of them and one behind.

    Those are no words of the text but were read with it: a special token on either side, and what the encoder wants
    before a text.
    """

    start: int
    end: int
    before: int = 1

    @property
    def first(self) -> int:
        """The place of the first token that was read."""
        return self.start - self.before


class MaxSimHead(nn.Module):
    """Token states to one score a pair.

    Args:
        hidden_size: H.
        text_pooling: how the whole of a text is read, "mean" or "cls" (its first token), for `late`; None for `maxsim`.
    """

    def __init__(self, hidden_size: int, text_pooling: str | None) -> None:
        super().__init__()
        self.text_pooling = text_pooling
        self.token_scale = nn.Parameter(torch.tensor([SCALE]))
        self.weigh = nn.Linear(hidden_size, 1)
        if text_pooling is None:
            self.of_pair = nn.Linear(hidden_size, 1)
        else:
            self.text_scale = nn.Parameter(torch.tensor([SCALE]))
            self.of_query = nn.Linear(hidden_size, 1)
            self.of_passage = nn.Linear(hidden_size, 1)

    @property
    def _level(self) -> nn.Linear:
        """The map whose bias moves all scores."""
        return self.of_pair if self.text_pooling is None else self.of_passage

    def reset(self) -> None:
        """The start: all query tokens count alike, and only similarities count; scores are around 0."""
        for linear in self.children():
            assert isinstance(linear, nn.Linear)
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)
        nn.init.constant_(self._level.bias, -SCALE * LEVELS[JOINT if self.text_pooling is None else LATE])
        scales = [self.token_scale] if self.text_pooling is None else [self.token_scale, self.text_scale]
        for scale in scales:
            nn.init.constant_(scale, SCALE / len(scales))

    @torch.no_grad()
    def centre(self, scores: torch.Tensor) -> None:
        """Move the start so that scores like these have mean 0: what an encoder takes for alike differs."""
        self._level.bias.sub_(scores.float().mean())

    def forward(self, states_TH: torch.Tensor, queries: list[Span], passages: list[Span]) -> torch.Tensor:
        """Scores [B, 1] of pairs, computed in float32 whatever the precision around it.

        Args:
            queries, passages: where the two texts of every pair are; pairs may share a query.
        """
        places: list[int] = []
        scores: list[torch.Tensor] = []
        with torch.autocast(states_TH.device.type, enabled=False):
            for some in _alike([span.end - span.start + 1 for span in passages]):
                places += some
                rows = ([spans[place] for place in some] for spans in (queries, passages))
                scores.append(self._scores(states_TH, *rows))
        back_B = torch.tensor(places, device=states_TH.device).argsort()
        return torch.cat(scores)[back_B]

    def _scores(self, states_TH: torch.Tensor, queries: list[Span], passages: list[Span]) -> torch.Tensor:
        """Scores [B, 1] of pairs whose texts are laid out as padded rows."""
        query_BQH, is_query_BQ = _rows(states_TH, queries)
        passage_BLH, is_passage_BL = _rows(states_TH, passages)
        sims_BQL = F.normalize(query_BQH, dim=-1) @ F.normalize(passage_BLH, dim=-1).transpose(1, 2)
        best_BQ = sims_BQL.masked_fill(~is_passage_BL.unsqueeze(1), -1.0).amax(-1)
        logits_BQ = _linear(self.weigh, query_BQH).squeeze(-1)
        weights_BQ = logits_BQ.masked_fill(~is_query_BQ, -1e9).softmax(-1) * is_query_BQ
        matched_B1 = self.token_scale.float() * (weights_BQ * best_BQ).sum(1, keepdim=True)
        if self.text_pooling is None:
            pair = [Span(q.start, p.end) for q, p in zip(queries, passages, strict=True)]
            return matched_B1 + _linear(self.of_pair, _mean(states_TH, pair))
        query_BH, passage_BH = (self._pooled(states_TH, spans) for spans in (queries, passages))
        alike_B1 = F.cosine_similarity(query_BH, passage_BH).unsqueeze(-1)
        mapped_B1 = _linear(self.of_query, query_BH) + _linear(self.of_passage, passage_BH)
        return matched_B1 + self.text_scale.float() * alike_B1 + mapped_B1

    def _pooled(self, states_TH: torch.Tensor, spans: list[Span]) -> torch.Tensor:
        """Whole texts, with all that was read with them: [B, H]."""
        if self.text_pooling == "cls":
            return states_TH[[span.first for span in spans]].float()
        return _mean(states_TH, spans)


def _mean(states_TH: torch.Tensor, spans: list[Span]) -> torch.Tensor:
    """Mean state of texts and of the tokens around them: [B, H]."""
    rows_BLH, real_BL = _rows(states_TH, [Span(span.first, span.end + 1) for span in spans])
    return (rows_BLH * real_BL.unsqueeze(-1)).sum(1) / real_BL.sum(1, keepdim=True)


def _rows(states_TH: torch.Tensor, spans: list[Span]) -> tuple[torch.Tensor, torch.Tensor]:
    """States of texts as padded rows in float32, [B, L, H], and which are real (bool [B, L]); padding is some state."""
    device = states_TH.device
    starts_B1 = torch.tensor([span.start for span in spans], device=device).unsqueeze(1)
    lengths_B1 = torch.tensor([span.end - span.start for span in spans], device=device).unsqueeze(1)
    steps_L = torch.arange(max(1, max(span.end - span.start for span in spans)), device=device)
    real_BL = steps_L < lengths_B1
    return states_TH[starts_B1 + steps_L.where(real_BL, 0)].float(), real_BL


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


def _halves(ids: list[int], separator: int) -> tuple[list[int], list[int]]:
    """A pair's ids as two sequences, each with the special tokens that stand around a text of its own.

    >>> _halves([0, 7, 8, 2, 9, 2], 2), _halves([0, 7, 2, 2, 9, 2], 2)
    (([0, 7, 8, 2], [0, 9, 2]), ([0, 7, 2], [0, 9, 2]))
    """
    if separator not in ids[:-1]:
        raise ValueError(f"token ids {ids[:8]}... are no pair: token {separator} has to end query and passage")
    border = ids.index(separator)
    rest = border + 1
    while rest < len(ids) - 1 and ids[rest] == separator:
        rest += 1
    return ids[: border + 1], [ids[0], *ids[rest:]]


class MaxSim:
    """Mixed in before an encoder class: the encoder with this head, whose `logits` are [B, 1].

    The configuration says under `sharprank` how it reads (`pooling`), which token separates query and passage, and for
    `late` how whole texts are pooled (`text_pooling`), which tokens the encoder wants before a query and a passage
    (`query_prefix`, `passage_prefix`) and how many tokens it can read then (`text_limit`). Pairs come as every
    cross-encoder takes them, in one sequence and without these.
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config)  # type: ignore[call-arg]
        if getattr(self, "pooler", None) is not None:
            self.pooler = None  # it would be weights without a gradient
        told = config.sharprank
        self.pooling, self.separator = told["pooling"], told["separator"]
        self.prefixes = (tuple(told.get("query_prefix") or ()), tuple(told.get("passage_prefix") or ()))
        self.text_limit = told.get("text_limit")
        self.score = MaxSimHead(config.hidden_size, told.get("text_pooling", "mean") if self.pooling == LATE else None)
        self.post_init()  # type: ignore[attr-defined]

    def _init_weights(self, module: Any) -> None:
        super()._init_weights(module)  # type: ignore[misc]
        if isinstance(module, MaxSimHead):
            module.reset()

    def forward(self, input_ids: Any = None, attention_mask: Any = None, packing: Any = None, **inputs: Any) -> Any:
        from transformers.modeling_outputs import SequenceClassifierOutput

        if packing is not None:
            pairs = _split(input_ids[0].tolist(), packing.lengths)
        else:
            real = torch.ones_like(input_ids) if attention_mask is None else attention_mask
            pairs = _split(input_ids[real.bool()].tolist(), real.bool().sum(1).tolist())
        if self.pooling == LATE:
            texts, queries, passages = self._apart(pairs)
            states_TH = self._read(texts, input_ids.device, packing=packing, **inputs)
        else:
            queries, passages = self._together(pairs)
            states = self._encode(input_ids=input_ids, attention_mask=attention_mask, packing=packing, **inputs)
            states_TH = states[0] if packing is not None else states[real.bool()]
        return SequenceClassifierOutput(logits=self.score(states_TH, queries, passages))

    def _together(self, pairs: list[list[int]]) -> tuple[list[Span], list[Span]]:
        """Where the two texts of each pair are."""
        queries, passages, start = [], [], 0
        for ids in pairs:
            query, passage = _halves(ids, self.separator)
            queries.append(Span(start + 1, start + len(query) - 1))
            start += len(ids)
            passages.append(Span(start - len(passage) + 1, start - 1))
        return queries, passages

    def _apart(self, pairs: list[list[int]]) -> tuple[list[list[int]], list[Span], list[Span]]:
        """The texts to read, every query once, and where the two texts of each pair will be."""
        texts: list[list[int]] = []
        ends = [0]
        read: dict[tuple[int, ...], Span] = {}

        def add(text: list[int], prefix: tuple[int, ...]) -> Span:
            text = [text[0], *prefix, *text[1:]]
            if self.text_limit is not None and len(text) > self.text_limit:
                text = [*text[: self.text_limit - 1], text[-1]]
            texts.append(text)
            ends.append(ends[-1] + len(text))
            before = 1 + len(prefix)
            return Span(ends[-2] + before, ends[-1] - 1, before)

        queries, passages = [], []
        of_query, of_passage = self.prefixes
        for ids in pairs:
            query, passage = _halves(ids, self.separator)
            key = tuple(query)
            if key not in read:
                read[key] = add(query, of_query)
            queries.append(read[key])
            passages.append(add(passage, of_passage))
        return texts, queries, passages

    def _read(
        self, texts: list[list[int]], device: Any, *, packing: Any = None, position_ids: Any = None, **inputs: Any
    ) -> torch.Tensor:
        """States [T, H] of texts, each read by itself: as one pack where pairs came as one, else as padded rows."""
        lengths = [len(text) for text in texts]
        if packing is not None:
            ids = torch.tensor([[token for text in texts for token in text]], device=device)
            steps = torch.cat([torch.arange(length) for length in lengths]).to(device)
            inputs = {"position_ids": (steps + position_ids[0, 0]).unsqueeze(0), "packing": packing.of(lengths, device)}
            return self._encode(input_ids=ids, token_type_ids=self._one_type(ids), **inputs)[0]
        states: dict[int, torch.Tensor] = {}
        for some in _alike(lengths):
            padded = self._read_padded([texts[place] for place in some], device)
            states |= dict(zip(some, padded.split([lengths[place] for place in some]), strict=True))
        return torch.cat([states[place] for place in range(len(texts))])

    def _read_padded(self, texts: list[list[int]], device: Any) -> torch.Tensor:
        """States [T, H] of texts as padded rows."""
        pad = getattr(self.config, "pad_token_id", None)  # type: ignore[attr-defined]
        longest = max(map(len, texts))
        ids = torch.tensor([text + [pad or 0] * (longest - len(text)) for text in texts], device=device)
        lengths = torch.tensor([len(text) for text in texts], device=device)
        real = torch.arange(longest, device=device) < lengths.unsqueeze(1)
        return self._encode(input_ids=ids, attention_mask=real.long(), token_type_ids=self._one_type(ids))[real]

    def _one_type(self, ids: torch.Tensor) -> torch.Tensor | None:
        """Token types of a text by itself; None where the encoder knows no types."""
        return torch.zeros_like(ids) if getattr(self.config, "type_vocab_size", 0) else None  # type: ignore[attr-defined]

    def _encode(self, **inputs: Any) -> torch.Tensor:
        told = {name: value for name, value in inputs.items() if value is not None}
        return super().forward(**{**told, "return_dict": True}).last_hidden_state  # type: ignore[misc]

    def save_pretrained(self, save_directory: Any, **kwargs: Any) -> Any:
        """As transformers does, and beside it this module, so that other libraries can load the head as well."""
        # Under their own names: older ones, which some families are saved with, are translated back for them alone.
        kwargs.setdefault("save_original_format", False)
        done = super().save_pretrained(save_directory, **kwargs)  # type: ignore[misc]
        if kwargs.get("is_main_process", True):
            write_code(Path(save_directory), model_class=type(self))
        return done


def _split(ids: list[int], lengths: Any) -> list[list[int]]:
    """Sequences of these lengths, which lie end to end."""
    found, start = [], 0
    for length in lengths:
        found.append(ids[start : start + length])
        start += length
    return found


def write_code(folder: Path, *, model_class: type) -> None:
    """Put this module into a checkpoint, for `AutoModelForSequenceClassification` with `trust_remote_code=True`.

    Args:
        model_class: has name and module of the encoder's class; only transformers' own ones can be named in the code.
    """
    if not can_carry_code(model_class):
        return
    encoder = model_class.__name__
    code = Path(__file__).read_text(encoding="utf-8").rstrip("\n")
    code += (
        f"\n\n\nfrom transformers import {encoder}  # noqa: E402\n\n\nclass Reranker(MaxSim, {encoder}):\n    pass\n"
    )
    (folder / f"{CODE}.py").write_text(code, encoding="utf-8")
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    # Foreign code that an older configuration names was not used for this encoder, and would not fit its weights.
    config["auto_map"] = {"AutoModelForSequenceClassification": f"{CODE}.Reranker"}
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def can_carry_code(model_class: type) -> bool:
    """Whether `write_code` can name the encoder that such a class is made of; foreign code may use the same names."""
    import transformers

    return model_class.__module__.startswith("transformers.") and hasattr(transformers, model_class.__name__)


def forget_code(config: Any) -> None:
    """Take what names this module out of a configuration whose model gets another head."""
    auto_map = getattr(config, "auto_map", None) or {}
    kept = {name: code for name, code in auto_map.items() if not str(code).startswith(f"{CODE}.")}
    if len(kept) < len(auto_map):
        config.auto_map = kept
