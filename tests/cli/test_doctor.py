"""The doctor: one line a finding, and for everything missing the command that installs it."""

from __future__ import annotations

import importlib.metadata
import sys
from types import SimpleNamespace

from sharprank.cli import doctor


def test_what_is_installed_is_listed_with_versions(capsys):
    assert doctor.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = [line[9:].split("  ")[0].strip() for line in lines]
    assert {"python", "torch", "CUDA", "bf16", "faiss", "faiss GPU", "minilm", "transformers"} <= set(names)
    assert f"torch          {importlib.metadata.version('torch')}" in "\n".join(lines)


def test_every_line_that_is_not_ok_ends_with_an_installing_command(capsys):
    doctor.main([])
    for line in capsys.readouterr().out.splitlines():
        assert line.startswith("ok ") or "; install: " in line


def test_a_missing_library_is_named_with_its_command_and_exit_code_2(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "LIBRARIES", ("no-such-library",))
    assert doctor.main([]) == 2
    assert "missing  no-such-library not installed; install: pip install no-such-library" in capsys.readouterr().out


def test_a_broken_torch_is_a_finding_and_no_crash(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert doctor.main([]) == 2
    assert "install: pip install torch" in capsys.readouterr().out


def test_faiss_cpu_on_top_of_faiss_gpu_is_seen(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", SimpleNamespace(__version__="1"))
    monkeypatch.setattr(doctor, "_version", lambda name: "1")
    lines = [str(finding) for finding in doctor._faiss()]
    assert lines[-1].endswith("install: pip install --force-reinstall --no-deps faiss-gpu")


def test_a_gpu_build_of_faiss_is_said_with_its_gpus(monkeypatch):
    fake = SimpleNamespace(__version__="1", StandardGpuResources=object, get_num_gpus=lambda: 2)
    monkeypatch.setitem(sys.modules, "faiss", fake)
    assert str(list(doctor._faiss())[-1]) == "ok       faiss GPU      the GPU build, sees 2 GPU"


def test_a_missing_client_of_language_models_is_optional(monkeypatch):
    monkeypatch.setattr(doctor, "_version", lambda name: None)
    assert str(doctor._client()).startswith("optional openai")
    assert str(doctor._client()).endswith("; install: pip install openai")


def test_the_frameworks_that_a_reranker_fits_into_are_optional(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "ADAPTERS", {"no-such-framework": "framework"})
    assert doctor.main([]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith("optional framework") and line.endswith("install: pip install no-such-framework")
