"""`CrossEncoder` as RAG-Retrieval has it: raw scores as tensors, by the names of its arguments."""

from __future__ import annotations

from typing import Any

import torch

from sharprank.api.ranking import AutoModelForRanking
from sharprank.errors import UserError

LOSS_TYPES = {"classfication": "classification", "classification": "classification", "regression": "regression"}


class CrossEncoder(AutoModelForRanking):
    """A reranker whose scores are raw, one tensor a pair; `torch.sigmoid` makes a probability of one."""

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        model_name_or_path: str,
        loss_type: str = "classfication",
        num_labels: int = 1,
        cuda_device: Any = "cpu",
        **kwargs: Any,
    ) -> CrossEncoder:
        """Load a reranker, or an encoder that gets a new head.

        Args:
            loss_type: "classfication" (so spelt; "classification" too) or "regression": the loss that `forward` gives.
            cuda_device: where it goes, "cpu" by default.
            kwargs: as for `AutoModelForRanking.from_pretrained`.

        Raises:
            UserError: see `AutoModelForRanking.from_pretrained`.
        """
        if loss_type not in LOSS_TYPES:
            raise UserError(f"loss_type {loss_type!r} is unknown", fix="use classfication or regression")
        options = {"num_labels": num_labels, "loss_type": LOSS_TYPES[loss_type], "device": cuda_device, **kwargs}
        return super().from_pretrained(model_name_or_path, **options)

    def compute_score(  # type: ignore[override]
        self, sentences_pairs: Any, batch_size: int = 256, max_len: int = 512
    ) -> list[torch.Tensor]:
        """Raw scores, one float32 CPU tensor [1] a pair; one flat pair of strings gives a list of one.

        Args:
            batch_size: pairs of a forward pass at most.
            max_len: tokens of a pair; longer passages are cut.
        """
        scores = super().compute_score(sentences_pairs, batch_size, max_len)
        return [torch.tensor([score]) for score in (scores if isinstance(scores, list) else [scores])]
