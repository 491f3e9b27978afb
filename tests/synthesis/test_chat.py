"""The real client against an endpoint on this machine: every way a request can end."""

from __future__ import annotations

import json
import sys
import threading
import time

import pytest

from sharprank.errors import UserError
from sharprank.synthesis.chat import FAILURES_IN_A_ROW, Chat
from sharprank.synthesis.outcome import Stop
from sharprank.synthesis.replies import ReplyCache

from .conftest import KEY, Answer

pytest.importorskip("openai", reason="needs the extra `llm`: pip install sharprank[llm]")

OVERLOADED = Answer(status=429, error={"message": "slow down", "code": "rate_limit_exceeded"})
NO_QUOTA = Answer(status=429, error={"message": "You exceeded your current quota", "code": "insufficient_quota"})
BROKEN = Answer(status=500, error={"message": "oh no"})


@pytest.fixture
def chat(endpoint, tmp_path):
    def make(**more) -> Chat:
        settings = {"url": endpoint.url, "max_retries": 2, "retry_seconds": 0.01, "timeout": 10.0, **more}
        return Chat(key=KEY, cache=ReplyCache(tmp_path / "replies.jsonl"), **settings)

    return make


def one_after_the_other(*answers: Answer):
    return lambda prompt, number: answers[min(number, len(answers) - 1)]


def test_a_reply_comes_back_with_its_cost_counted(chat, endpoint):
    endpoint.script = one_after_the_other(Answer(" <think>let me\nsee</think>\nYes. "))
    asking = chat(parameters={"temperature": 0.5, "max_tokens": None})
    assert asking.ask("is it?", model="m-1") == "Yes."
    assert asking.numbers() == {"completion_tokens": 10, "prompt_tokens": 100, "requests": 1}
    (body,) = endpoint.bodies
    assert body["model"] == "m-1" and body["temperature"] == 0.5 and "max_tokens" not in body
    assert endpoint.headers_seen[0]["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    "text", ["Yes.", "<think>a</think>Yes.", "let me\nsee</think>\n\nYes.", "a</think>b <think>c</think> Yes. "]
)
def test_what_a_model_thought_is_left_out_wherever_the_thinking_was_opened(chat, endpoint, text):
    endpoint.script = one_after_the_other(Answer(text))
    assert chat().ask("is it?", model="m") == "Yes."


@pytest.mark.parametrize(
    "trouble", [OVERLOADED, BROKEN, Answer(status=503, raw=b"<html>down</html>", kind="text/html")]
)
def test_429_and_500_are_asked_again_and_then_succeed(chat, endpoint, trouble):
    endpoint.script = one_after_the_other(trouble, trouble, Answer("Yes."))
    asking = chat()
    assert asking.ask("is it?", model="m") == "Yes."
    assert asking.numbers()["retries"] == 2 and len(endpoint.prompts) == 3


def test_the_endpoint_may_ask_for_a_longer_wait(chat, endpoint):
    slow = Answer(status=429, error={"message": "slow down"}, headers={"Retry-After": "0.3"})
    endpoint.script = one_after_the_other(slow, Answer("Yes."))
    started = time.monotonic()
    assert chat().ask("is it?", model="m") == "Yes."
    assert time.monotonic() - started >= 0.3


@pytest.mark.parametrize(
    ("trouble", "failure"),
    [
        (BROKEN, "server error"),
        (Answer("half of it", cut=True), "broken connection"),
        (Answer(raw=b"{not json"), "unreadable reply"),
        (Answer(raw=b"<html>hello</html>", kind="text/html"), "unreadable reply"),
        (Answer(raw=b'{"choices": []}'), "unreadable reply"),
        (Answer(raw=b'{"hello": "world"}'), "unreadable reply"),
        (Answer(raw=b"[]"), "unreadable reply"),
        (Answer(raw=b'{"choices": "x", "usage": 3}'), "unreadable reply"),
        (Answer(raw=b'{"choices": [{}]}'), "unreadable reply"),
        (Answer(raw=b'{"choices": [{"message": {"content": [1]}}]}'), "unreadable reply"),
        (Answer(None), "unreadable reply"),
        (Answer(status=400, error={"message": "context too long"}), "refused (400)"),
    ],
)
def test_what_stays_broken_is_no_reply_and_is_counted(chat, endpoint, trouble, failure):
    endpoint.script = one_after_the_other(trouble)
    asking = chat()
    assert asking.ask("is it?", model="m") is None
    assert asking.numbers()[f"failed: {failure}"] == 1
    assert len(endpoint.prompts) == (1 if failure.startswith("refused") else 3)


def test_a_time_out_is_tried_again_and_then_no_reply(chat, endpoint):
    endpoint.script = one_after_the_other(Answer("late", wait=0.6), Answer("in time"))
    asking = chat(timeout=0.2)
    assert asking.ask("is it?", model="m") == "in time"
    endpoint.script = one_after_the_other(Answer("late", wait=0.6))
    assert chat(timeout=0.1, max_retries=0).ask("and now?", model="m") is None


def test_a_reply_that_stalls_half_way_is_a_time_out(chat, endpoint):
    endpoint.script = one_after_the_other(Answer("x", stall=1.0))
    asking = chat(timeout=0.1, max_retries=1)
    assert asking.ask("is it?", model="m") is None
    assert asking.numbers()["failed: time-out"] == 1


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (Answer(status=401, error={"message": f"Incorrect API key provided: {KEY}"}), "refuses the key"),
        (Answer(status=403, error={"message": "not for you"}), "refuses the key"),
        (Answer(status=404, error={"message": "no model m", "code": "model_not_found"}), "does not know the model 'm'"),
        (Answer(status=402, error={"message": "Insufficient Balance"}), "quota has ended"),
        (NO_QUOTA, "quota has ended"),
        (OVERLOADED, "the rate limit holds on"),
    ],
)
def test_what_no_retry_can_help_stops_the_work_and_never_shows_the_key(chat, endpoint, trouble, said):
    endpoint.script = one_after_the_other(trouble)
    asking = chat()
    with pytest.raises(Stop) as stopped:
        asking.ask("is it?", model="m")
    assert said in stopped.value.problem and stopped.value.fix
    assert KEY not in str(stopped.value)
    assert len(endpoint.prompts) == (3 if trouble is OVERLOADED else 1)
    with pytest.raises(Stop) as again:
        asking.ask("something else?", model="m")
    assert str(again.value) == str(stopped.value)


def test_an_address_where_nothing_listens_stops_the_work(chat):
    with pytest.raises(Stop, match="cannot be reached"):
        chat(url="http://127.0.0.1:9/v1").ask("is it?", model="m")


def test_a_wrong_path_stops_the_work(chat, endpoint):
    with pytest.raises(Stop, match="no such endpoint"):
        chat(url=endpoint.url.replace("/v1", "/v2")).ask("is it?", model="m")


def test_an_endpoint_that_answers_nothing_any_more_stops_the_work(chat, endpoint):
    endpoint.script = one_after_the_other(BROKEN)
    asking = chat(max_retries=0)
    with pytest.raises(Stop, match="questions in a row had no answer"):
        for number in range(FAILURES_IN_A_ROW + 1):
            asking.ask("is it?", model="m", number=number)
    assert len(endpoint.prompts) == FAILURES_IN_A_ROW


def test_nothing_is_paid_twice_also_by_another_run(chat, endpoint, tmp_path):
    endpoint.script = lambda prompt, number: Answer(f"reply {number}")
    first = chat()
    assert [first.ask("a", model="m"), first.ask("b", model="m"), first.ask("a", model="m")] == [
        "reply 0", "reply 1", "reply 0",
    ]  # fmt: skip
    again = chat()
    assert again.ask("b", model="m") == "reply 1"
    assert again.numbers() == {"replies found in the cache": 1}
    assert again.tokens_of_all_runs() == (200, 20)
    assert again.ask("a", model="other") == "reply 2"
    assert again.ask("a", model="m", number=1) == "reply 3"
    assert chat(parameters={"temperature": 0.1}).ask("a", model="m") == "reply 4"
    assert KEY not in (tmp_path / "replies.jsonl").read_text()


def test_a_reply_cut_at_the_token_limit_is_none_and_not_paid_again(chat, endpoint):
    endpoint.script = one_after_the_other(Answer("half a", finish="length"))
    assert chat().ask("a", model="m") is None
    assert chat().ask("a", model="m") is None
    assert len(endpoint.prompts) == 1


def test_an_unfinished_line_of_the_cache_is_dropped(tmp_path):
    path = tmp_path / "replies.jsonl"
    path.write_text(json.dumps({"key": "k", "text": "t"}) + "\n" + '{"key": "l", "te')
    cache = ReplyCache(path)
    assert cache.get("k").text == "t" and cache.get("l") is None
    assert path.read_text().endswith('"t"}\n')


def test_threads_share_one_client(chat, endpoint):
    endpoint.script = lambda prompt, number: Answer(prompt.upper(), wait=0.05)
    asking, replies = chat(), {}
    threads = [
        threading.Thread(target=lambda i=i: replies.update({i: asking.ask(f"question {i}", model="m")}))
        for i in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert replies == {i: f"QUESTION {i}" for i in range(8)}
    assert asking.numbers()["requests"] == 8
    assert endpoint.most_open > 1


def test_without_the_client_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(UserError) as error:
        Chat(key="k", url=None, cache=ReplyCache(tmp_path / "r"))
    assert "sharprank[llm]" in error.value.fix
