"""Losses against hand numbers and other libraries; sums that add up over any cut into micro-batches."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sharprank.losses.catalog import LOSSES, Objective, make_objective
from sharprank.losses.distillation import kl
from sharprank.losses.groups import num_comparisons
from sharprank.losses.listwise import listmle, listnet, listwise_ce, plistmle
from sharprank.losses.pairwise import lambda_loss, margin_mse, ranknet
from sharprank.losses.pointwise import bce, mse

GRADES = (1.0, 0.0, 0.5, 0.0, 0.25, 0.75, 0.0, 0.5, 1.0)


def ragged(lengths: list[int]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """(scores, targets) of groups that each hold several grades."""
    generator = torch.Generator().manual_seed(sum(lengths))
    scores = torch.randn(sum(lengths), generator=generator, dtype=torch.float64).float()
    teacher = 4 * torch.randn(sum(lengths), generator=generator, dtype=torch.float64).float()
    relevance = torch.tensor([grade for n in lengths for grade in GRADES[:n]])
    return scores, {"relevance": relevance, "teacher_scores": teacher}


def part_of(targets, start, stop):
    return {name: values[start:stop] for name, values in targets.items()}


def test_listwise_ce_of_equal_scores_is_ln_of_the_group_length():
    loss = listwise_ce(torch.zeros(10), [8, 2], torch.tensor([1.0] + [0.0] * 7 + [1.0, 0.0]))
    assert loss.item() == pytest.approx(math.log(8) + math.log(2), abs=1e-6)


def test_listwise_ce_by_hand():
    # scores 2, 1, 0: softmax of the first is e^2 / (e^2 + e + 1) = 0.66524
    loss = listwise_ce(torch.tensor([2.0, 1.0, 0.0]), [3], torch.tensor([1.0, 0.0, 0.0]))
    assert loss.item() == pytest.approx(-math.log(0.6652409557748219), abs=1e-6)


def test_listwise_ce_is_torch_cross_entropy_on_full_groups():
    scores = torch.randn(15, generator=torch.Generator().manual_seed(0))
    relevance = torch.tensor([1.0, 0, 0, 0, 0] * 3)
    expected = torch.nn.functional.cross_entropy(scores.view(3, 5), torch.zeros(3, dtype=torch.long), reduction="sum")
    torch.testing.assert_close(listwise_ce(scores, [5, 5, 5], relevance), expected)


def test_several_positives_share_the_target_and_grades_divide_it_by_their_relevance():
    scores = torch.tensor([1.0, 3.0, 0.5])
    log_p = torch.log_softmax(scores, 0)
    loss = listwise_ce(scores, [3], torch.tensor([1.0, 1.0, 0.0]))
    assert loss.item() == pytest.approx(-(log_p[0] + log_p[1]).item() / 2, abs=1e-6)
    graded = listwise_ce(scores, [3], torch.tensor([0.75, 0.25, 0.0]))
    assert graded.item() == pytest.approx(-(0.75 * log_p[0] + 0.25 * log_p[1]).item(), abs=1e-6)


def test_pointwise_losses_by_hand():
    scores, relevance = torch.tensor([0.0, 2.0]), torch.tensor([1.0, 0.25])
    p = 1 / (1 + math.exp(-2))
    assert mse(scores, [2], relevance).item() == pytest.approx(0.25 + (p - 0.25) ** 2, abs=1e-6)
    expected = 3 * math.log(2) - (3 * 0.25 * math.log(p) + 0.75 * math.log(1 - p))
    assert bce(scores, [2], relevance, pos_weight=3.0).item() == pytest.approx(expected, abs=1e-6)


def test_ranknet_by_hand():
    # 1 > 0.5 > 0: three comparisons, differences 1, 3 and 2
    loss = ranknet(torch.tensor([3.0, 2.0, 0.0]), [3], torch.tensor([1.0, 0.5, 0.0]))
    assert loss.item() == pytest.approx(sum(math.log1p(math.exp(-d)) for d in (1, 3, 2)), abs=1e-6)


def test_margin_mse_by_hand():
    # margins of the student 1 and 3, of the teacher 4 and 6
    loss = margin_mse(torch.tensor([3.0, 2.0, 0.0]), [3], torch.tensor([1.0, 0, 0]), torch.tensor([10.0, 6.0, 4.0]))
    assert loss.item() == pytest.approx(9 + 9, abs=1e-6)


def test_listmle_is_minus_log_of_the_probability_of_the_right_order():
    # e^1 / (e^1 + e^2 + e^0) x e^2 / (e^2 + e^0): the order 1.0, 0.5, 0.0 of relevance
    e = [math.exp(s) for s in (1, 2, 0)]
    expected = -math.log(e[0] / sum(e)) - math.log(e[1] / (e[1] + e[2]))
    loss = listmle(torch.tensor([2.0, 1.0, 0.0]), [3], torch.tensor([0.5, 1.0, 0.0]))
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_plistmle_weighs_the_first_draw_most():
    e = [math.exp(s) for s in (1, 2, 0)]
    expected = -0.75 * math.log(e[0] / sum(e)) - 0.25 * math.log(e[1] / (e[1] + e[2]))  # (2^2 - 1, 2^1 - 1, 0) / 4
    loss = plistmle(torch.tensor([2.0, 1.0, 0.0]), [3], torch.tensor([0.5, 1.0, 0.0]))
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_plistmle_of_a_long_group_does_not_overflow():
    loss = plistmle(torch.zeros(300), [300], torch.linspace(1, 0, 300))
    assert torch.isfinite(loss) and loss.item() == pytest.approx(math.log(300), abs=0.02)


def test_kl_by_hand_with_both_temperatures():
    student = np.exp(np.array([1.0, 0.0]) / 2)
    teacher = np.exp(np.array([6.0, 2.0]) / 4)
    p, q = student / student.sum(), teacher / teacher.sum()
    loss = kl(torch.tensor([1.0, 0.0]), [2], torch.tensor([6.0, 2.0]), student_temperature=2.0, teacher_temperature=4.0)
    assert loss.item() == pytest.approx(float((q * np.log(q / p)).sum()), abs=1e-6)


def test_the_lambda_loss_bounds_what_is_missing_to_the_ideal_ndcg():
    # Wang et al., theorem 2: NDCG-Loss2 >= 1 - NDCG. Ours adds LambdaRank's weights, and weighs the bound by 10.
    relevance = torch.tensor([1.0, 0.5, 0.0, 0.0])
    gains = 2 ** np.array([1.0, 0.5, 0.0, 0.0]) - 1
    ideal = (gains / np.log2(np.arange(2, 6))).sum()
    for order in itertools.permutations(range(4)):
        scores = torch.tensor([float(4 - order.index(i)) for i in range(4)])
        ndcg = (gains[list(order)] / np.log2(np.arange(2, 6))).sum() / ideal
        assert lambda_loss(scores, [4], relevance).item() >= 10 * (1 - ndcg) - 1e-5


QUERIES = ["what is a cat", "read the file"]
GROUPS = [["a cat is small", "the dog", "blue river"], ["open and read it", "a tree", "green house and the river"]]
LABELS = [torch.tensor([1.0, 0.5, 0.0]), torch.tensor([0.75, 0.25, 0.0])]


@pytest.fixture
def still_model(tiny_bert):
    """(model without dropout in training mode, tokenizer): what the other libraries compute their losses on."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    model = AutoModelForSequenceClassification.from_pretrained(tiny_bert, dtype=torch.float32, **still)
    return model.train(), AutoTokenizer.from_pretrained(tiny_bert)


@pytest.fixture
def their_model(tiny_bert):
    from sentence_transformers import CrossEncoder

    return CrossEncoder(str(tiny_bert), device="cpu").eval()


def scores_of(model, tokenizer):
    pairs = [[query, passage] for query, group in zip(QUERIES, GROUPS, strict=True) for passage in group]
    batch = tokenizer(pairs, padding=True, return_tensors="pt")
    return model(**batch).logits[:, 0], batch


@pytest.mark.parametrize("teacher", [None, [2.0, -1.0, 0.5, 3.0, 1.0, 0.0]])
def test_the_objective_is_the_loss_of_flag_embeddings_reranker(teacher, still_model):
    """Theirs has the teacher's cross-entropy where ours has its divergence: they differ by the teacher's entropy."""
    from FlagEmbedding.finetune.reranker.encoder_only.base.modeling import CrossEncoderModel

    model, tokenizer = still_model
    scores, batch = scores_of(model, tokenizer)
    theirs = CrossEncoderModel(model, tokenizer=tokenizer, train_batch_size=2).train()
    expected = theirs(pair=batch, teacher_scores=teacher).loss
    objective = make_objective("listwise_ce", distillation_weight=1.0 if teacher else 0.0)
    targets = {"relevance": torch.tensor([1.0, 0, 0] * 2)}
    entropy = torch.tensor(0.0)
    if teacher:
        targets["teacher_scores"] = torch.tensor(teacher)
        entropy = torch.distributions.Categorical(logits=torch.tensor(teacher).view(2, 3)).entropy().mean()
    ours = objective.total(scores, [3, 3], targets, [1 / n for n in objective.counts([3, 3], targets)])
    torch.testing.assert_close(ours + entropy, expected)


@pytest.mark.parametrize(("name", "pos_weight"), [("bce", None), ("bce", 3.0), ("mse", None)])
def test_pointwise_losses_are_those_of_sentence_transformers(name, pos_weight, still_model, their_model):
    from sentence_transformers.cross_encoder import losses

    scores, _ = scores_of(*still_model)
    if name == "bce":
        weight = None if pos_weight is None else torch.tensor(pos_weight)
        theirs = losses.BinaryCrossEntropyLoss(their_model, pos_weight=weight)
    else:
        theirs = losses.MSELoss(their_model, activation_fn=torch.nn.Sigmoid())
    queries = [query for query in QUERIES for _ in range(3)]
    labels = torch.cat(LABELS)
    expected = theirs([queries, [passage for group in GROUPS for passage in group]], labels)
    objective = make_objective(name, pos_weight=pos_weight or 1.0)
    ours = objective.total(scores, [3, 3], {"relevance": labels}, [1 / 6])
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


def test_margin_mse_is_that_of_sentence_transformers(still_model, their_model):
    from sentence_transformers.cross_encoder.losses import MarginMSELoss

    scores, _ = scores_of(*still_model)
    teacher = torch.tensor([[9.0, 2.0, 1.0], [5.0, 4.5, -3.0]])
    columns = [QUERIES, *([group[i] for group in GROUPS] for i in range(3))]
    expected = MarginMSELoss(their_model)(columns, teacher)
    relevance = torch.tensor([1.0, 0, 0] * 2)
    ours = margin_mse(scores, [3, 3], relevance, teacher.flatten()) / num_comparisons(relevance.numpy(), [3, 3])
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


def theirs_of(name, model):
    from sentence_transformers.cross_encoder import losses

    return {
        "ranknet": lambda: losses.RankNetLoss(model, reduction_log="natural"),
        "lambda": lambda: losses.LambdaLoss(model),
        "listnet": lambda: losses.ListNetLoss(model),
        "listmle": lambda: losses.ListMLELoss(model, respect_input_order=False),
        "plistmle": lambda: losses.PListMLELoss(model, respect_input_order=False),
    }[name]()


@pytest.mark.parametrize("name", ["ranknet", "lambda", "listnet", "listmle", "plistmle"])
@pytest.mark.parametrize("sizes", [(3, 3), (3, 2)])
def test_list_losses_are_those_of_sentence_transformers(name, sizes, still_model, their_model):
    """Theirs is a mean over comparisons for `lambda`, over groups for the others; the sums must agree."""
    scores, _ = scores_of(*still_model)
    scores = torch.cat([scores[: sizes[0]], scores[3 : 3 + sizes[1]]])
    labels = [label[:n] for label, n in zip(LABELS, sizes, strict=True)]
    passages = [group[:n] for group, n in zip(GROUPS, sizes, strict=True)]
    relevance = torch.cat(labels)
    expected = theirs_of(name, their_model)([QUERIES, passages], labels)
    count = num_comparisons(relevance.numpy(), sizes) if name in ("ranknet", "lambda") else 2
    ours = LOSSES[name].total(scores, sizes, {"relevance": relevance}) / count
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


def test_kl_is_sentence_transformers_listnet_on_teacher_scores_but_for_the_entropy(still_model, their_model):
    scores, _ = scores_of(*still_model)
    teacher = torch.tensor([[2.0, -1.0, 0.5], [3.0, 1.0, 0.0]])
    expected = theirs_of("listnet", their_model)([QUERIES, GROUPS], list(teacher))
    entropy = torch.distributions.Categorical(logits=teacher).entropy().mean()
    torch.testing.assert_close(kl(scores, [3, 3], teacher.flatten()) / 2 + entropy, expected, atol=1e-5, rtol=1e-5)


@settings(max_examples=25)
@given(lengths=st.lists(st.integers(2, 9), min_size=1, max_size=6), data=st.data())
@pytest.mark.parametrize("name", sorted(LOSSES))
def test_the_sum_does_not_depend_on_how_the_groups_are_cut(name, lengths, data):
    loss = LOSSES[name]
    scores, targets = ragged(lengths)
    cut = data.draw(st.integers(0, len(lengths)))
    at = sum(lengths[:cut])
    parts = [
        (scores[:at], lengths[:cut], part_of(targets, 0, at)),
        (scores[at:], lengths[cut:], part_of(targets, at, None)),
    ]
    parts = [part for part in parts if part[1]]
    total = sum(loss.total(*part).item() for part in parts)
    assert total == pytest.approx(loss.total(scores, lengths, targets).item(), rel=1e-4, abs=1e-5)
    assert loss.count(lengths, targets) == sum(loss.count(part[1], part[2]) for part in parts)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_a_short_group_is_not_filled_up_with_somebody_elses_pairs(name):
    loss, lengths = LOSSES[name], [3, 8, 2]
    scores, targets = ragged(lengths)
    ends = np.cumsum([0, *lengths])
    alone = [loss.total(scores[a:b], [int(b - a)], part_of(targets, a, b)).item() for a, b in itertools.pairwise(ends)]
    assert loss.total(scores, lengths, targets).item() == pytest.approx(sum(alone), rel=1e-5)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_gradients_of_ragged_groups_and_extreme_scores_are_finite_and_point_the_right_way(name):
    scores = torch.tensor([0.0, 0.0, -80.0, 0.0, 90.0], requires_grad=True)
    targets = {
        "relevance": torch.tensor([1.0, 0.0, 1.0, 0.5, 0.0]),
        "teacher_scores": torch.tensor([4.0, -4.0, 5.0, 0.0, -5.0]),
    }
    loss = LOSSES[name].total(scores, [2, 3], targets)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(scores.grad).all()
    assert scores.grad[0] < 0 < scores.grad[1]  # up with the relevant one, down with the other


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_every_loss_falls_along_its_own_gradient(name):
    scores, targets = ragged([4, 7, 2])
    scores.requires_grad_()
    before = LOSSES[name].total(scores, [4, 7, 2], targets)
    (gradient,) = torch.autograd.grad(before, scores)
    after = LOSSES[name].total((scores - 1e-3 * gradient).detach(), [4, 7, 2], targets)
    assert after.item() < before.item()


def test_every_loss_names_its_paper():
    assert all(loss.paper for loss in LOSSES.values())


def test_an_objective_of_two_losses_divides_each_by_its_own_count():
    scores, targets = ragged([3, 4])
    objective = make_objective("bce", distillation_weight=0.5, student_temperature=2.0)
    assert objective.counts([3, 4], targets) == [7, 2]
    assert objective.needs == ("relevance", "teacher_scores") and objective.compares
    expected = bce(scores, [3, 4], targets["relevance"]) / 7
    expected += 0.5 * kl(scores, [3, 4], targets["teacher_scores"], student_temperature=2.0) / 2
    torch.testing.assert_close(objective.total(scores, [3, 4], targets, [1 / 7, 1 / 2]), expected)
    assert str(objective) == "bce + 0.5 x kl"


def test_an_objective_of_one_loss_is_that_loss():
    scores, targets = ragged([3, 4])
    objective = Objective.of(LOSSES["listnet"])
    torch.testing.assert_close(
        objective.total(scores, [3, 4], targets, [0.5]), listnet(scores, [3, 4], targets["relevance"]) / 2
    )
