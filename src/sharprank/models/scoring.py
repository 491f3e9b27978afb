"""Pairs in, raw scores out, in input order: packs under a token budget, each distinct text tokenised once.

Knows nothing of files and of measures. A score does not depend on which other pairs are scored with it
(beyond float rounding, about 1e-6).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from sharprank.errors import UserError
from sharprank.models.batches import TokenBatch, model_inputs, plan_batches
from sharprank.models.checkpoint import Checkpoint, open_reranker
from sharprank.models.devices import choose_device, choose_dtype, token_budget
from sharprank.models.kinds import Asked
from sharprank.models.onednn import laid_out, use_onednn
from sharprank.models.packing import ATTENTION_NAME, uses_token_types
from sharprank.models.pair_text import PairTokenizer
from sharprank.models.windows import WindowRule, pair_windows
from sharprank.progress import progress_bar
from sharprank.records import Run

TokenPair = tuple[np.ndarray, np.ndarray]

_PAIRS_AT_ONCE = 20_000
"""Pairs tokenised together: enough to meet every passage once for most query sets, few enough for memory."""


def plan_of(config: Any, sequences: Sequence[TokenPair], *, budget: int) -> list[list[int]]:
    """Which sequences share a forward pass, for a model of this configuration."""
    lengths = np.asarray([len(ids) for ids, _ in sequences])
    return list(plan_batches(lengths, budget=budget, packed=config._attn_implementation == ATTENTION_NAME))


def score_batch(model: Any, sequences: Sequence[TokenPair], *, config: Any, device: torch.device) -> np.ndarray:
    """Raw scores float32 [B] of token pairs in one forward pass; the caller switches gradients off.

    Args:
        model: its `logits` are [B, 1]; in evaluation mode.
        config: the model's, which an engine around it may hide.
    """
    inputs = model_inputs(TokenBatch.of(sequences), config, device=device, token_types=uses_token_types(config))
    return model(**inputs).logits[:, 0].float().cpu().numpy()


class PairScorer:
    """A cross-encoder ready to score pairs.

    Args:
        model: a transformers sequence classifier with one label.
        pair_tokenizer: turns pairs into token ids.
        device: where the model runs; it is moved there.
        dtype: precision of the forward pass; the scores are float32 whatever it is.
    """

    def __init__(
        self, model: Any, pair_tokenizer: PairTokenizer, *, device: torch.device, dtype: torch.dtype = torch.float32
    ) -> None:
        self.model = model.to(device=device, dtype=dtype).eval()
        use_onednn(self.model)
        self.pair_tokenizer = pair_tokenizer
        self.device = device
        self.budget = token_budget(
            device,
            num_layers=getattr(model.config, "num_hidden_layers", 12),
            hidden_size=getattr(model.config, "hidden_size", 768),
        )

    @classmethod
    def load(
        cls,
        path: str,
        *,
        max_length: int | None = None,
        dtype: str | torch.dtype | None = None,
        device: str | torch.device | None = None,
        trust_remote_code: bool = False,
        seed: int = 0,
        asked: Asked | None = None,
    ) -> PairScorer:
        """Load a reranker from a folder (an adapter's too), a hub id or `minilm` (whose head is then untrained).

        Raises:
            UserError: see `open_reranker` and `Checkpoint`.
        """
        checkpoint = open_reranker(path, asked=asked, trust_remote_code=trust_remote_code)
        return cls.of(checkpoint, max_length=max_length, dtype=dtype, device=device, seed=seed)

    @classmethod
    def of(
        cls,
        checkpoint: Checkpoint,
        *,
        max_length: int | None = None,
        dtype: str | torch.dtype | None = None,
        device: str | torch.device | None = None,
        seed: int = 0,
        flag: str = "max_length",
    ) -> PairScorer:
        """Load the weights of a reranker that was opened.

        Raises:
            UserError: see `Checkpoint`.
        """
        chosen = choose_device(device)
        pair_tokenizer = checkpoint.pair_tokenizer(max_length, flag=flag)
        return cls(checkpoint.load(seed=seed), pair_tokenizer, device=chosen, dtype=choose_dtype(dtype, chosen))

    def score(
        self, pairs: Sequence[tuple[str, str]], *, windows: WindowRule | None = None, progress: str | None = None
    ) -> np.ndarray:
        """Raw scores (logits) of (query, passage) pairs, float32 [P], in input order.

        Args:
            windows: read long passages whole, in overlapping windows, and take the best; without it they are cut.
            progress: a word for the progress bar; no bar without it.

        Raises:
            UserError: the model gave a score that is not a number.
        """
        scores = np.full(len(pairs), -np.inf, dtype=np.float32)
        with progress_bar(total=len(pairs), desc=progress, unit="pair") as bar, laid_out(self.model):
            for start in range(0, len(pairs), _PAIRS_AT_ONCE):
                chunk = pairs[start : start + _PAIRS_AT_ONCE]
                sequences, owners = self._sequences(chunk, windows)
                for indices, values in self._batches(sequences):
                    with np.errstate(invalid="ignore"):  # nan is reported below, with its pair
                        np.maximum.at(scores, start + owners[indices], values)
                    bar.update(len(indices) if windows is None else 0)
                bar.update(0 if windows is None else len(chunk))
        self._refuse_nan(scores, pairs)
        return scores

    def _sequences(
        self, pairs: Sequence[tuple[str, str]], windows: WindowRule | None
    ) -> tuple[list[TokenPair], np.ndarray]:
        """Token sequences, and the pair that each belongs to."""
        if windows is not None:
            return pair_windows(self.pair_tokenizer, pairs, windows)
        return self.pair_tokenizer.encode(pairs), np.arange(len(pairs))

    def _batches(self, sequences: Sequence[TokenPair]) -> Iterator[tuple[list[int], np.ndarray]]:
        config = self.model.config
        for indices in plan_of(config, sequences, budget=self.budget):
            with torch.inference_mode():
                scores = score_batch(self.model, [sequences[i] for i in indices], config=config, device=self.device)
            yield indices, scores

    def _refuse_nan(self, scores: np.ndarray, pairs: Sequence[tuple[str, str]]) -> None:
        bad = np.flatnonzero(~np.isfinite(scores))
        if len(bad):
            query, passage = pairs[int(bad[0])]
            raise UserError(
                f"the model scores {len(bad)} of {len(pairs)} pairs as not a number, first: "
                f"{query[:60]!r}, {passage[:60]!r}",
                fix="try --dtype float32; if that does not help, the checkpoint itself is broken: train again",
            )

    def score_many(
        self,
        queries: Mapping[str, str],
        passages: Mapping[str, str],
        candidates: Mapping[str, Sequence[str]],
        *,
        progress: str | None = None,
    ) -> Run:
        """Score every candidate of every query: {query_id: {passage_id: raw score}}."""
        keys = [(query_id, passage_id) for query_id, ids in candidates.items() for passage_id in ids]
        scores = self.score([(queries[q], passages[p]) for q, p in keys], progress=progress)
        run: Run = {query_id: {} for query_id in candidates}
        for (query_id, passage_id), score in zip(keys, scores.tolist(), strict=True):
            run[query_id][passage_id] = score
        return run
