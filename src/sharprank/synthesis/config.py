"""What `sharprank synthesize` can be told, and what of it cannot work.

Flags keep the names of reference system 004 where it had them. Loads nothing.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from sharprank.errors import UserError
from sharprank.retrieval.diverse import Weights

KINDS = ("title", "heading", "sentence", "phrases")
ATTEMPTS_PER_EXAMPLE = 10
KEY_VARIABLE, URL_VARIABLE, MODEL_VARIABLE = "OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL"

_EXTENDS = {"num_examples", "max_attempts"}
_CHANGE_NO_ROW = {
    "output_file", "output_pool", "summary_file", "cache_file", "overwrite", "concurrency", "api_key", "timeout",
    "max_retries", "retry_seconds", "price_input", "price_output", "device", "embedding_cache",
}  # fmt: skip
_LLM_ONLY = {
    "base_url", "entity_extractor_model", "question_generator_model", "temperature", "max_tokens", "max_tries",
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
        metadata={"help": "extractive: where queries come from; one is taken from each document in turn"},
    )
    max_source_rank: int = _flag("extractive: a query that does not find its document in so many ranks is no query", 20)

    base_url: str | None = _flag(f"llm: the endpoint, http://HOST:PORT/v1; by default ${URL_VARIABLE}, else OpenAI's")
    api_key: str | None = _flag(f"llm: better set ${KEY_VARIABLE}; never printed or written", repr=False)
    entity_extractor_model: str | None = _flag(
        f"llm: model that writes the queries; by default ${MODEL_VARIABLE}", aliases=["--model"]
    )
    question_generator_model: str | None = _flag("llm: model that judges the passages; by default the same")
    temperature: float | None = _flag("llm: by default the endpoint's own")
    max_tokens: int | None = _flag("llm: tokens of a reply at most; by default the endpoint's own")
    max_tries: int = _flag("llm: how often a reply that cannot be read is asked for again, first time included", 3)
    timeout: float = _flag("llm: seconds after which a request has failed", 60.0)
    max_retries: int = _flag("llm: how often a failed request is sent again", 5)
    retry_seconds: float = _flag(
        "llm: wait before the first retry, doubled each time; the endpoint may ask for more", 1.0
    )
    concurrency: int = _flag("llm: documents worked on at a time", 4)
    price_input: float = _flag("llm: price of a million prompt tokens, to say what was spent", 0.0)
    price_output: float = _flag("llm: price of a million reply tokens", 0.0)
    cache_file: str | None = _flag("llm: where paid replies are kept; by default beside the output")

    summary_file: str | None = _flag("counts, rates and settings; by default OUTPUT.summary.json", aliases=["--output"])
    device: str | None = _flag("where a bi-encoder runs: cpu, cuda, cuda:N or mps; by default the best there is")
    embedding_cache: str | None = _flag("folder for a bi-encoder's finished embeddings")
    overwrite: bool = _flag("throw the rows made so far away; paid replies are kept", False)

    @property
    def weights(self) -> Weights:
        """Those of diverse retrieval."""
        return Weights(self.lambda1, self.lambda2, self.lambda3)

    @property
    def attempts(self) -> int:
        """How many documents are tried at most."""
        return self.max_attempts or ATTEMPTS_PER_EXAMPLE * self.num_examples

    @property
    def key(self) -> str:
        """The key, from the configuration or the environment; empty when there is none."""
        return self.api_key or os.environ.get(KEY_VARIABLE, "")

    @property
    def url(self) -> str | None:
        """The endpoint, from the configuration or the environment; None is the client's own choice."""
        return self.base_url or os.environ.get(URL_VARIABLE) or None

    @property
    def models(self) -> tuple[str, str]:
        """Who writes queries, and who judges passages; empty where nobody is named."""
        writer = self.entity_extractor_model or os.environ.get(MODEL_VARIABLE, "")
        return writer, self.question_generator_model or writer

    def check(self) -> None:
        """Refuse what cannot work, before anything is read or asked.

        Raises:
            UserError: naming the flag and the way out.
        """
        _ = self.weights
        for name in (
            "num_examples",
            "max_attempts",
            "max_doc_candidates",
            "max_tries",
            "concurrency",
            "max_source_rank",
        ):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"--{name} {value} is less than 1", fix=f"use --{name} 1 or more")
        for name in ("min_length", "max_retries", "retry_seconds", "price_input", "price_output"):
            if not getattr(self, name) >= 0:
                raise UserError(f"--{name} {getattr(self, name)} is below 0", fix=f"use --{name} 0 or more")
        if not self.timeout > 0:
            raise UserError(f"--timeout {self.timeout} is not above 0", fix="use a number of seconds: --timeout 60")
        unknown = [kind for kind in self.query_kinds if kind not in KINDS]
        if unknown or not self.query_kinds:
            raise UserError(f"--query_kinds {' '.join(unknown) or '(none)'}", fix=f"use some of: {' '.join(KINDS)}")
        if Path(self.output_file).absolute() == Path(self.corpus_path).absolute():
            raise UserError("--output_file is also --corpus_path", fix="write to another file")
        if self.output_file.lower().endswith(".gz"):
            raise UserError(f"--output_file {self.output_file} is written row by row", fix="leave .gz out")
        if self.generator == "llm":
            self._check_llm()

    def _check_llm(self) -> None:
        if not self.key:
            raise UserError(
                f"--generator llm: no key in ${KEY_VARIABLE}",
                fix=f"export {KEY_VARIABLE}=...; for an endpoint that asks for none, any word will do",
            )
        if not self.models[0]:
            raise UserError("--generator llm: no model was named", fix=f"pass --model NAME, or export {MODEL_VARIABLE}")
        if self.url is not None and not self.url.startswith(("http://", "https://")):
            raise UserError(f"--base_url {self.url} is no address", fix="write http://HOST:PORT/v1")

    def settings(self) -> dict[str, Any]:
        """All that decides the rows, contents of files and number of rows apart; never the key."""
        foreign = _EXTRACTIVE_ONLY if self.generator == "llm" else _LLM_ONLY
        left_out = _CHANGE_NO_ROW | _EXTENDS | foreign | {"corpus_path", "doc_ids_file"}
        settings = {name: value for name, value in asdict(self).items() if name not in left_out}
        if self.generator == "llm":
            settings |= {"base_url": self.url, "models": list(self.models)}
        return settings
