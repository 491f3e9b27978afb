"""A small corpus, and an endpoint on this machine that speaks the OpenAI protocol and does what a test tells it."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

KEY = "sk-test-0123456789-secret"
ENERGIES = ("solar", "wind", "tidal", "nuclear")
TOWNS = ("Alba", "Brig", "Cork", "Delft", "Enns")


@pytest.fixture
def corpus(tmp_path) -> Path:
    """20 documents about energy in towns: each names its town, and one other."""
    records = []
    for i, energy in enumerate(ENERGIES):
        for j, town in enumerate(TOWNS):
            other = TOWNS[(j + i + 1) % len(TOWNS)]
            body = (
                f"The {energy} plant of {town} was built in 19{i}{j} on the hill above the old market. "
                f"Its {energy} machines feed about {100 + 7 * i + 13 * j} houses of the town all through the winter. "
                f"Engineers trained in {other} keep the {energy} station running with spare parts kept in a barn. "
                f"A small museum number {i}{j} shows visitors how {energy} power changed the daily life of {town}. "
                f"Critics say the cost of the {energy} plant was {i + 2} times what the council of {town} planned. "
                f"The harbour and the school of {town} buy most of what the {energy} plant gives at night. "
                f"Every spring people of {town} walk up the hill number {j} to see the {energy} machines at rest."
            )
            records.append({"id": 10 * i + j, "title": f"{energy.title()} energy in {town}", "contents": body})
    path = tmp_path / "corpus.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@dataclass
class Answer:
    """What the endpoint sends back."""

    text: str | None = None
    status: int = 200
    error: dict[str, Any] | None = None
    raw: bytes | None = None
    kind: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    wait: float = 0.0
    cut: bool = False
    stall: float = 0.0
    finish: str = "stop"


Script = Callable[[str, int], Answer]


class Endpoint(ThreadingHTTPServer):
    """Answers by its script; remembers what it was asked and how many questions were open at a time."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script: Script = lambda prompt, number: Answer(oracle(prompt))
        self.prompts: list[str] = []
        self.headers_seen: list[dict[str, str]] = []
        self.bodies: list[dict[str, Any]] = []
        self.open = self.most_open = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, request, client_address):
        pass  # clients that gave up waiting


class _Handler(BaseHTTPRequestHandler):
    server: Endpoint

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = body["messages"][-1]["content"]
        with self.server.lock:
            number = len(self.server.prompts)
            self.server.prompts.append(prompt)
            self.server.bodies.append(body)
            self.server.headers_seen.append({name.lower(): value for name, value in self.headers.items()})
            self.server.open += 1
            self.server.most_open = max(self.server.most_open, self.server.open)
        try:
            if self.path != "/v1/chat/completions":
                self._send(Answer(status=404, error={"message": "no such page"}), prompt)
            else:
                self._send(self.server.script(prompt, number), prompt)
        finally:
            with self.server.lock:
                self.server.open -= 1

    def _send(self, answer: Answer, prompt: str) -> None:
        time.sleep(answer.wait)
        data = answer.raw
        if data is None and answer.error is not None:
            data = json.dumps({"error": answer.error}).encode()
        if data is None:
            message = {"role": "assistant", "content": answer.text}
            content = {
                "id": "c1",
                "object": "chat.completion",
                "created": 0,
                "model": "m",
                "choices": [{"index": 0, "message": message, "finish_reason": answer.finish}],
                "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
            }
            data = json.dumps(content).encode()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(data)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data[: len(data) // 2])
        self.wfile.flush()
        if answer.cut:
            self.close_connection = True
            return
        time.sleep(answer.stall)
        self.wfile.write(data[len(data) // 2 :])

    def log_message(self, *args):
        pass


@pytest.fixture
def endpoint(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("OPENAI_BASE_URL", "OPENAI_MODEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server = Endpoint()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(5)


def is_entity_prompt(prompt: str) -> bool:
    return "relevant_segments" in prompt


def oracle(prompt: str) -> str:
    """What a perfect model says: the other town is the entity; passages about that town continue the document."""
    if is_entity_prompt(prompt):
        other = re.search(r"Engineers trained in (\w+)", prompt)[1]
        energy = re.search(r"The (\w+) plant", prompt)[1]
        segment = re.search(r"(Engineers trained.*)", prompt, re.DOTALL)[1].strip()
        query = f"which {energy} plant was built on the hill above the market of {other}"
        records = [("bridge_entity", other, "town"), ("relevant_segments", other, segment), ("query", other, query)]
        return "\n##\n".join(f'("{a}"<|>{b}<|>{c})' for a, b, c in records) + "\n<|COMPLETE|>"
    name = re.search(r'the entity "(\w+)"', prompt)[1]
    passage = prompt.partition("Document B")[2]
    if f"plant of {name} was" not in passage:
        return f"INVALID_BRIDGE_CONNECTION: it says nothing of {name}"
    return valid_reply(name, passage)


def valid_reply(name: str, passage: str) -> str:
    segment = " ".join(passage.split()[4:40])
    return (
        f"ANALYSIS:\nBridge connection: {name}\nDocument A segments: trained in {name}\n"
        f"Document B segments: {segment}\nReasoning path: from one to the other\nSUB-QUESTIONS:\n"
        f"Sub-question 1: Where were they trained?\nAnswer 1: {name}\n"
        f"Sub-question 2: When was the plant of {name} built?\nAnswer 2: in 19"
    )
