"""What `sharprank synthesize` can be told, and what of it cannot work.

Flags keep the names of reference system 004 where it had them. Loads nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from sharprank.errors import UserError, check_seed
from sharprank.progress import say
from sharprank.retrieval.diverse import Weights

_KEYS_OF_004 = (
    "retrieval_method", "method2index", "method2corpus", "model2path", "model2pooling", "faiss_gpu", "gpu_id",
    "retrieval_batch_size", "retrieval_use_fp16", "retrieval_query_max_length", "retrieval_topk", "instruction",
    "generation_params", "generator_batch_size", "google_setting", "anthropic_setting", "deepseek_setting",
    "query_max_length", "passage_max_length", "reranker_batch_size", "reranker_normalize", "reranker_devices",
)  # fmt: skip
"""What reference system 004's configuration files hold and we do not need: docs/coming_from.md says what to use."""
_ENDPOINT_OF_004 = "openai_setting"

KINDS = ("title", "heading", "sentence", "phrases")
ATTEMPTS_PER_EXAMPLE = 10

_CHANGE_NO_ROW = {
    "corpus_path", "doc_ids_file", "output_file", "output_pool", "summary_file", "overwrite", "device",
    "embedding_cache", "num_examples", "max_attempts",
}  # fmt: skip
_EXTRACTIVE_ONLY = {"query_kinds", "max_source_rank"}


def _flag(help_text: str, default: Any = None, *, aliases: list[str] | None = None, **more: Any) -> Any:
    metadata = {"help": help_text} | ({"aliases": aliases} if aliases else {})
    return field(default=default, metadata=metadata, **more)


@dataclass(kw_only=True)
class SynthesizeConfig:
    """The flags of `sharprank synthesize`."""

    corpus_path: str = field(
        metadata={
            "help": "documents {id, title?, text or contents}: a file, a folder, a dataset",
            "aliases": ["--corpus"],
        }
    )
    output_file: str = field(
        metadata={"help": "the rows {query, pos, neg}, written one by one; the same command again continues"}
    )
    generator: Literal["extractive", "llm"] = _flag(
        "extractive: queries from the documents' own words, offline; llm: an OpenAI-compatible endpoint", "extractive"
    )
    num_examples: int = _flag("rows to make", 100)
    max_attempts: int | None = _flag("documents to try at most; by default 10 for every row")
    max_doc_candidates: int = _flag("passages retrieved for a query: the judge's, or the negatives", 10)
    doc_ids_file: str | None = _flag("ids of the documents to begin with, one a line; drawn at random after them")
    min_length: int = _flag("documents that are drawn have this many characters at least", 300)
    lambda1: float = _flag("how much relevance counts in diverse retrieval", 0.7)
    lambda2: float = _flag("how much likeness to the source document counts against a passage", 0.1)
    lambda3: float = _flag("how much likeness to passages taken before counts against it", 0.2)
    retriever: str = _flag("bm25, or a bi-encoder: minilm, a folder or a hub id", "bm25")
    seed: int = _flag("another seed, other documents", 42)

    output_pool: str | None = _flag("extractive: also write the passages that mining is to search, as {_id, text}")
    query_kinds: list[str] = field(
        default_factory=lambda: list(KINDS),
        metadata={
            "help": "extractive: where queries come from; one is taken from each document in turn, phrases "
            "where nothing else is left"
        },
    )
    max_source_rank: int = _flag("extractive: a query that does not find its document in so many ranks is no query", 20)

    summary_file: str | None = _flag("counts, rates and settings; by default OUTPUT.summary.json", aliases=["--output"])
    device: str | None = _flag("where a bi-encoder runs: cpu, cuda, cuda:N or mps; by default the best there is")
    embedding_cache: str | None = _flag("folder for a bi-encoder's finished embeddings")
    overwrite: bool = _flag("throw the rows made so far away; paid replies are kept", False)

    @property
    def weights(self) -> Weights:
        """Those of diverse retrieval."""
        return Weights(self.lambda1, self.lambda2, self.lambda3)

    @property
    def summary_path(self) -> Path:
        """Where the counts go."""
        return Path(self.summary_file or f"{self.output_file}.summary.json")

    @property
    def attempts(self) -> int:
        """How many documents are tried at most."""
        return self.max_attempts or ATTEMPTS_PER_EXAMPLE * self.num_examples

    def check(self) -> None:
        """Refuse what cannot work, before anything is read or asked.

        Raises:
            UserError: naming the flag and the way out.
        """
        _ = self.weights
        check_seed(self.seed)
        for name in ("num_examples", "max_attempts", "max_doc_candidates", "max_source_rank"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"--{name} {value} is less than 1", fix=f"use --{name} 1 or more")
        if self.min_length < 0:
            raise UserError(f"--min_length {self.min_length} is below 0", fix="use --min_length 0 or more")
        unknown = [kind for kind in self.query_kinds if kind not in KINDS]
        if unknown or not self.query_kinds:
            raise UserError(f"--query_kinds {' '.join(unknown) or '(none)'}", fix=f"use some of: {' '.join(KINDS)}")
        if self.output_file.lower().endswith(".gz"):
            raise UserError(f"--output_file {self.output_file} is written row by row", fix="leave .gz out")

    def settings(self) -> dict[str, Any]:
        """All that decides the rows, the endpoint, the contents of files and the number of rows apart."""
        left_out = _CHANGE_NO_ROW | (_EXTRACTIVE_ONLY if self.generator == "llm" else set())
        return {name: value for name, value in asdict(self).items() if name not in left_out}


def flags_of_004(data: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """A configuration file's flags: those of reference system 004 without what we do not need, which is said."""
    passed_over = [key for key in data if key in _KEYS_OF_004]
    if passed_over:
        say(f"note: {path}: {', '.join(passed_over)} mean nothing here and are passed over")
    endpoint = data.get(_ENDPOINT_OF_004)
    if endpoint is not None and not isinstance(endpoint, Mapping):
        raise UserError(f"{path}: {_ENDPOINT_OF_004} is no mapping", fix="write api_key and base_url below it")
    flags = {key: value for key, value in data.items() if key not in (*_KEYS_OF_004, _ENDPOINT_OF_004)}
    return {**flags, **(endpoint or {})}
