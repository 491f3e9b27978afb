"""Diverse retrieval against numbers worked out by hand, and against the formula written out slowly."""

from __future__ import annotations

import math
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharprank.errors import UserError
from sharprank.retrieval.diverse import Retriever, VectorSpace, Weights, WordSpace, select_diverse


def slow(relevance, vectors, source, weights, top_k):
    """Score(d) = l1 rel - l2 cos(d, source) - l3 max(0, max cos(d, s)), round by round, strictly better wins."""

    def cosine(a, b):
        lengths = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(x * x for x in b))
        return sum(x * y for x, y in zip(a, b, strict=True)) / lengths if lengths else 0.0

    total = sum(weights)
    l1, l2, l3 = (weight / total for weight in weights)
    taken = []
    while len(taken) < min(top_k, len(relevance)):
        best, best_value = None, -math.inf
        for d in range(len(relevance)):
            if d in [row for row, _ in taken]:
                continue
            repeated = max([0.0, *(cosine(vectors[d], vectors[s]) for s, _ in taken)])
            value = l1 * relevance[d] - l2 * cosine(vectors[d], source) - l3 * repeated
            if value > best_value + 1e-12:
                best, best_value = d, value
        taken.append((best, best_value))
    return taken


def test_hand_numbers():
    relevance = np.array([0.9, 0.8, 0.5])
    vectors = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    source = np.array([0.6, 0.8])
    taken = select_diverse(relevance, vectors, source, weights=Weights(0.5, 0.2, 0.3), top_k=3)
    # Round 1: .45 - .12 = .33, .40 - .12 = .28, .25 - .16 = .09. Round 2: .28 - .3 = -.02 and .09. Round 3: -.02.
    assert [row for row, _ in taken] == [0, 2, 1]
    assert [value for _, value in taken] == pytest.approx([0.33, 0.09, -0.02])


def test_weights_are_divided_by_their_sum():
    arguments = np.array([0.9, 0.8, 0.5]), np.eye(3), np.ones(3)
    small = select_diverse(*arguments, weights=Weights(0.5, 0.2, 0.3), top_k=3)
    large = select_diverse(*arguments, weights=Weights(5, 2, 3), top_k=3)
    assert [row for row, _ in small] == [row for row, _ in large]
    assert [value for _, value in small] == pytest.approx([value for _, value in large])
    assert Weights(7, 1, 2).normalised() == pytest.approx((0.7, 0.1, 0.2))


def test_a_passage_opposite_to_the_selected_gains_nothing_by_it():
    taken = select_diverse(
        np.array([1.0, 0.5]), np.array([[1.0, 0.0], [-1.0, 0.0]]), None, weights=Weights(0.5, 0, 0.5), top_k=2
    )
    assert taken == [(0, 0.5), (1, 0.25)]


def test_of_equal_candidates_the_first_in_order_is_taken():
    taken = select_diverse(np.full(4, 0.5), np.zeros((4, 2)), None, weights=Weights(), top_k=3)
    assert [row for row, _ in taken] == [0, 1, 2]


def test_lengths_of_vectors_do_not_matter_and_zero_vectors_are_like_nothing():
    relevance, source = np.array([0.3, 0.2, 0.1]), np.array([3.0, 4.0])
    vectors = np.array([[6.0, 8.0], [0.0, 0.0], [1.0, -7.0]])
    taken = select_diverse(relevance, vectors, source, weights=Weights(1, 1, 0), top_k=1)
    # cosines with the source 1, 0, -.7071: .15 - .5, .1 - 0, .05 + .3536
    assert taken == [(2, pytest.approx(0.05 + 25 / math.sqrt(50) / 10))]


numbers = st.floats(-1, 1).map(lambda value: round(value, 3))


@settings(max_examples=60)
@given(st.data(), st.integers(1, 7), st.integers(1, 9), st.sampled_from([(0.7, 0.1, 0.2), (1, 0, 3), (0, 2, 1)]))
def test_the_selection_is_that_of_the_formula(data, num, top_k, weights):
    relevance = data.draw(st.lists(numbers, min_size=num, max_size=num))
    vectors = data.draw(st.lists(st.tuples(numbers, numbers, numbers), min_size=num, max_size=num))
    source = data.draw(st.tuples(numbers, numbers, numbers))
    ours = select_diverse(
        np.array(relevance), np.array(vectors), np.array(source), weights=Weights(*weights), top_k=top_k
    )
    wanted = slow(relevance, vectors, source, weights, top_k)
    assert [value for _, value in ours] == pytest.approx([value for _, value in wanted], abs=1e-9)
    assert len({row for row, _ in ours}) == min(top_k, num)


@pytest.mark.parametrize("weights", [(0, 0, 0), (-1, 1, 1), (math.nan, 1, 1)])
def test_weights_that_cannot_work_are_refused(weights):
    with pytest.raises(UserError, match="lambda1"):
        Weights(*weights)


class Table:
    """A space laid out by hand; remembers how many passages it was asked for."""

    def __init__(self, relevance: dict[str, float], vectors: dict[str, list[float]]) -> None:
        self.relevance, self.table, self.asked = relevance, vectors, []

    def search(self, query, k):
        self.asked.append(k)
        return dict(sorted(self.relevance.items(), key=lambda item: -item[1])[:k])

    def vectors(self, passage_ids):
        return np.array([self.table[passage_id] for passage_id in passage_ids])


def test_the_source_is_left_out_and_the_pool_is_three_times_as_large():
    space = Table({f"p{i}": 1 - i / 10 for i in range(8)}, {f"p{i}": [1.0, float(i)] for i in range(8)})
    retriever = Retriever(space, weights=Weights())
    found = retriever.diverse("q", 2, source_id="p0")
    assert space.asked == [6] and len(found) == 2 and "p0" not in found
    assert set(found) <= {f"p{i}" for i in range(1, 6)}
    assert list(retriever.standard("q", 2, source_id="p1")) == ["p0", "p2"]
    assert space.asked == [6, 4]


def test_a_pool_smaller_than_asked_for_is_given_whole():
    space = Table({"a": 1.0, "b": 0.5}, {"a": [1.0], "b": [1.0]})
    assert set(Retriever(space, weights=Weights()).diverse("q", 10)) == {"a", "b"}
    assert Retriever(Table({}, {}), weights=Weights()).diverse("q", 3) == {}
    assert Retriever(Table({"a": 1.0}, {"a": [1.0]}), weights=Weights()).diverse("q", 3, source_id="a") == {}


def test_by_words_near_copies_of_the_source_and_of_each_other_come_later():
    passages = {
        "source": "solar panels turn sun light into electric power on roofs",
        "copy": "solar panels turn sun light into electric power on roofs today",
        "wind": "wind turbines turn moving air into electric power at sea",
        "wind2": "wind turbines turn moving air into electric power at sea too",
        "dam": "dams turn falling water into electric power in valleys",
    }
    retriever = Retriever(WordSpace(passages), weights=Weights(0.3, 0.3, 0.4))
    query = "turn something into electric power"
    found = list(retriever.diverse(query, 3, source_id="source"))
    assert found[-1] == "copy" or "copy" not in found
    assert not {"wind", "wind2"} <= set(found[:2])
    scores = WordSpace(passages).search(query, 5)
    assert max(scores.values()) == 1.0


def test_by_vectors_relevance_is_the_cosine_untouched():
    vectors = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], dtype=np.float32)
    space = VectorSpace({"a": "", "b": "", "c": ""}, [vectors[:2], vectors[2:]], lambda _: vectors[1])
    assert space.search("q", 3) == pytest.approx({"b": 1.0, "c": 0.8, "a": 0.6})
    assert space.vectors(["c", "a"]).tolist() == [[0.0, 1.0], [1.0, 0.0]]
    found = Retriever(space, weights=Weights(1, 0, 0)).diverse("q", 2, source_id="b")
    assert found == pytest.approx({"c": 0.8, "a": 0.6})


def test_threads_get_what_one_thread_gets():
    passages = {str(i): f"word{i % 7} word{i % 5} running dogs {i}" for i in range(50)}
    retriever = Retriever(WordSpace(passages), weights=Weights())
    queries = [f"word{i % 7} dogs word{i % 3}" for i in range(24)]
    alone = [retriever.diverse(query, 4) for query in queries]
    together: dict[int, dict[str, float]] = {}

    def work(start):
        for i in range(start, len(queries), 4):
            together[i] = retriever.diverse(queries[i], 4)

    threads = [threading.Thread(target=work, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [together[i] for i in range(len(queries))] == alone
