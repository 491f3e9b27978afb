"""One question to an OpenAI-compatible endpoint: retried, timed, counted, and never paid twice.

What can go wrong is sorted here. `Stop`: nobody can go on (wrong key or model, no such address, quota ended). A reply
of None: this question has no answer (time-out, server error, broken or unreadable reply after all retries).
The key goes to the client and nowhere else.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any

from sharprank.errors import UserError
from sharprank.synthesis.outcome import Stop
from sharprank.synthesis.replies import Reply, ReplyCache, reply_key

LONGEST_WAIT = 60.0
FAILURES_IN_A_ROW = 10
"""So many questions without an answer, one after the other, and the endpoint is taken to be out of order."""

SHORTEST_SECRET = 6
"""A shorter key is a word for an endpoint that asks for none."""

_END_OF_THINKING = "</think>"
"""What stands before it is no answer; where the model's template has opened the thinking, no <think> comes back."""

_QUOTA_CODES = {"insufficient_quota", "billing_hard_limit_reached", "insufficient_balance"}


class Chat:
    """Asks, with a cache in between.

    Args:
        key: the secret.
        url: the endpoint; None is OpenAI's.
        cache: replies paid for before.
        timeout: seconds.
        max_retries: times a failed request is sent again.
        retry_seconds: wait before the first retry, doubled each time.
        parameters: sent along with every question (temperature, max_tokens).

    Raises:
        UserError: the client is not installed.
    """

    def __init__(
        self,
        *,
        key: str,
        url: str | None,
        cache: ReplyCache,
        timeout: float = 60.0,
        max_retries: int = 5,
        retry_seconds: float = 1.0,
        parameters: Mapping[str, Any] | None = None,
    ) -> None:
        try:
            import openai
        except ImportError as error:
            raise UserError(
                "--generator llm needs the package openai", fix="install it: pip install 'sharprank[llm]'"
            ) from error
        self._openai: Any = openai
        self._client: Any = openai.OpenAI(api_key=key, base_url=url, timeout=timeout, max_retries=0)
        self._key, self._cache = key, cache
        self._max_retries, self._retry_seconds = max_retries, retry_seconds
        self._parameters = {name: value for name, value in (parameters or {}).items() if value is not None}
        self._url = str(self._client.base_url)
        self._stopping, self._lock = threading.Event(), threading.Lock()
        self._failures_in_a_row = 0
        self._why: Stop | None = None
        self.counts: Counter[str] = Counter()

    def ask(self, prompt: str, *, model: str, number: int = 0) -> str | None:
        """The text of the reply, without a model's thinking; None when there is none.

        Args:
            number: which try this is; another try is another question, with a reply of its own.

        Raises:
            Stop: no question can be answered any more.
        """
        key = reply_key(url=self._url, model=model, parameters=self._parameters, prompt=prompt, number=number)
        reply = self._cache.get(key)
        if reply is None:
            reply = self._paid(prompt, model)
            if reply is None:
                return None
            self._cache.put(key, reply)
        else:
            self._count("replies found in the cache")
        if reply.finish == "length":
            self._count("replies cut at the token limit")
            return None
        return reply.text.rpartition(_END_OF_THINKING)[2].strip() or None

    def stop(self) -> None:
        """Let nobody wait or ask any longer."""
        self._stop("stopped by the keyboard", "run the same command again to continue")

    def numbers(self) -> dict[str, int]:
        """Requests, retries, failures by kind and tokens of this run."""
        with self._lock:
            return dict(sorted(self.counts.items()))

    def tokens_of_all_runs(self) -> tuple[int, int]:
        """(prompt, completion) tokens of every reply in the cache."""
        return self._cache.tokens()

    def _paid(self, prompt: str, model: str) -> Reply | None:
        failure = ""
        for tries in range(self._max_retries + 1):
            if self._why is not None:
                raise Stop(self._why.problem, fix=self._why.fix)
            try:
                reply = self._request(prompt, model)
            except self._openai.APIError as error:
                failure, wait = self._sorted(error, model, last=tries == self._max_retries)
                if wait is None:
                    break
            except ValueError:  # a body that says it is JSON and is not
                failure, wait = "unreadable reply", 0.0
            else:
                self._answered(reply)
                return reply
            if tries < self._max_retries:
                self._count("retries")
                self._stopping.wait(min(LONGEST_WAIT, max(wait, self._retry_seconds * 2**tries)))
        self._unanswered(failure)
        return None

    def _request(self, prompt: str, model: str) -> Reply:
        self._count("requests")
        messages = [{"role": "user", "content": prompt}]
        found = self._client.chat.completions.create(model=model, messages=messages, **self._parameters)
        choices = getattr(found, "choices", None)
        choice = choices[0] if isinstance(choices, list) and choices else None
        text = getattr(getattr(choice, "message", None), "content", None)
        if not isinstance(text, str):
            raise ValueError("no text in the reply")
        usage = getattr(found, "usage", None)
        prompt_tokens, completion_tokens = (_count_in(usage, name) for name in ("prompt_tokens", "completion_tokens"))
        return Reply(text, prompt_tokens, completion_tokens, finish=getattr(choice, "finish_reason", None))

    def _sorted(self, error: Any, model: str, *, last: bool) -> tuple[str, float | None]:
        """(what went wrong, seconds the endpoint asks to wait; None where a retry is no use).

        Raises:
            Stop: nothing can be answered any more.
        """
        code = getattr(error, "status_code", None)
        if isinstance(error, self._openai.APITimeoutError):
            return "time-out", 0.0
        if isinstance(error, self._openai.APIConnectionError):
            if last and "connect" in type(error.__cause__).__name__.lower():
                raise self._stop(f"{self._url} cannot be reached", "check --base_url and the network", error)
            return "broken connection", 0.0
        if code in (401, 403):
            raise self._stop(f"{self._url} refuses the key", "check OPENAI_API_KEY", error)
        if code == 404:
            fix = "check the name with --model, and that --base_url ends as the endpoint's does (/v1)"
            raise self._stop(f"{self._url} does not know the model {model!r}, or is no such endpoint", fix, error)
        if code == 402 or _error_code(error) in _QUOTA_CODES:
            raise self._stop(f"{self._url}: the quota has ended", "raise it and run the same command again", error)
        if code == 429:
            if last:
                fix = "wait and run the same command again, with a smaller --concurrency"
                raise self._stop(f"{self._url}: the rate limit holds on", fix, error)
            return "rate limit", _wait_asked(error)
        if code is None or code in (408, 409) or code >= 500:
            return "server error", _wait_asked(error)
        return f"refused ({code})", None

    def _stop(self, problem: str, fix: str, error: Exception | None = None) -> Stop:
        """The reason to stop: for all threads the one found first."""
        detail = f" ({self._without_key(str(error))})" if error is not None else ""
        with self._lock:
            self._why = self._why or Stop(f"{problem}{detail}", fix=fix)
        self._stopping.set()
        return Stop(self._why.problem, fix=self._why.fix)

    def _without_key(self, text: str) -> str:
        words = " ".join(text.split())
        hidden = words.replace(self._key, "***") if len(self._key) >= SHORTEST_SECRET else words
        return hidden if len(hidden) <= 200 else hidden[:197] + "..."

    def _answered(self, reply: Reply) -> None:
        with self._lock:
            self._failures_in_a_row = 0
            self.counts["prompt_tokens"] += reply.prompt_tokens
            self.counts["completion_tokens"] += reply.completion_tokens

    def _unanswered(self, failure: str) -> None:
        self._count(f"failed: {failure}")
        with self._lock:
            self._failures_in_a_row += 1
            if self._failures_in_a_row < FAILURES_IN_A_ROW:
                return
        problem = f"{self._url}: {FAILURES_IN_A_ROW} questions in a row had no answer, the last: {failure}"
        raise self._stop(problem, "look at the endpoint, or raise --timeout; the same command continues")

    def _count(self, what: str) -> None:
        with self._lock:
            self.counts[what] += 1


def _count_in(usage: Any, name: str) -> int:
    """Tokens as the endpoint counts them; 0 where it does not."""
    value = getattr(usage, name, None)
    return value if isinstance(value, int) and value > 0 else 0


def _error_code(error: Any) -> str | None:
    """The endpoint's own word for an error, wherever it puts it."""
    body: Any = getattr(error, "body", None)
    if isinstance(body, Mapping) and isinstance(body.get("error"), Mapping):
        body = body["error"]
    inside = (body.get("code") or body.get("type")) if isinstance(body, Mapping) else None
    return getattr(error, "code", None) or inside


def _wait_asked(error: Any) -> float:
    """Seconds in a Retry-After header."""
    response = getattr(error, "response", None)
    try:
        return max(0.0, float(response.headers.get("retry-after", 0))) if response is not None else 0.0
    except ValueError:  # a date
        return 0.0
