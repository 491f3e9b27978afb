"""FlagEmbedding's rerankers of language models as teachers, with their own prompts and instructions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from sharprank.models.checkpoint import DEFAULT_MAX_LENGTH
from sharprank.models.devices import choose_device, choose_dtype
from sharprank.training.teach_config import TeachConfig


class FlagTeacher:
    """FlagLLMReranker behind the interface of a teacher."""

    def __init__(self, config: TeachConfig) -> None:
        from FlagEmbedding import FlagLLMReranker

        device = choose_device(config.device)
        dtype = choose_dtype(config.dtype, device)
        self.reranker = FlagLLMReranker(
            config.model_name_or_path,
            use_bf16=dtype == torch.bfloat16,
            use_fp16=dtype == torch.float16,
            devices=str(device),
            batch_size=config.batch_size,
            max_length=config.max_length or DEFAULT_MAX_LENGTH,
            trust_remote_code=config.trust_remote_code,
        )

    def score(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        """Raw scores, float32 [P], in input order."""
        scores = self.reranker.compute_score(list(pairs))
        return np.asarray(scores, dtype=np.float32).reshape(len(pairs))
