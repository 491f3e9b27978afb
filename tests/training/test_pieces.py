"""A group longer than a forward pass: the gradients are those of the whole, and the memory is that of a piece."""

from __future__ import annotations

import pytest
import torch

from sharprank.losses.catalog import LOSSES, make_objective
from sharprank.models.batches import model_inputs
from sharprank.models.cross_encoder import load_cross_encoder
from sharprank.models.dropout import set_dropout, use_byte_dropout
from sharprank.models.pair_text import PairTokenizer
from sharprank.records import Group
from sharprank.training.groups import DrawKey, GroupDataset
from sharprank.training.pieces import RandomState, learn_in_pieces

BUDGET = 40


@pytest.fixture
def batch_and_model(tiny_bert):
    model, tokenizer = load_cross_encoder(str(tiny_bert))
    use_byte_dropout(model)
    passages = tuple(f"the dog {i} of the house " * (1 + i % 3) for i in range(12))
    relevance = tuple(value / 4 for value in (4, 0, 2, 0, 1, 3, 0, 0, 2, 0, 1, 0))
    group = Group("where is the dog", passages, relevance, tuple(float(-i % 5) for i in range(12)))
    tokenizer = PairTokenizer(tokenizer, max_length=64)
    dataset = GroupDataset([group], tokenizer, group_size=12, max_positives=None, seed=0, progress=False)
    return dataset[DrawKey(0, 0)], model.train()


def scorer(model):
    def score(tokens):
        inputs = model_inputs(tokens, model.config, device=torch.device("cpu"), token_types=True)
        return model(**inputs).logits[:, 0].float()

    return score


def gradients(model):
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


def loss_of(name, batch):
    objective = make_objective(name)
    targets = {key: torch.from_numpy(values) for key, values in batch.targets.items()}
    return lambda scores: objective.total(scores, batch.group_lengths, targets, [1.0])


def step(compute, *, last):
    compute().backward()


def in_pieces(batch, model, loss, *, step=step, **options):
    return learn_in_pieces(batch.pieces(BUDGET), score=scorer(model), loss=loss, step=step, **options)


def assert_same(left, right):
    assert left.keys() == right.keys()
    for name in left:
        size = max(1.0, right[name].abs().max().item())
        torch.testing.assert_close(left[name], right[name], atol=1e-5 * size, rtol=1e-4)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_a_group_in_pieces_has_the_loss_and_gradients_of_the_whole(name, batch_and_model):
    batch, model = batch_and_model
    set_dropout(model, 0.0)
    loss = loss_of(name, batch)
    whole = loss(scorer(model)(batch.tokens))
    whole.backward()
    expected = gradients(model)
    assert len(batch.pieces(BUDGET)) > 3
    value, scores = in_pieces(batch, model, loss)
    torch.testing.assert_close(value, whole.detach(), atol=1e-5, rtol=1e-5)
    assert scores.shape == (12,) and not scores.requires_grad
    assert_same(gradients(model), expected)


def test_dropout_draws_the_same_masks_in_both_passes(batch_and_model):
    """The gradients are those of one graph over all pieces, whose masks were drawn once."""
    batch, model = batch_and_model
    loss, pieces = loss_of("listwise_ce", batch), batch.pieces(BUDGET)
    start = RandomState.now(torch.device("cpu"))
    loss(torch.cat([scorer(model)(piece) for piece in pieces])).backward()
    expected, after = gradients(model), torch.get_rng_state()
    start.restore()
    in_pieces(batch, model, loss)
    assert_same(gradients(model), expected)
    assert torch.equal(torch.get_rng_state(), after)  # and leaves the generator where one pass would


def test_gradients_are_reduced_in_the_last_piece_only_and_a_rank_with_fewer_pieces_keeps_in_step(batch_and_model):
    batch, model = batch_and_model
    set_dropout(model, 0.0)
    loss = loss_of("ranknet", batch)
    in_pieces(batch, model, loss)
    expected = gradients(model)
    num_pieces, told = len(batch.pieces(BUDGET)), []

    def told_step(compute, *, last):
        told.append(last)
        compute().backward()

    _, scores = in_pieces(batch, model, loss, step=told_step, num_steps=num_pieces + 2)
    assert told == [False] * (num_pieces + 1) + [True]
    assert len(scores) == 12
    assert_same(gradients(model), expected)


def test_no_more_than_a_piece_is_kept_for_the_backward_pass(batch_and_model):
    batch, model = batch_and_model
    loss = loss_of("listwise_ce", batch)

    def kept(work):
        now = peak = 0

        class Held:
            def __init__(self, tensor):
                nonlocal now, peak
                self.tensor, self.size = tensor, tensor.numel()
                now += self.size
                peak = max(peak, now)

            def __del__(self):
                nonlocal now
                now -= self.size

        with torch.autograd.graph.saved_tensors_hooks(Held, lambda held: held.tensor):
            work()
        model.zero_grad()
        return peak

    whole = kept(lambda: loss(scorer(model)(batch.tokens)).backward())
    pieces = kept(lambda: in_pieces(batch, model, loss))
    largest = max(piece.num_tokens for piece in batch.pieces(BUDGET)) / batch.tokens.num_tokens
    weights = sum(p.numel() for p in model.parameters())
    assert pieces < whole * largest + weights < whole
