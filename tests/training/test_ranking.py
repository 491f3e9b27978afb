"""What is measured on which groups."""

from __future__ import annotations

import numpy as np
import pytest

from sharprank.records import Group
from sharprank.training.ranking import MEASURES, POOLED, gains_of, measures_of


def group(*relevance):
    return Group("q", tuple(f"p{i}" for i in range(len(relevance))), relevance)


@pytest.mark.parametrize(
    ("groups", "measures"),
    [
        ([group(1.0, 0.0), group(1.0, 0.0, 0.0)], MEASURES),
        ([group(1.0, 0.5, 0.0), group(1.0, 0.0)], (*MEASURES, *POOLED)),
        ([group(1.0), group(0.0), group(1.0, 0.0)], (*POOLED, *MEASURES)),
        ([group(1.0), group(0.0)], POOLED),
    ],
)
def test_groups_are_ranked_where_they_can_be_and_pairs_measured_together_where_not(groups, measures):
    assert measures_of(groups) == measures


def test_gains_are_whole_numbers_above_the_lowest_relevance():
    assert [gains.tolist() for gains in gains_of([group(1.0, 0.0), group(0.0)])] == [[1, 0], [0]]
    gains = gains_of([group(1.0, 0.75, 0.25), group(0.5, 0.25)])
    assert [values.tolist() for values in gains] == [[750, 500, 0], [250, 0]]
    assert all(values.dtype == np.int64 for values in gains)
