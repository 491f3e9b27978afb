"""The language model's endpoint as a user names it, for every command that asks one.

The key comes from a flag, a file or the environment, and goes to the client only. Loads nothing.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sharprank.errors import UserError
from sharprank.synthesis.chat import Chat
from sharprank.synthesis.replies import ReplyCache

KEY_VARIABLE, URL_VARIABLE, MODEL_VARIABLE = "OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL"


def _flag(help_text: str, default: Any = None, *, aliases: list[str] | None = None, **more: Any) -> Any:
    metadata = {"help": help_text} | ({"aliases": aliases} if aliases else {})
    return field(default=default, metadata=metadata, **more)


@dataclass(kw_only=True)
class EndpointConfig:
    """The flags of an OpenAI-compatible endpoint."""

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
        """Refuse what cannot be asked.

        Raises:
            UserError: naming the flag and the way out.
        """
        for name in ("max_tries", "concurrency"):
            if getattr(self, name) < 1:
                raise UserError(f"--{name} {getattr(self, name)} is less than 1", fix=f"use --{name} 1 or more")
        for name in ("max_retries", "retry_seconds", "price_input", "price_output"):
            if not getattr(self, name) >= 0:
                raise UserError(f"--{name} {getattr(self, name)} is below 0", fix=f"use --{name} 0 or more")
        if not self.timeout > 0:
            raise UserError(f"--timeout {self.timeout} is not above 0", fix="use a number of seconds: --timeout 60")
        if not self.key:
            raise UserError(
                f"a language model was asked for, but there is no key in ${KEY_VARIABLE}",
                fix=f"export {KEY_VARIABLE}=...; for an endpoint that asks for none, any word will do",
            )
        if not self.models[0]:
            raise UserError("no model was named", fix=f"pass --model NAME, or export {MODEL_VARIABLE}")
        if self.url is not None and not self.url.startswith(("http://", "https://")):
            raise UserError(f"--base_url {self.url} is no address", fix="write http://HOST:PORT/v1")

    def settings(self) -> dict[str, Any]:
        """All that decides the replies; never the key."""
        names = ("temperature", "max_tokens", "max_tries")
        return {"base_url": self.url, "models": list(self.models)} | {name: getattr(self, name) for name in names}

    def cache_path(self, output: str) -> Path:
        """Where paid replies are kept: beside what is made, unless a file was named."""
        return Path(self.cache_file or f"{output}.replies.jsonl")

    def open(self, output: str) -> Chat:
        """The endpoint, with the replies paid for before.

        Args:
            output: what is made.
        """
        return Chat(
            key=self.key,
            url=self.url,
            cache=ReplyCache(self.cache_path(output)),
            timeout=self.timeout,
            max_retries=self.max_retries,
            retry_seconds=self.retry_seconds,
            parameters={"temperature": self.temperature, "max_tokens": self.max_tokens},
        )

    def spent(self, chat: Chat) -> dict[str, Any]:
        """Requests of this run, tokens and cost of all runs."""
        prompt, completion = chat.tokens_of_all_runs()
        cost = (prompt * self.price_input + completion * self.price_output) / 1e6
        everything = {"prompt_tokens_of_all_runs": prompt, "completion_tokens_of_all_runs": completion}
        return {**chat.numbers(), **everything, "cost": round(cost, 6)}
