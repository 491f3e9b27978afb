"""The teacher's scores, kept and found again, and what follows from them."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from sharprank.metrics.pairs import sigmoid
from sharprank.mining import teacher as module
from sharprank.mining.teacher import AS_GOOD_AS_A_POSITIVE, PROBABLY_RELEVANT, PROMOTED, Teacher, TeacherRule
from sharprank.ranks import Ranks

from .fakes import NumberScorer

PAIRS = [("q", f"passage {i} teacher 0.{i}") for i in range(1, 8)]
EXPECTED = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]


@pytest.fixture
def scorer(monkeypatch):
    monkeypatch.setattr(module, "CHUNK_PAIRS", 3)
    return NumberScorer()


def teacher(scorer, folder) -> Teacher:
    return Teacher(scorer, folder=folder, probability=sigmoid)


def test_scores_come_in_the_order_of_the_pairs_rounded(scorer, tmp_path):
    assert teacher(scorer, tmp_path).scores(PAIRS).tolist() == EXPECTED
    assert teacher(scorer, tmp_path).scores([]).tolist() == []


def test_finished_chunks_are_not_scored_again(scorer, tmp_path):
    teacher(scorer, tmp_path).scores(PAIRS)
    again = teacher(scorer, tmp_path)
    assert again.scores(PAIRS).tolist() == EXPECTED
    assert len(scorer.asked) == 3 and again.num_found == 7


def test_a_teacher_that_dies_continues_behind_the_last_whole_chunk(scorer, tmp_path):
    class Dying(NumberScorer):
        def score(self, pairs, **options):
            if len(self.asked) == 2:
                raise KeyboardInterrupt
            return super().score(pairs, **options)

    with pytest.raises(KeyboardInterrupt):
        teacher(Dying(), tmp_path).scores(PAIRS)
    assert teacher(scorer, tmp_path).scores(PAIRS).tolist() == EXPECTED
    assert scorer.asked == [PAIRS[6:]]


@pytest.mark.parametrize("damage", ["cut", "empty", "other"])
def test_a_damaged_chunk_is_scored_again(scorer, tmp_path, damage):
    teacher(scorer, tmp_path).scores(PAIRS)
    path = sorted(tmp_path.iterdir())[0]
    data = path.read_bytes()
    path.write_bytes({"cut": data[:-2], "empty": b"", "other": b"\x00" * len(data)}[damage])
    assert teacher(scorer, tmp_path).scores(PAIRS).tolist() == EXPECTED
    assert len(scorer.asked) == 4


def test_other_pairs_are_other_chunks(scorer, tmp_path):
    keeper = teacher(scorer, tmp_path)
    keeper.scores([("ab", "c teacher 0.5")])
    assert keeper.scores([("a", "bc teacher 0.25")]).tolist() == [0.25]
    assert keeper.num_scored == 2


def test_ranks_share_the_chunks_and_all_get_all_scores(scorer, tmp_path):
    barrier = threading.Barrier(2)

    class Threads(Ranks):
        def wait(self):
            barrier.wait(10)

    scorers, found = [NumberScorer(), NumberScorer()], {}

    def work(number):
        own = Teacher(scorers[number], folder=tmp_path, probability=sigmoid, ranks=Threads(number, 2))
        found[number] = own.scores(PAIRS).tolist()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert found == {0: EXPECTED, 1: EXPECTED}
    assert [one.asked for one in scorers] == [[PAIRS[:3], PAIRS[6:]], [PAIRS[3:6]]]


@pytest.mark.parametrize(
    ("rule", "score", "reason"),
    [
        (TeacherRule(), 1.9, None),
        (TeacherRule(), 2.0, AS_GOOD_AS_A_POSITIVE),
        (TeacherRule(margin=0.5), 1.6, AS_GOOD_AS_A_POSITIVE),
        (TeacherRule(margin=-1.0), 2.5, None),
        (TeacherRule(ceiling=0.8), 1.5, PROBABLY_RELEVANT),
        (TeacherRule(ceiling=0.8), 1.3, None),
        (TeacherRule(promote=0.9), 2.5, PROMOTED),
        (TeacherRule(promote=0.9), 2.1, AS_GOOD_AS_A_POSITIVE),
    ],
)
def test_a_rule_names_its_reason(rule, score, reason):
    probability = float(sigmoid(np.array([score]))[0])
    assert rule.reason(score, probability, 2.0) == reason
