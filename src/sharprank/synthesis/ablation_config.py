"""What `sharprank ablate` can be told, and what of it cannot work.

Flags keep the names of reference system 004's ablation where it had them. Loads nothing.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from sharprank.errors import UserError, check_seed
from sharprank.retrieval.diverse import Weights

TYPES = {
    "standard": "nearest passages",
    "diverse": "diverse retrieval",
    "standard_zs": "nearest passages, zero-shot reranker",
    "diverse_zs": "diverse retrieval, zero-shot reranker",
    "diverse_ft": "diverse retrieval, fine-tuned reranker",
}
_CHANGE_NO_RESULT = {"corpus_path", "doc_ids", "output_file", "overwrite", "device", "embedding_cache"}


def _flag(help_text: str, default: Any = None, *, aliases: list[str] | None = None) -> Any:
    metadata = {"help": help_text} | ({"aliases": aliases} if aliases else {})
    return field(default=default, metadata=metadata)


@dataclass(kw_only=True)
class AblateConfig:
    """The flags of `sharprank ablate`."""

    corpus_path: str = field(
        metadata={"help": "a collection folder; with --judge llm any documents with ids", "aliases": ["--corpus"]}
    )
    output_file: str = field(metadata={"help": "the result as JSON; a picture of it stands beside it as .svg"})
    judge: Literal["qrels", "llm"] = _flag(
        "who says that a passage is a success: the collection's judgements, or a language model", "qrels"
    )
    split: str | None = _flag("qrels: whose judgements, by default test")
    num: int = _flag(
        "attempts: queries (qrels) or documents (llm), the same for all types", 50, aliases=["--num_examples"]
    )
    candidates: int = _flag("passages retrieved for an attempt", 10, aliases=["--max_doc_candidates"])
    single: Literal["standard", "diverse", "standard_zs", "diverse_zs", "diverse_ft"] | None = _flag(
        "only this type of retrieval; by default every one whose models are named"
    )
    zero_shot_model: str | None = _flag("the reranker of standard_zs and diverse_zs: a folder, a hub id, or minilm")
    fine_tuned_model: str | None = _flag("the reranker of diverse_ft")
    max_length: int | None = _flag("tokens of a pair; by default as trained, else 512 or the model's limit")
    retriever: str = _flag("bm25, or a bi-encoder: minilm, a folder or a hub id", "bm25")
    lambda1: float = _flag("how much relevance counts in diverse retrieval", 0.87)
    lambda2: float = _flag("how much likeness to the source document counts against a passage", 0.03)
    lambda3: float = _flag("how much likeness to passages taken before counts against it", 0.1)
    doc_ids: str | None = _flag("llm: ids of the documents to begin with, one a line", aliases=["--doc_ids_file"])
    min_length: int = _flag("llm: documents that are drawn have this many characters at least", 300)
    seed: int = _flag("another seed, other queries or documents", 42)
    device: str | None = _flag("cpu, cuda, cuda:N or mps; by default the best there is")
    embedding_cache: str | None = _flag("folder for a bi-encoder's finished embeddings")
    overwrite: bool = _flag("measure again even if the output exists; paid replies are kept", False)

    @property
    def weights(self) -> Weights:
        """Those of diverse retrieval."""
        return Weights(self.lambda1, self.lambda2, self.lambda3)

    @property
    def models(self) -> dict[str, str]:
        """{type: its reranker} of the types to measure; empty where there is none."""
        asked = [self.single] if self.single else list(TYPES)
        named = {"zs": self.zero_shot_model, "ft": self.fine_tuned_model}
        models = {name: named[name[-2:]] if name[-3] == "_" else "" for name in asked}
        return {name: model for name, model in models.items() if model is not None}

    def check(self) -> None:
        """Refuse what cannot work, before anything is read or asked.

        Raises:
            UserError: naming the flag and the way out.
        """
        _ = self.weights
        check_seed(self.seed)
        for name in ("num", "candidates"):
            if getattr(self, name) < 1:
                raise UserError(f"--{name} {getattr(self, name)} is less than 1", fix=f"use --{name} 1 or more")
        if not self.models:
            flag = "--fine_tuned_model" if self.single == "diverse_ft" else "--zero_shot_model"
            raise UserError(f"--single {self.single} needs a reranker", fix=f"name it with {flag}")
        if self.judge == "qrels" and self.doc_ids:
            raise UserError("--doc_ids names documents, but --judge qrels begins with queries", fix="use --judge llm")

    def settings(self) -> dict[str, Any]:
        """All that decides the result, the endpoint and the contents of files apart."""
        return {name: value for name, value in asdict(self).items() if name not in _CHANGE_NO_RESULT}
