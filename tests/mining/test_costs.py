"""What a run will cost is said in words people use."""

from __future__ import annotations

import pytest

from sharprank.mining.costs import Costs, say_costs
from sharprank.progress import spoken_bytes, spoken_seconds


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 bytes"), (999, "999 bytes"), (1_536_000_000, "1.5 GB"), (2.5e15, "2.5 PB")]
)
def test_bytes_are_spoken(count, words):
    assert spoken_bytes(count) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(3.4, "3 s"), (600, "10 min"), (5000, "1 h 23 min"), (1_000_000, "11.6 days")]
)
def test_seconds_are_spoken(seconds, words):
    assert spoken_seconds(seconds) == words


@pytest.fixture
def costs(tmp_path):
    def make(missing: int) -> Costs:
        return Costs(
            num_texts={"passages": 50_000, "queries": 100, "positives": 0},
            num_missing={"passages": missing, "queries": 100, "positives": 0},
            vector_bytes=1000,
            k=10,
            cache=tmp_path,
            num_ranks=2,
            probe=["text"] * 64,
        )

    return make


def test_disk_and_time_of_what_is_missing_are_said(costs, capsys):
    asked = []
    say_costs(costs(40_960), encode=asked.append)
    said = capsys.readouterr().err
    assert "embed 40,960 of 50,000 passages, 100 of 100 queries" in said
    assert "100 queries x 50,000 passages" in said
    assert "41.1 MB in" in said
    assert "embedding takes about" in said and len(asked) == 2


def test_little_work_is_not_timed_beforehand(costs, capsys):
    say_costs(costs(2000), encode=lambda texts: pytest.fail("was timed"))
    assert "embedding takes" not in capsys.readouterr().err
