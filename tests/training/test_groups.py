"""Groups, batches and micro-batches: cut by group, the same for any number of ranks."""

from __future__ import annotations

import numpy as np
import pytest

from sharprank.errors import UserError
from sharprank.models.pair_text import PairTokenizer
from sharprank.records import Group
from sharprank.training.groups import DrawKey, GroupDataset, GroupSampler, group_loader, join_groups


def make_rows(num_rows=10, num_negatives=6):
    return [
        row(
            f"query number {i}",
            (f"the passage {i} " * (1 + i % 4), f"another passage {i}"),
            tuple(f"dog {i} house {j} " * (1 + j) for j in range(num_negatives)),
        )
        for i in range(num_rows)
    ]


def row(query, positives, negatives):
    relevance = (1.0,) * len(positives) + (0.0,) * len(negatives)
    return Group(query, (*positives, *negatives), relevance)


@pytest.fixture
def pair_tokenizer(tiny_tokenizer):
    return PairTokenizer(tiny_tokenizer, max_length=64)


@pytest.fixture
def dataset(pair_tokenizer):
    return GroupDataset(make_rows(), pair_tokenizer, group_size=4, seed=3, progress=False)


def sampler(dataset, *, groups=4, rank=0, world=1, seed=0, drop_last=False):
    return GroupSampler(dataset, groups_per_rank=groups, rank=rank, world_size=world, seed=seed, drop_last=drop_last)


def test_a_group_is_one_positive_and_g_minus_one_negatives_of_its_row(dataset, pair_tokenizer):
    group = dataset[DrawKey(2, 0)]
    assert group.group_lengths == (4,)
    assert group.targets["relevance"].tolist() == [1, 0, 0, 0]
    row = make_rows()[2]
    own = {tuple(pair_tokenizer.encode([(row.query, p)])[0][0].tolist()) for p in row.passages[:2]}
    others = {tuple(pair_tokenizer.encode([(row.query, p)])[0][0].tolist()) for p in row.passages[2:]}
    pairs = np.split(group.tokens.ids, np.cumsum(group.tokens.lengths)[:-1])
    assert tuple(pairs[0].tolist()) in own
    assert len({tuple(pair.tolist()) for pair in pairs[1:]} & others) == 3


def test_positives_and_negatives_change_with_the_epoch_and_repeat_with_the_seed(dataset, pair_tokenizer):
    drawn = [dataset.members(DrawKey(1, epoch)).tolist() for epoch in range(4)]
    assert len({tuple(members) for members in drawn}) > 1
    assert len({members[0] for members in drawn}) == 2  # both positives get their turn
    again = GroupDataset(make_rows(), pair_tokenizer, group_size=4, seed=3, progress=False)
    assert [again.members(DrawKey(1, epoch)).tolist() for epoch in range(4)] == drawn


def test_the_draw_follows_the_row_and_not_its_place_in_the_file(pair_tokenizer):
    rows = make_rows()
    forward = GroupDataset(rows, pair_tokenizer, group_size=4, seed=3, progress=False)
    backward = GroupDataset(rows[::-1], pair_tokenizer, group_size=4, seed=3, progress=False)
    assert forward[DrawKey(2, 5)].tokens.ids.tolist() == backward[DrawKey(7, 5)].tokens.ids.tolist()


def test_rows_with_few_negatives_give_smaller_groups(pair_tokenizer):
    dataset = GroupDataset(make_rows(3, num_negatives=1), pair_tokenizer, group_size=8, seed=0, progress=False)
    assert dataset[DrawKey(0, 0)].group_lengths == (2,)


def graded(relevance, teacher=None):
    return Group("a query", tuple(f"dog {i} house" for i in range(len(relevance or teacher))), relevance, teacher)


def test_graded_relevance_gives_every_grade_its_turn_and_positives_come_first(pair_tokenizer):
    groups = [graded((0.0, 1.0, 0.5, 0.0, 0.5, 0.0, 0.0))]
    dataset = GroupDataset(groups, pair_tokenizer, group_size=5, max_positives=None, seed=0, progress=False)
    for epoch in range(4):
        assert dataset[DrawKey(0, epoch)].targets["relevance"].tolist() == [1, 0.5, 0.5, 0, 0]
    used = {int(member) for epoch in range(2) for member in dataset.members(DrawKey(0, epoch))}
    assert used == set(range(7))  # 4 irrelevant ones, 2 an epoch


@pytest.mark.parametrize(("size", "max_positives"), [(8, None), (8, 4), (1, None)])
def test_more_grades_than_places_get_them_in_turn_over_the_epochs(pair_tokenizer, size, max_positives):
    groups = [graded(tuple(range(20, 0, -1)))]
    given = {"group_size": size, "max_positives": max_positives, "seed": 0, "progress": False}
    dataset = GroupDataset(groups, pair_tokenizer, **given)
    drawn = [dataset.members(DrawKey(0, epoch)).tolist() for epoch in range(20)]
    assert set().union(*drawn) == set(range(20))
    if size > 1:
        assert all(members == sorted(members) and {0, 19} <= set(members) for members in drawn)
        assert {len(members) for members in drawn} == {8 if max_positives is None else 5}
    again = GroupDataset([graded((1.0, 0.0)), *groups], pair_tokenizer, **given)
    assert [again.members(DrawKey(1, epoch)).tolist() for epoch in range(20)] == drawn


def test_grades_that_fit_are_drawn_as_ever(pair_tokenizer):
    groups = [graded(tuple(float(i % 8) for i in range(24)))]
    dataset = GroupDataset(groups, pair_tokenizer, group_size=8, max_positives=None, seed=5, progress=False)
    assert [dataset.members(DrawKey(0, epoch)).tolist() for epoch in range(2)] == [
        [7, 22, 13, 20, 19, 18, 1, 0],
        [23, 6, 21, 4, 3, 2, 17, 8],
    ]
    fewer = GroupDataset(groups, pair_tokenizer, group_size=8, max_positives=2, seed=5, progress=False)
    assert [fewer.members(DrawKey(0, epoch)).tolist() for epoch in range(2)] == [[7, 22, 0, 8, 16], [23, 6, 0, 8, 16]]


def test_several_positives_a_group_leave_the_other_places_to_negatives(pair_tokenizer):
    groups = [graded((1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0))]
    dataset = GroupDataset(groups, pair_tokenizer, group_size=5, max_positives=2, seed=0, progress=False)
    assert dataset[DrawKey(0, 0)].targets["relevance"].tolist() == [1, 1, 0, 0, 0]


def test_teacher_scores_stay_with_their_passages_and_need_no_relevance(pair_tokenizer):
    teacher = (-1.0, 3.5, 2.0, 0.25)
    for relevance in (None, (0.0, 1.0, 0.0, 0.0)):
        groups = [graded(relevance, teacher)]
        dataset = GroupDataset(groups, pair_tokenizer, group_size=3, seed=0, progress=False)
        for epoch in range(3):
            members = dataset.members(DrawKey(0, epoch))
            assert dataset[DrawKey(0, epoch)].targets["teacher_scores"].tolist() == [teacher[i] for i in members]


def test_pieces_of_a_batch_hold_whole_pairs_under_the_budget_in_order(dataset):
    batch = join_groups([dataset[DrawKey(row, 0)] for row in range(3)])
    for budget in (1, 20, 60, 10_000):
        pieces = batch.pieces(budget)
        assert np.concatenate([piece.ids for piece in pieces]).tolist() == batch.tokens.ids.tolist()
        assert sum((piece.lengths for piece in pieces), ()) == batch.tokens.lengths
        assert all(piece.num_tokens <= budget or len(piece.lengths) == 1 for piece in pieces)


def test_a_short_last_batch_is_cut_at_the_same_seams(dataset):
    batches = list(group_loader(dataset, sampler(dataset), num_workers=0))
    assert [len(batch.group_lengths) for batch in batches] == [4, 4, 2]
    for batch in batches:
        assert batch.targets["relevance"].reshape(-1, 4).tolist() == [[1, 0, 0, 0]] * len(batch.group_lengths)
        assert len(batch.tokens.lengths) == sum(batch.group_lengths)


def test_micro_batches_hold_whole_groups_under_the_budget_and_lose_nothing(dataset):
    batch = join_groups([dataset[DrawKey(row, 0)] for row in range(10)])
    for budget in (1, 60, 150, 10_000):
        parts = list(batch.micro_batches(budget))
        assert sum((part.group_lengths for part in parts), ()) == batch.group_lengths
        assert np.concatenate([part.tokens.ids for part in parts]).tolist() == batch.tokens.ids.tolist()
        assert (
            np.concatenate([part.targets["relevance"] for part in parts]).tolist()
            == batch.targets["relevance"].tolist()
        )
        for part in parts:
            assert part.tokens.num_tokens <= budget or len(part.group_lengths) == 1
    assert len(list(batch.micro_batches(10_000))) == 1


@pytest.mark.parametrize("world", [2, 3])
def test_the_groups_of_a_step_do_not_depend_on_the_number_of_ranks(dataset, world):
    alone = list(sampler(dataset, groups=2 * world))
    ranks = [list(sampler(dataset, groups=2, rank=rank, world=world)) for rank in range(world)]
    assert {len(steps) for steps in ranks} == {len(alone)}
    for step, keys in enumerate(alone):
        shared = [key for steps in ranks for key in steps[step] if key.counted]
        assert sorted(key.row for key in shared) == sorted(key.row for key in keys)


def test_ranks_get_about_the_same_number_of_tokens(pair_tokenizer):
    rows = [
        row(f"query {i}", (f"cat {i}",), tuple(f"dog {j} " * (1 + (i * i) % 13) for j in range(3))) for i in range(40)
    ]
    dataset = GroupDataset(rows, pair_tokenizer, group_size=4, seed=0, progress=False)
    ranks = [list(sampler(dataset, groups=4, rank=rank, world=2)) for rank in range(2)]
    for step in range(5):
        loads = [sum(dataset.group_tokens(key) for key in steps[step]) for steps in ranks]
        assert max(loads) <= 1.1 * min(loads)


def test_a_rank_without_work_repeats_a_group_that_does_not_count(dataset):
    ranks = [list(sampler(dataset, groups=3, rank=rank, world=3)) for rank in range(3)]  # 9 groups, then 1
    last = [steps[-1] for steps in ranks]
    assert sorted(len([key for key in keys if key.counted]) for keys in last) == [0, 0, 1]
    assert all(len(keys) == 1 for keys in last)


def test_every_epoch_has_its_own_order_and_uses_every_row_once(dataset):
    batches = sampler(dataset)
    orders = []
    for epoch in (0, 1):
        batches.set_epoch(epoch)
        orders.append([key.row for keys in batches for key in keys])
        assert sorted(orders[-1]) == list(range(10))
    assert orders[0] != orders[1]


def test_drop_last_leaves_out_the_short_batch_and_refuses_to_leave_out_everything(dataset):
    assert len(sampler(dataset, drop_last=True)) == 2
    with pytest.raises(UserError, match="fewer than one global batch"):
        sampler(dataset, groups=11, drop_last=True)


def test_the_estimate_of_a_groups_tokens_is_right_where_pairs_are_spliced(dataset):
    for row in range(10):
        assert dataset.group_tokens(DrawKey(row, 1)) == dataset[DrawKey(row, 1)].tokens.num_tokens


def test_batches_are_the_same_with_worker_processes(dataset):
    alone = [batch.tokens.ids.tolist() for batch in group_loader(dataset, sampler(dataset), num_workers=0)]
    workers = [batch.tokens.ids.tolist() for batch in group_loader(dataset, sampler(dataset), num_workers=2)]
    assert workers == alone
