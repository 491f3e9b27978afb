"""One row's negatives, as they are written."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sharprank.metrics.pairs import sigmoid
from sharprank.mining.config import MineConfig
from sharprank.mining.draft import ABOVE_WINDOW, Candidate
from sharprank.mining.negatives import RowMiner
from sharprank.mining.record import MinedRow, NoYardstick, RecordMaker
from sharprank.mining.sources import IN_BATCH, RANDOM, DrawnSource, RankedSource
from sharprank.mining.teacher import AS_GOOD_AS_A_POSITIVE, PROMOTED, Teacher
from sharprank.records import TrainRow
from sharprank.retrieval import filters
from sharprank.retrieval.filters import fold, plain

from .fakes import ListPool, NumberRanking, NumberScorer


def row(query="q", pos=("the positive 0.95",), neg=(), **more) -> TrainRow:
    fields = {"query": query, "pos": list(pos), "neg": list(neg), **more}
    return TrainRow(query, tuple(pos), tuple(neg), fields=fields)


@pytest.fixture
def mine(ladder, tmp_path_factory):
    """Mine the first of some rows from the ladder and more passages."""

    def run(*rows: TrainRow, extra=(), window="0-10", number=3, scorer=None, with_ids=False, **flags) -> Mined:
        settings = {"range_for_sampling": window, "negative_number": number, "output_scores": False} | flags
        if scorer is not None:
            settings["teacher"] = "teacher"
        config = MineConfig(input_file="in", output_file="out", **settings)
        pool = ListPool([*extra, *ladder], with_ids=with_ids)
        ranking = NumberRanking(pool, k=60, beside=[text for r in rows for text in r.positives])
        makers = {
            RANDOM: lambda name: DrawnSource(name, pool_size=len(pool)),
            IN_BATCH: lambda name: DrawnSource(name, pool_size=len(pool), numbers=np.arange(30, 40)),
        }
        sources = [
            makers.get(spec.name, lambda name: RankedSource(name, ranking, pool.digests))(spec.name)
            for spec in config.source_specs
        ]
        positives: dict[str, dict[str, None]] = {}
        for one in rows:
            positives.setdefault(fold(one.query), {}).update(dict.fromkeys(one.positives))
        teacher = (
            None if scorer is None else Teacher(scorer, folder=tmp_path_factory.mktemp("teacher"), probability=sigmoid)
        )
        miner = RowMiner(config, pool, sources, yardstick=ranking, positives=positives, teacher=teacher)
        mined = next(miner.mine(rows))
        maker = RecordMaker(config, pool, sources, ranking)
        return Mined(mined, maker.record(mined), maker.candidates(mined)["candidates"])

    return run


class Mined:
    """One row as it was mined and written."""

    def __init__(self, mined: MinedRow, record: dict, candidates: list[dict]) -> None:
        self.row, self.record, self.candidates = mined, record, candidates
        self.refused = Counter(one.reason for one in mined.met if one.reason is not None)


def test_negatives_come_from_the_window_and_nowhere_else(mine, ladder):
    mined = mine(row(), window="5-9", number=4)
    assert mined.record["neg"] == ladder[5:9]


def test_ranks_count_positives_too_as_the_reference_does(mine, ladder):
    mined = mine(row(pos=ladder[:2]), window="0-4", number=2)
    assert mined.record["neg"] == ladder[2:4]


def test_a_positive_of_the_row_is_never_a_negative(mine, ladder):
    mined = mine(row(pos=[ladder[0], ladder[4].upper() + "."]), window="0-6", number=6)
    assert mined.record["neg"] == [ladder[1], ladder[2], ladder[3], ladder[5]]
    assert mined.refused == {filters.POSITIVE: 2}


@pytest.mark.parametrize("other_query", ["Q", " q ", "q"])
def test_a_positive_of_another_row_with_the_same_query_is_never_a_negative(mine, ladder, other_query):
    mined = mine(row(), row(query=other_query, pos=[ladder[2]]), window="0-5", number=5)
    assert ladder[2] not in mined.record["neg"]
    assert mined.refused == {filters.SAME_QUERY_POSITIVE: 1}


def test_a_positive_of_another_query_may_be_a_negative(mine, ladder):
    mined = mine(row(), row(query="another", pos=[ladder[2]]), window="0-5", number=5)
    assert ladder[2] in mined.record["neg"]


def test_a_near_duplicate_of_a_positive_is_never_a_negative(mine):
    text = " ".join(f"word{i}" for i in range(60))
    twin = f"Title 0.99. {text}"
    mined = mine(row(pos=[text]), extra=[twin], window="0-3", number=3)
    assert twin not in mined.record["neg"]
    assert mined.refused == {filters.NEAR_POSITIVE: 1}
    assert twin in mine(row(pos=[text]), extra=[twin], window="0-3", number=3, near_duplicate=2.0).record["neg"]


def test_the_query_itself_is_never_a_negative(mine):
    mined = mine(row(query="what is 0.99"), extra=["What is 0.99?"], window="0-3", number=3)
    assert mined.refused == {filters.QUERY: 1}


def test_two_spellings_of_one_passage_are_one_negative(mine, ladder):
    mined = mine(row(), extra=[ladder[0].upper(), ladder[0] + "!"], window="0-4", number=4)
    assert len(mined.record["neg"]) == 2
    assert mined.refused == {filters.DUPLICATE: 2}


def test_too_few_candidates_give_what_there_is(mine, ladder):
    assert mine(row(pos=ladder[:4]), window="0-6", number=5).record["neg"] == ladder[4:6]


def test_topping_up_fills_from_the_pool_under_the_same_exclusions(mine, ladder):
    mined = mine(row(pos=ladder[:4]), window="2-6", number=30, top_up="random")
    negatives = mined.record["neg"]
    assert len(negatives) == len(set(negatives)) == 30
    assert not set(negatives) & set(ladder[:4])
    assert sum(one.rank is None for one in mined.row.negatives) == 28
    assert not set(negatives[2:]) & set(ladder[:2])


def test_the_rows_own_negatives_are_replaced(mine, ladder):
    assert mine(row(neg=["own 0.10"]), number=3, window="0-3").record["neg"] == ladder[:3]


def test_the_rows_own_negatives_are_kept_first_when_asked(mine, ladder):
    mined = mine(row(neg=["own one", ladder[1], "own one "]), number=3, window="0-5", keep_existing=True)
    assert mined.record["neg"][:2] == ["own one", ladder[1]]
    assert len(mined.record["neg"]) == 5
    assert mined.record["neg"].count(ladder[1]) == 1
    assert mined.row.dropped == {filters.DUPLICATE: 1}


def test_an_own_negative_that_is_a_positive_or_the_query_is_not_kept(mine):
    mined = mine(row(neg=["The positive 0.95!", "Q", "fine"]), keep_existing=True)
    assert mined.row.kept == ("fine",)
    assert mined.row.dropped == {filters.POSITIVE: 1, filters.QUERY: 1}


@pytest.mark.parametrize("keep", [True, False])
def test_stale_teacher_scores_never_survive(mine, keep):
    mined = mine(row(neg=["own"], neg_scores=[0.3], neg_rank=[7], neg_similarity=[0.1]), keep_existing=keep)
    assert not {"neg_scores", "neg_rank", "neg_similarity"} & set(mined.record)


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


def test_scores_are_written_unless_they_are_not_wanted(mine):
    assert list(mine(row()).record) == ["query", "pos", "neg"]
    by_default = mine(row(), output_scores=MineConfig(input_file="in", output_file="out").output_scores).record
    assert list(by_default) == ["query", "pos", "neg", "neg_similarity", "neg_rank", "pos_similarity"]


def test_without_a_bi_encoder_there_are_ranks_and_no_similarities(mine, ladder):
    pool = ListPool(ladder)
    found = RankedSource("bm25", NumberRanking(pool, k=60), pool.digests)
    config = MineConfig(input_file="in", output_file="out", sources="bm25")
    mined = MinedRow(row(), negatives=(Candidate(3, "bm25", 2),), positive_similarities=(None,))
    record = RecordMaker(config, pool, [found], NoYardstick()).record(mined)
    assert list(record) == ["query", "pos", "neg", "neg_rank"] and record["neg_rank"] == [2]


def test_ids_are_written_where_the_pool_has_them(mine, ladder):
    own = row(pos=[ladder[0], "unknown 0.5"])
    record = mine(own, window="2-4", number=2, output_scores=True, with_ids=True).record
    assert (record["neg_id"], record["pos_id"]) == (["p2", "p3"], ["p0", None])
    assert "neg_id" not in mine(own, window="2-4", number=2, output_scores=True).record


# --- scores -----------------------------------------------------------------------------------------------------


def test_a_relative_margin_refuses_what_scores_near_the_lowest_positive(mine, ladder):
    own = row(pos=[ladder[0], "a positive 0.90"])  # 95 % of 0.90 is 0.855
    mined = mine(own, window="0-20", number=20, false_negatives="topk_percpos")
    assert [text for text in mined.record["neg"] if float(text[-4:]) >= 0.855] == []
    assert mined.record["neg"][0] == "passage number 7 cosine 0.85"
    assert mined.refused == {filters.POSITIVE: 1, filters.WITHIN_RELATIVE_MARGIN: 6}


def test_a_positive_that_scores_below_zero_still_has_a_line_below_it(mine):
    own = row(pos=["p -0.20"])
    mined = mine(own, extra=["near -0.205", "far -0.30"], window="40-42", number=2, relative_margin=0.05)
    assert mined.record["neg"] == ["far -0.30"]


def test_ceiling_floor_and_margin_each_have_their_reason(mine, ladder):
    flags = {"max_score": 0.95, "min_score": 0.7, "absolute_margin": 0.04}
    mined = mine(row(pos=["a positive 0.92"]), window="0-20", number=20, **flags)
    assert mined.refused == {filters.ABOVE_CEILING: 2, filters.BELOW_FLOOR: 5, filters.WITHIN_MARGIN: 4}
    assert mined.record["neg"] == ladder[6:15]


def test_a_positive_of_unknown_score_allows_no_margin(mine, ladder):
    own = row(pos=["no number and not beside"])
    mined = mine(own, window="0-5", number=5, relative_margin=0.5)
    assert mined.record["neg"] == []  # its cosine is 0, so that every score is within the margin
    assert mined.refused == {filters.WITHIN_RELATIVE_MARGIN: 5}


def test_every_candidate_that_was_met_is_told_with_its_reason(mine, ladder):
    mined = mine(row(pos=[ladder[0], "a positive 0.98"]), window="0-3", number=3, relative_margin=0.02, with_ids=True)
    assert sorted(mined.candidates, key=lambda one: one["rank"]) == [
        {"id": "p0", "number": 0, "source": "dense", "rank": 1, "similarity": 0.99, "reason": filters.POSITIVE},
        {"id": "p1", "number": 1, "source": "dense", "rank": 2, "similarity": 0.97,
         "reason": filters.WITHIN_RELATIVE_MARGIN},
        {"id": "p2", "number": 2, "source": "dense", "rank": 3, "similarity": 0.95, "reason": None},
    ]  # fmt: skip


# --- windows and sources ----------------------------------------------------------------------------------------


def test_several_windows_give_their_numbers(mine):
    mined = mine(row(), window="2-10:3,10-30:5", number=15)
    ranks = [one.rank for one in mined.row.negatives]
    assert [sum(3 <= rank <= 10 for rank in ranks), sum(11 <= rank <= 30 for rank in ranks)] == [3, 5]


def test_sources_give_their_shares_and_draws_stay_below_the_window(mine, ladder):
    mined = mine(row(), window="4-12", number=8, sources="dense:2,random:1,in_batch:1", output_scores=True)
    assert Counter(mined.record["neg_source"]) == {"dense": 4, "random": 2, "in_batch": 2}
    assert all(
        int(text.split()[2]) >= 30
        for text, s in zip(mined.record["neg"], mined.record["neg_source"], strict=True)
        if s == "in_batch"
    )
    everything = mine(row(), window="4-12", number=8, sources="dense:1,random:9", top_up="none")
    assert not set(everything.record["neg"]) & set(ladder[:4])


def test_what_is_above_the_window_is_refused_to_draws_by_that_name(mine):
    mined = mine(row(), window="4-12", number=60, sources="dense:1,random:9")
    assert mined.refused[ABOVE_WINDOW] == 4


# --- the teacher ------------------------------------------------------------------------------------------------


def test_the_teacher_drops_what_it_scores_like_a_positive_and_leaves_scores(mine, ladder):
    extra = ["wrong 0.985 teacher 0.90", "fine 0.965 teacher 0.10"]
    mined = mine(
        row(pos=["the positive 0.95 teacher 0.80"]), extra=extra, window="0-4", number=3, scorer=NumberScorer()
    )
    assert mined.record["neg"] == [ladder[0], ladder[1], "fine 0.965 teacher 0.10"]
    assert mined.record["pos_scores"] == [pytest.approx(0.8)]
    assert mined.record["neg_scores"] == [0.0, 0.0, pytest.approx(0.1)]
    assert mined.refused == {AS_GOOD_AS_A_POSITIVE: 1}
    assert list(mined.record) == ["query", "pos", "neg", "pos_scores", "neg_scores"]


def test_what_it_drops_is_replaced_until_the_row_is_full_or_nothing_is_left(mine, ladder):
    scorer = NumberScorer()
    extra = [f"wrong 0.99{i} teacher 0.9" for i in range(1, 8)]
    own = row(pos=["p 0.95 teacher 0.8"])
    mined = mine(own, extra=extra, window="0-12", number=5, sampling="top", scorer=scorer)
    assert mined.record["neg"] == ladder[:5]
    assert [len(asked) for asked in scorer.asked] == [1, 5, 5, 2]
    assert mine(own, extra=extra, window="0-6", number=5, scorer=scorer).record["neg"] == []


def test_all_rows_are_scored_together(mine):
    scorer = NumberScorer()
    mine(*(row(query=f"q{i}", pos=[f"p{i} teacher 9.9"]) for i in range(20)), number=3, scorer=scorer)
    assert [len(asked) for asked in scorer.asked] == [20, 60]


def test_a_promoted_candidate_becomes_a_positive_with_its_score(mine, ladder):
    twin = "surely 0.991 teacher 3.0"
    own = row(pos=["p 0.95 teacher 2.0"])
    mined = mine(
        own, extra=[twin], window="0-3", number=2, scorer=NumberScorer(), teacher_promote=0.9, output_scores=True
    )
    assert mined.record["pos"] == ["p 0.95 teacher 2.0", twin]
    assert mined.record["pos_scores"] == [2.0, 3.0]
    assert mined.record["pos_similarity"] == [0.95, 0.991]
    assert mined.refused == {PROMOTED: 1}
    assert twin not in mined.record["neg"]


def test_kept_negatives_are_scored_but_stay(mine, ladder):
    mined = mine(
        row(pos=["p teacher 0.5"], neg=["own teacher 0.9"]), number=1, keep_existing=True, scorer=NumberScorer()
    )
    assert mined.record["neg"][0] == "own teacher 0.9"
    assert len(mined.record["neg_scores"]) == 2 and mined.record["neg_scores"][0] == pytest.approx(0.9)


def test_the_order_of_rows_decides_nothing(mine):
    rows = [row(query=f"q{i}", pos=[f"p{i} 0.{50 + i} teacher 0.1"]) for i in range(5)]
    first = mine(*rows, window="0-30", number=7, sampling="log_random", sources="dense:3,random:1").record
    assert (
        mine(rows[0], *rows[:0:-1], window="0-30", number=7, sampling="log_random", sources="dense:3,random:1").record
        == first
    )


TEXTS = st.text(alphabet="aAb .,!中", min_size=1, max_size=4).filter(str.strip)
ROWS = st.lists(st.tuples(TEXTS, st.lists(TEXTS, min_size=1, max_size=3), st.lists(TEXTS, max_size=3)), min_size=1)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ROWS, st.lists(TEXTS, max_size=8), st.booleans(), st.sampled_from(["none", "random"]))
def test_whatever_comes_in_no_negative_is_a_positive_the_query_or_there_twice(mine, rows, extra, keep, top_up):
    rows = [row(query, pos, neg) for query, pos, neg in rows]
    texts = [text for r in rows for text in (*r.positives, *r.negatives)]
    mined = mine(*rows, extra=[*texts, *extra], number=8, keep_existing=keep, top_up=top_up)
    negatives = [plain(text) for text in mined.record["neg"]]
    positives = {plain(text) for r in rows if fold(r.query) == fold(rows[0].query) for text in r.positives}
    assert len(negatives) == len(set(negatives))
    assert not set(negatives) & (positives | {plain(rows[0].query)})
    assert len(mined.row.negatives) <= 8
