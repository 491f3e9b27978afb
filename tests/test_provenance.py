"""What stands beside every output."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys

from sharprank.provenance import describe_inputs, hash_file, manifest, versions


def test_versions_name_python_and_the_packages_installed():
    found = versions()
    assert found["python"].startswith(f"{sys.version_info.major}.{sys.version_info.minor}")
    shaping = "sharprank torch transformers tokenizers datasets FlagEmbedding ir-measures bm25s snowballstemmer numpy"
    assert set(shaping.split()) <= set(found)


def test_versions_are_found_without_loading_the_packages():
    program = (
        "import sys; from sharprank.provenance import versions; versions(); "
        "raise SystemExit(any(name in sys.modules for name in ('torch', 'transformers', 'datasets', 'faiss')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_hash_is_the_sha256_of_the_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 3_000_000)
    assert hash_file(tmp_path / "a") == hashlib.sha256(b"x" * 3_000_000).hexdigest()


def test_inputs_are_hashed_file_by_file_and_hub_names_kept(tmp_path):
    for name in ("b.jsonl", "sub/a.jsonl", ".git/index"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    described = describe_inputs([tmp_path, tmp_path / "b.jsonl", "some/dataset"])
    assert described == {
        str(tmp_path / "b.jsonl"): hashlib.sha256(b"b.jsonl").hexdigest(),
        str(tmp_path / "sub/a.jsonl"): hashlib.sha256(b"sub/a.jsonl").hexdigest(),
        "some/dataset": "not a local file",
    }


def test_a_manifest_is_plain_json_without_a_clock():
    first = manifest(command=["sharprank", "mine"], settings={"seed": 1}, inputs={"a": "b"})
    assert first == json.loads(json.dumps(first))
    assert list(first) == ["command", "settings", "inputs", "versions"]
    assert first == manifest(command=["sharprank", "mine"], settings={"seed": 1}, inputs={"a": "b"})


def test_a_file_that_changed_is_hashed_again(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"one")
    first = hash_file(path)
    assert hash_file(path) == first
    path.write_bytes(b"two")
    os.utime(path, ns=(1, 1))
    assert hash_file(path) != first
