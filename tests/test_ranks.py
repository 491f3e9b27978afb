"""Ranks without torchrun, and how work is split (with it: tests/mining/test_processes.py)."""

from __future__ import annotations

from sharprank.ranks import ALONE, Ranks, all_ranks


def test_every_piece_of_work_is_done_by_exactly_one_rank():
    items = list(range(11))
    shares = [Ranks(number, 3).share(items) for number in range(3)]
    assert sorted(item for share in shares for item in share) == items
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_alone_there_is_nobody_to_wait_for():
    with all_ranks() as ranks:
        assert ranks == ALONE and ranks.count == 1
        ranks.wait()
        assert ranks.agree(lambda: [1, 2]) == [1, 2]
        assert ranks.share([1, 2, 3]) == [1, 2, 3]
