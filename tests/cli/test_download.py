"""`sharprank download MODEL` against a hub of our own on this machine: the real client, no network."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sharprank.cli.download import main

COMMIT = "a" * 40
FILES = {
    "config.json": b'{"model_type": "bert"}',
    "tokenizer.json": b"{}",
    "model.safetensors": b"weights",
    "onnx/model.onnx": b"large",
    "tf_model.h5": b"large too",
}


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as serves one model, `maker/model`."""

    def do_HEAD(self):
        self._answer(with_body=False)

    def do_GET(self):
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append(f"{self.command} {path}")
        if path.startswith("/api/models/maker/model/revision/"):
            if path.endswith("/gone"):
                return self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"}, with_body=with_body)
            siblings = [{"rfilename": name} for name in FILES]
            about = {"id": "maker/model", "modelId": "maker/model", "sha": COMMIT, "siblings": siblings, "tags": []}
            return self._send(200, json.dumps(about).encode(), {}, with_body=with_body)
        if path.startswith("/api/models/maker/model/tree/"):
            tree = [
                {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                for name, data in FILES.items()
            ]
            return self._send(200, json.dumps(tree).encode(), {}, with_body=with_body)
        name = path.partition(f"/maker/model/resolve/{COMMIT}/")[2]
        if name in FILES:
            etag = hashlib.sha1(FILES[name]).hexdigest()
            headers = {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT}
            return self._send(200, FILES[name], headers, with_body=with_body)
        return self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"}, with_body=with_body)

    def _send(self, code: int, body: bytes, headers: dict[str, str], *, with_body: bool) -> None:
        self.send_response(code)
        for key, value in {"Content-Length": str(len(body)), "Content-Type": "application/json", **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def hub():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def download(tmp_path, hub, *words: str, offline: bool = False) -> subprocess.CompletedProcess:
    environment = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    environment |= {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1" if offline else "0"}
    if hub is not None:
        environment["HF_ENDPOINT"] = f"http://127.0.0.1:{hub.server_port}"
    command = [sys.executable, "-m", "sharprank", "download", *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)


def test_a_model_is_fetched_once_and_found_offline_afterwards(tmp_path, hub):
    first = download(tmp_path, hub, "maker/model")
    assert first.returncode == 0, first.stderr
    folder = first.stdout.strip().partition(" lies in ")[2]
    assert sorted(os.listdir(folder)) == ["config.json", "model.safetensors", "tokenizer.json"]
    offline = download(tmp_path, None, "maker/model", offline=True)
    assert offline.returncode == 0, offline.stderr
    assert offline.stdout == first.stdout
    assert not any("model.onnx" in asked or "h5" in asked for asked in hub.asked)


def test_the_files_can_be_put_into_a_folder_of_ones_own(tmp_path, hub):
    done = download(tmp_path, hub, "maker/model", "--output_dir", str(tmp_path / "mine"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "mine" / "model.safetensors").read_bytes() == b"weights"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["maker/other"], "the hub has no model 'maker/other'"),
        (["maker/model", "--revision", "gone"], "the hub has no model 'maker/model' at 'gone'"),
        (["a/b/c"], "the hub has no model 'a/b/c'"),
    ],
)
def test_what_the_hub_does_not_have_is_an_error_with_a_way_out(tmp_path, hub, words, said):
    done = download(tmp_path, hub, *words)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr and "fix:" in done.stderr


def test_offline_without_the_model_is_an_error_with_a_way_out(tmp_path):
    done = download(tmp_path, None, "maker/model", offline=True)
    assert done.returncode == 2, done.stderr
    assert "maker/model cannot be fetched" in done.stderr and "HF_HUB_OFFLINE" in done.stderr


def test_a_name_is_needed_and_a_local_path_is_none(tmp_path, capsys):
    assert main([]) == 2
    assert "no model was named" in capsys.readouterr().err
    assert main([str(tmp_path)]) == 2
    assert "is a local path" in capsys.readouterr().err
