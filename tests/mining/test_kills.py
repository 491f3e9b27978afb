"""Mining killed for good at random moments, as the benchmark that is committed does it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "killed_mining.py"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system that can fork")
def test_mining_killed_at_twenty_random_moments_ends_with_the_bytes_of_an_uninterrupted_run(tmp_path):
    output = tmp_path / "kills.json"
    words = ["--kills", "20", "--passages", "800", "--seed", "3", "--output", str(output)]
    done = subprocess.run([sys.executable, str(BENCHMARK), *words], capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    result = json.loads(output.read_text())
    assert len(result["kills"]) == 20 and result["compared"] >= 1
