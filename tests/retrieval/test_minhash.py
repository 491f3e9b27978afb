"""MinHash against brute force."""

from __future__ import annotations

import random

import pytest

from sharprank.retrieval.filters import overlap, shingles
from sharprank.retrieval.minhash import PERMUTATIONS, estimate, near_pairs, places_of_a_band, signature


def corpus() -> list[str]:
    """A hundred texts; for half of them there is a copy with some words changed."""
    draw = random.Random(7)
    texts = [" ".join(f"w{draw.randint(0, 400)}" for _ in range(60)) for _ in range(100)]
    for number in range(0, 100, 2):
        words = texts[number].split()
        for _ in range(number // 10):
            words[draw.randrange(len(words))] = "changed"
        texts.append(" ".join(words))
    return texts


@pytest.mark.parametrize("threshold", [0.5, 0.8, 1.0])
def test_pairs_are_those_of_brute_force(threshold):
    texts = corpus()
    exact = [
        (i, j)
        for i in range(len(texts))
        for j in range(i + 1, len(texts))
        if overlap(shingles(texts[i]), shingles(texts[j])) >= threshold
    ]
    assert len(exact) >= 5
    assert list(near_pairs(texts, texts.__getitem__, threshold=threshold)) == exact


def test_signatures_agree_as_often_as_the_shingles_overlap():
    texts = corpus()
    errors = []
    for number in range(50):
        left, right = shingles(texts[2 * number]), shingles(texts[100 + number])
        errors.append(estimate(signature(left), signature(right)) - overlap(left, right))
    assert max(map(abs, errors)) < 0.18  # four standard deviations at an overlap of one half
    assert abs(sum(errors) / len(errors)) < 0.02


def test_a_pair_at_the_threshold_is_missed_in_one_case_of_a_thousand_at_most():
    for threshold in (0.3, 0.5, 0.8, 0.95):
        places = places_of_a_band(threshold)
        assert (1 - threshold**places) ** (PERMUTATIONS // places) <= 1e-3


def test_hundreds_of_copies_are_each_paired_with_the_first_and_no_text_gives_no_pair():
    texts = ["the same text again and again"] * 300
    assert list(near_pairs(texts, texts.__getitem__, threshold=0.8)) == [(0, j) for j in range(1, 300)]
    assert list(near_pairs([], texts.__getitem__, threshold=0.8)) == []
