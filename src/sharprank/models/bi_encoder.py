"""A bi-encoder: texts in, one normalised vector each out, as the model's own configuration wants it.

Which texts share a forward pass is decided by their order and lengths alone, by no setting, so the same list of
texts gives the same vectors, bit for bit, on the same machine. Knows nothing of files and of search.

Shapes: N texts, D dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import torch

from sharprank.errors import UserError
from sharprank.models.devices import choose_device, choose_dtype
from sharprank.models.encode import pooled_states
from sharprank.models.encoder_config import EncoderConfig, read_encoder_config
from sharprank.models.loading import hash_weights, load_config, load_tokenizer, load_weights
from sharprank.models.minilm import resolve_model
from sharprank.models.onednn import laid_out, use_onednn
from sharprank.models.packing import enable_packing, usable_positions
from sharprank.models.text_windows import text_windows
from sharprank.models.windows import WindowRule
from sharprank.progress import Bar, continued, say

DEFAULT_MAX_LENGTH = 512
"""Tokens of a text at most, unless asked otherwise; less where the model's own limit is lower."""

DEFAULT_TOKENIZE_BATCH = 2048
"""Texts tokenised at a time."""

_CPU_TOKENS = 2048
_CUDA_TOKENS = 65_536
_WINDOW_TOKENS = 1_048_576

Kind = Literal["query", "passage"]


class BiEncoder:
    """An encoder, its tokenizer, and its conventions; `load` makes one.

    Args:
        model: a transformers encoder without a head.
        config: pooling and instructions.
        max_lengths: tokens of a query and of a passage at most, special tokens included.
        normalize: vectors have length 1, so that inner products are cosines.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        config: EncoderConfig,
        *,
        max_lengths: tuple[int, int],
        device: torch.device,
        dtype: torch.dtype,
        normalize: bool = True,
        name: str = "",
    ) -> None:
        self.model = model.to(device=device, dtype=dtype).eval()
        use_onednn(self.model)
        self.tokenizer = tokenizer
        self.config = config
        self.max_lengths: dict[str, int] = {"query": max_lengths[0], "passage": max_lengths[1]}
        self.normalize = normalize
        self.name = name
        self.device, self.dtype = device, dtype
        self.packed = enable_packing(self.model, first_tokens_only=config.pooling == "cls")

    @classmethod
    def load(
        cls,
        path: str,
        *,
        pooling: str | None = None,
        query_instruction: str | None = None,
        query_instruction_format: str | None = None,
        passage_instruction: str | None = None,
        query_max_length: int | None = None,
        passage_max_length: int | None = None,
        normalize: bool = True,
        dtype: str | torch.dtype | None = None,
        device: str | torch.device | None = None,
        trust_remote_code: bool = False,
        cache_dir: str | None = None,
    ) -> BiEncoder:
        """Load an embedding model from a folder, a hub id or `minilm`; None leaves a choice to the model.

        Raises:
            UserError: no such model or device, no tokenizer, unknown pooling, a length beyond its positions.
        """
        folder = resolve_model(path)
        config = read_encoder_config(
            folder,
            name=path,
            pooling=pooling,
            query_instruction=query_instruction,
            query_format=query_instruction_format,
            passage_instruction=passage_instruction,
            cache_dir=cache_dir,
        )
        hub = {"trust_remote_code": trust_remote_code, "cache_dir": cache_dir}
        model_config, tokenizer = load_config(folder, **hub), load_tokenizer(folder, **hub)
        lengths = tuple(
            _length(asked, config, model_config, tokenizer, flag=flag)
            for asked, flag in (
                (query_max_length, "--embedder_query_max_length"),
                (passage_max_length, "--embedder_passage_max_length"),
            )
        )
        chosen = choose_device(device)
        return cls(
            _load_model(folder, **hub),
            tokenizer,
            config,
            max_lengths=(lengths[0], lengths[1]),
            device=chosen,
            dtype=choose_dtype(dtype, chosen),
            normalize=normalize,
            name=path,
        )

    def encode(
        self,
        texts: Sequence[str],
        *,
        kind: Kind,
        progress: str | Bar[Any] | None = None,
        tokenize_batch: int = DEFAULT_TOKENIZE_BATCH,
    ) -> np.ndarray:
        """Vectors float32 [N, D], in the order of `texts`.

        Args:
            kind: whether the query's or the passage's instruction and length apply.
            progress: words for a progress bar, or a bar to advance; no bar without them.
            tokenize_batch: texts tokenised at a time; changes speed and memory, never the vectors.

        Raises:
            UserError: the model gave a vector that is not finite, or zero.
        """
        vectors_ND = np.empty((len(texts), self.size), np.float32)
        with continued(progress, total=len(texts), unit="text") as bar, laid_out(self.model):
            for start, sequences in self._windows(texts, kind, tokenize_batch):
                for indices, states in pooled_states(
                    self.model, sequences, pooling=self._pooling(), budget=self._budget()
                ):
                    vectors_ND[[start + i for i in indices]] = self._finish(states)
                    bar.update(len(indices))
        self._check_finite(vectors_ND, texts)
        return vectors_ND

    @property
    def size(self) -> int:
        """Dimensions of a vector."""
        return int(self.model.config.hidden_size)

    def windows(self, texts: Sequence[str], rule: WindowRule) -> list[list[str]]:
        """Passages cut into overlapping pieces that the model reads whole; one that fits stays as it is.

        Raises:
            UserError: the tokenizer cannot tell where its tokens stand.
        """
        taken = len(self.tokenizer(self.config.text("", kind="passage"), verbose=False)["input_ids"])
        return text_windows(self.tokenizer, texts, room=max(1, self.max_lengths["passage"] - taken), rule=rule)

    def settings(self) -> dict[str, Any]:
        """Everything, the weights apart, that decides what vector a text gets."""
        return {
            "model": self.name,
            "pooling": self.config.pooling,
            "pooling_from": self.config.source,
            "query_instruction": self.config.query_instruction,
            "query_instruction_format": self.config.query_format,
            "passage_instruction": self.config.passage_instruction,
            "query_max_length": self.max_lengths["query"],
            "passage_max_length": self.max_lengths["passage"],
            "lower_case": self.config.lower_case,
            "normalize": self.normalize,
            "dtype": str(self.dtype).removeprefix("torch."),
            "device": self.device.type,
        }

    def weights_sha256(self) -> str:
        """The hash of all weights as loaded: what tells one model's vectors from another's."""
        return hash_weights(self.model)

    def _windows(self, texts: Sequence[str], kind: Kind, tokenize_batch: int) -> Iterator[tuple[int, list[np.ndarray]]]:
        """Token ids of the texts, cut where about a million tokens are together: (index of the first, sequences)."""
        first, held, sequences = 0, 0, []
        for start in range(0, len(texts), tokenize_batch):
            for ids in self._token_ids(texts[start : start + tokenize_batch], kind):
                if sequences and held + len(ids) > _WINDOW_TOKENS:
                    yield first, sequences
                    first, held, sequences = first + len(sequences), 0, []
                sequences.append(ids)
                held += len(ids)
        if sequences:
            yield first, sequences

    def _token_ids(self, texts: Sequence[str], kind: Kind) -> list[np.ndarray]:
        rows = self.tokenizer(
            [self.config.text(text, kind=kind) for text in texts],
            truncation=True,
            max_length=self.max_lengths[kind],
            padding=False,
            return_attention_mask=False,
            return_token_type_ids=False,
        )["input_ids"]
        return [np.asarray(ids, dtype=np.int32) for ids in rows]

    def _finish(self, states: torch.Tensor) -> np.ndarray:
        states = states.float()
        return (torch.nn.functional.normalize(states, dim=-1) if self.normalize else states).cpu().numpy()

    def _check_finite(self, vectors_ND: np.ndarray, texts: Sequence[str]) -> None:
        good_N = np.isfinite(vectors_ND).all(axis=1) & (vectors_ND != 0).any(axis=1)
        if not good_N.all():
            text = " ".join(texts[int(np.argmin(good_N))].split())
            raise UserError(
                f"model {self.name} gives no usable vector (NaN, infinite or zero) for {int((~good_N).sum())} texts, "
                f"the first: {text[:80]!r}",
                fix="use --dtype float32; if that does not help, the model's weights are broken",
            )

    def _pooling(self) -> Any:
        return self.config.pooling

    def _budget(self) -> int:
        """Tokens of a forward pass: fixed for a kind of device and a size of model, never by what memory is free."""
        if self.device.type != "cuda":
            return _CPU_TOKENS
        config = self.model.config
        scale = 12 * 768 / max(1, getattr(config, "num_hidden_layers", 12) * config.hidden_size)
        return int(min(2 * _CUDA_TOKENS, max(4096, _CUDA_TOKENS * scale)))


def _load_model(path: str, *, trust_remote_code: bool, cache_dir: str | None) -> Any:
    from transformers import AutoModel

    return load_weights(AutoModel, path, trust_remote_code=trust_remote_code, cache_dir=cache_dir)


def _length(asked: int | None, config: EncoderConfig, model_config: Any, tokenizer: Any, *, flag: str) -> int:
    """The length to use (tokens): as asked, or the model's own limit up to DEFAULT_MAX_LENGTH.

    Raises:
        UserError: longer than the model has positions for, or too short for any text.
    """
    positions = usable_positions(model_config)
    if asked is None:
        own = [DEFAULT_MAX_LENGTH, positions, config.max_length, getattr(tokenizer, "model_max_length", None)]
        return min(int(limit) for limit in own if limit is not None)
    if positions is not None and asked > positions:
        raise UserError(
            f"{flag} {asked} is more than the {positions} positions of this model",
            fix=f"use {flag} {positions} or less",
        )
    if asked < 3:
        raise UserError(f"{flag} {asked} leaves no room for a text", fix=f"use {flag} 16 or more")
    if config.max_length is not None and asked > config.max_length:
        say(f"note: {flag} {asked} is more than the {config.max_length} tokens the model was made for")
    return asked
