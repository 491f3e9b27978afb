"""Which model a training run starts from, how it is used, and what of it is trained."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from sharprank.errors import UserError
from sharprank.models.checkpoint import Checkpoint, open_reranker
from sharprank.models.kinds import PLAIN, Asked
from sharprank.models.lora import Lora, check_installed
from sharprank.models.maxsim import JOINT, LATE
from sharprank.models.prompts import PROMPTS
from sharprank.models.scored import HEADS


@dataclass(kw_only=True)
class ModelOptions:
    """Which model to start from."""

    model_name_or_path: str = field(
        metadata={
            "aliases": ["-m"],
            "help": "folder, hub id, or 'minilm': a reranker, or an encoder that gets a new head",
        }
    )
    config_name: str | None = field(default=None, metadata={"help": "configuration, if not the model's own"})
    tokenizer_name: str | None = field(default=None, metadata={"help": "tokenizer, if not the model's own"})
    cache_dir: str | None = field(default=None, metadata={"help": "where models from the hub are kept"})
    trust_remote_code: bool = field(default=False, metadata={"help": "run code that comes with the model"})
    dropout: float | None = field(
        default=None,
        metadata={"help": "dropout while training; by default 0 for a new head and few passes, else the model's own"},
    )
    pooling: str | None = field(
        default=None,
        metadata={
            "help": f"the head of an encoder: one of ours ({', '.join(HEADS)}), or '{PLAIN}', its family's own, which "
            f"every library loads; one that comes without a head gets {LATE} by default "
            f"if it is an embedding model, else {JOINT}"
        },
    )
    prompt: str | None = field(
        default=None,
        metadata={"help": f"how a language model is asked: {', '.join(PROMPTS)}, or a JSON file (default: as stored)"},
    )
    instruction: str | None = field(default=None, metadata={"help": "what is to be judged, in the prompt's words"})
    use_lora: bool = field(default=False, metadata={"help": "train an adapter (and the head) instead of all weights"})
    lora_rank: int = field(default=64, metadata={"help": "rank of the adapter's matrices"})
    lora_alpha: float = field(default=16, metadata={"help": "the adapter is scaled by lora_alpha / lora_rank"})
    lora_dropout: float = field(default=0.1, metadata={"help": "dropout before the adapter's matrices"})
    target_modules: list[str] | None = field(
        default=None, metadata={"help": "linear layers that get an adapter, by name (default: all)"}
    )
    save_merged_lora_model: bool = field(
        default=True, metadata={"help": "leave a whole model (and the adapter in adapter/); False: the adapter alone"}
    )

    def check(self) -> None:
        """Refuse what cannot work."""
        self.asked().check()
        if self.lora_rank < 1 or not 0 <= self.lora_dropout < 1 or self.lora_alpha <= 0:
            raise UserError(
                f"--lora_rank {self.lora_rank} --lora_alpha {self.lora_alpha} --lora_dropout {self.lora_dropout} "
                "make no adapter",
                fix="use a rank of 1 or more, an alpha above 0, a dropout from 0 to below 1",
            )
        if self.use_lora:
            check_installed()
        elif self.target_modules:
            raise UserError("--target_modules belongs to an adapter", fix="add --use_lora True")
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise UserError(f"--dropout {self.dropout} is no share", fix="use a number from 0 to below 1")

    def asked(self) -> Asked:
        """What is asked of the model's use."""
        return Asked(pooling=self.pooling, prompt=self.prompt, instruction=self.instruction)

    def open(self) -> Checkpoint:
        """The model as it stands, without its weights.

        Raises:
            UserError: see `open_reranker`.
        """
        return open_reranker(
            self.model_name_or_path,
            asked=self.asked(),
            trust_remote_code=self.trust_remote_code,
            cache_dir=self.cache_dir,
            config_name=self.config_name,
            tokenizer_name=self.tokenizer_name,
        )

    @property
    def leaves_adapter(self) -> bool:
        """Whether the result is an adapter alone."""
        return self.use_lora and not self.save_merged_lora_model

    def lora(self) -> Lora | None:
        """The adapter asked for."""
        if not self.use_lora:
            return None
        targets = tuple(self.target_modules) if self.target_modules else None
        return Lora(rank=self.lora_rank, alpha=self.lora_alpha, dropout=self.lora_dropout, targets=targets)

    def settings(self, opened: Checkpoint) -> dict[str, Any]:
        """The settings that decide a training's result; what is not used is None.

        Args:
            opened: knows the prompt itself and not the name of its file, and the weights that training starts from.
        """
        lora, recipe = self.lora(), opened.recipe
        return {
            "model_name_or_path": self.model_name_or_path,
            "config_name": self.config_name,
            "tokenizer_name": self.tokenizer_name,
            "weights": opened.fingerprint(),
            "dropout": self.dropout,
            "pooling": recipe.pooling,
            "prompt": None if recipe.prompt is None else recipe.prompt.to_dict(),
            "lora": None if lora is None else asdict(lora),
        }
