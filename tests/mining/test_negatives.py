"""One row's negatives, as they are written."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sharprank.mining.candidates import Searching, find_candidates
from sharprank.mining.config import MineConfig
from sharprank.mining.negatives import MinedRow, RowMiner
from sharprank.records import TrainRow
from sharprank.retrieval import filters
from sharprank.retrieval.filters import fold, plain


def row(query="q", pos=("the positive 0.95",), neg=(), **more) -> TrainRow:
    fields = {"query": query, "pos": list(pos), "neg": list(neg), **more}
    return TrainRow(query, tuple(pos), tuple(neg), fields=fields)


@pytest.fixture
def mine(encoder, ladder, store, cache):
    """Mine the first of some rows from the ladder and more passages."""

    def run(*rows: TrainRow, extra=(), window="0-10", number=3, k=60, **flags) -> MinedRow:
        config = MineConfig(
            input_file="in", output_file="out", range_for_sampling=window, negative_number=number, **flags
        )
        texts = [text for r in rows for text in r.positives] if config.output_scores else ()
        pool = store([*extra, *ladder])
        candidates = find_candidates(
            encoder,
            pool,
            store([r.query for r in rows], exact=True),
            Searching(k=min(k, len(pool)), cache=cache),
            about_encoder={"model": encoder.name},
            beside=store(text for text in texts if pool.find(text) is None),
        )
        positives: dict[str, list[str]] = {}
        for r in rows:
            positives.setdefault(fold(r.query), []).extend(r.positives)
        return RowMiner(config, candidates, positives).mine(rows[0])

    return run


def test_negatives_come_from_the_window_and_nowhere_else(mine, ladder):
    mined = mine(row(), window="5-9", number=4)
    assert mined.record["neg"] == ladder[5:9]


def test_ranks_count_positives_too_as_the_reference_does(mine, ladder):
    mined = mine(row(pos=ladder[:2]), window="0-4", number=2)
    assert mined.record["neg"] == ladder[2:4]


def test_a_positive_of_the_row_is_never_a_negative(mine, ladder):
    mined = mine(row(pos=[ladder[0], ladder[4].upper() + "."]), window="0-6", number=6)
    assert mined.record["neg"] == [ladder[1], ladder[2], ladder[3], ladder[5]]
    assert mined.selection.refused == {filters.POSITIVE: 2}


@pytest.mark.parametrize("other_query", ["Q", " q ", "q"])
def test_a_positive_of_another_row_with_the_same_query_is_never_a_negative(mine, ladder, other_query):
    mined = mine(row(), row(query=other_query, pos=[ladder[2]]), window="0-5", number=5)
    assert ladder[2] not in mined.record["neg"]
    assert mined.selection.refused == {filters.SAME_QUERY_POSITIVE: 1}


def test_a_positive_of_another_query_may_be_a_negative(mine, ladder):
    mined = mine(row(), row(query="another", pos=[ladder[2]]), window="0-5", number=5)
    assert ladder[2] in mined.record["neg"]


def test_a_near_duplicate_of_a_positive_is_never_a_negative(mine):
    text = " ".join(f"word{i}" for i in range(60))
    twin = f"Title 0.99. {text}"
    mined = mine(row(pos=[text]), extra=[twin], window="0-3", number=3)
    assert twin not in mined.record["neg"]
    assert mined.selection.refused == {filters.NEAR_POSITIVE: 1}
    assert twin in mine(row(pos=[text]), extra=[twin], window="0-3", number=3, near_duplicate=2.0).record["neg"]


def test_the_query_itself_is_never_a_negative(mine):
    mined = mine(row(query="what is 0.99"), extra=["What is 0.99?"], window="0-3", number=3)
    assert mined.selection.refused == {filters.QUERY: 1}


def test_two_spellings_of_one_passage_are_one_negative(mine, ladder):
    mined = mine(row(), extra=[ladder[0].upper(), ladder[0] + "!"], window="0-4", number=4)
    assert len(mined.record["neg"]) == 2
    assert mined.selection.refused == {filters.DUPLICATE: 2}


def test_too_few_candidates_give_what_there_is(mine, ladder):
    assert mine(row(pos=ladder[:4]), window="0-6", number=5).record["neg"] == ladder[4:6]


def test_topping_up_fills_from_the_pool_under_the_same_exclusions(mine, ladder):
    mined = mine(row(pos=ladder[:4]), window="2-6", number=30, top_up="random")
    negatives = mined.record["neg"]
    assert len(negatives) == len(set(negatives)) == 30
    assert not set(negatives) & set(ladder[:4])
    assert mined.selection.num_random == 28


def test_the_rows_own_negatives_are_replaced(mine, ladder):
    assert mine(row(neg=["own 0.10"]), number=3, window="0-3").record["neg"] == ladder[:3]


def test_the_rows_own_negatives_are_kept_first_when_asked(mine, ladder):
    mined = mine(row(neg=["own one", ladder[1], "own one "]), number=3, window="0-5", keep_existing=True)
    assert mined.record["neg"][:2] == ["own one", ladder[1]]
    assert len(mined.record["neg"]) == 5
    assert mined.record["neg"].count(ladder[1]) == 1
    assert mined.dropped == {filters.DUPLICATE: 1}


def test_an_own_negative_that_is_a_positive_or_the_query_is_not_kept(mine):
    mined = mine(row(neg=["The positive 0.95!", "Q", "fine"]), keep_existing=True)
    assert mined.kept == ("fine",)
    assert mined.dropped == {filters.POSITIVE: 1, filters.QUERY: 1}


@pytest.mark.parametrize("keep", [True, False])
def test_stale_teacher_scores_never_survive(mine, keep):
    mined = mine(row(neg=["own"], neg_scores=[0.3], neg_rank=[7], neg_similarity=[0.1]), keep_existing=keep)
    assert not {"neg_scores", "neg_rank", "neg_similarity"} & set(mined.record)
    assert mined.had_scores


def test_other_keys_and_their_order_stay(mine):
    source = TrainRow("q", ("p",), (), fields={"id": 7, "neg": ["x"], "query": "q", "type": {"a": 1}, "pos": ["p"]})
    assert list(mine(source).record) == ["id", "neg", "query", "type", "pos"]
    assert mine(source).record["type"] == {"a": 1}


def test_a_row_without_neg_gets_it_at_the_end_and_one_positive_becomes_a_list(mine):
    source = TrainRow("q", ("p",), (), fields={"pos": "p", "query": "q"})
    assert list(mine(source).record) == ["pos", "query", "neg"]
    assert mine(source).record["pos"] == ["p"]


def test_keys_of_other_names_are_read_and_written(mine):
    source = TrainRow("q", ("p",), ("n",), fields={"q": "q", "good": ["p"], "bad": ["n"], "bad_scores": [1.0]})
    record = mine(source, positive_key="good", negative_key="bad", neg_scores_key="bad_scores").record
    assert list(record) == ["q", "good", "bad"]
    assert len(record["bad"]) == 3


def test_scores_are_written_beside_each_negative_and_positive(mine, ladder):
    mined = mine(
        row(neg=[ladder[20], "own"]), window="2-4", number=3, top_up="random", keep_existing=True, output_scores=True
    )
    record = mined.record
    assert record["neg"][:4] == [ladder[20], "own", ladder[2], ladder[3]]
    assert record["neg_rank"] == [21, None, 3, 4, None]
    assert record["neg_similarity"][:4] == [pytest.approx(0.59), None, pytest.approx(0.95), pytest.approx(0.93)]
    assert record["neg_similarity"][4] is not None
    assert record["pos_similarity"] == [pytest.approx(0.95)]


def test_without_asking_no_scores_are_written(mine):
    assert list(mine(row()).record) == ["query", "pos", "neg"]


TEXTS = st.text(alphabet="aAb .,!中", min_size=1, max_size=4).filter(str.strip)
ROWS = st.lists(st.tuples(TEXTS, st.lists(TEXTS, min_size=1, max_size=3), st.lists(TEXTS, max_size=3)), min_size=1)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(ROWS, st.lists(TEXTS, max_size=8), st.booleans(), st.sampled_from(["none", "random"]))
def test_whatever_comes_in_no_negative_is_a_positive_the_query_or_there_twice(mine, rows, extra, keep, top_up):
    rows = [row(query, pos, neg) for query, pos, neg in rows]
    texts = [text for r in rows for text in (*r.positives, *r.negatives)]
    mined = mine(*rows, extra=[*texts, *extra], number=8, keep_existing=keep, top_up=top_up)
    negatives = [plain(text) for text in mined.record["neg"]]
    positives = {plain(text) for r in rows if fold(r.query) == fold(rows[0].query) for text in r.positives}
    assert len(negatives) == len(set(negatives))
    assert not set(negatives) & (positives | {plain(rows[0].query)})
    assert len(mined.selection.ids) <= 8
