"""Notices a model that stopped telling passages apart, while it trains and not afterwards.

The sign of it: within a group all scores are equal, and the loss stands where guessing puts it (ln of the group
length for softmax cross-entropy). Users otherwise find out after the run that every score is the same.
"""

from __future__ import annotations

from collections import deque

import torch

from sharprank.losses.groups import pad_groups
from sharprank.progress import say
from sharprank.training.groups import GroupBatch

WINDOW = 32
"""Micro-batches looked at together."""

SPREAD = 1e-3
"""Standard deviation of the scores within a group below which they count as equal."""

GAP = 1e-2
"""Distance between the loss and that of guessing (nats) below which it counts as guessing."""

PATIENCE_STEPS = 30
"""Steps after warm-up before anything is said: a fresh head starts with nearly equal scores."""


class CollapseWatch:
    """Keeps the recent spread of scores and loss; `verdict` says when they look collapsed.

    Args:
        warmup_steps: optimizer steps of warm-up (a share below 1 is taken as none).
    """

    def __init__(self, *, warmup_steps: float = 0) -> None:
        self.quiet_until = int(warmup_steps if warmup_steps >= 1 else 0) + PATIENCE_STEPS
        self.recent: deque[torch.Tensor] = deque(maxlen=WINDOW)

    def see(self, scores: torch.Tensor, batch: GroupBatch) -> None:
        """Take note of one micro-batch's scores [P]; nothing is read off the device yet."""
        if min(batch.group_lengths) < 2 or not batch.counted:
            return
        lengths = torch.tensor(batch.group_lengths, dtype=torch.float32, device=scores.device)
        scores_GK = pad_groups(scores.float(), batch.group_lengths, fill=float("-inf"))
        real = scores_GK.isfinite()
        filled = scores_GK.masked_fill(~real, 0.0)
        mean = filled.sum(1) / lengths
        variance = ((filled - mean[:, None]) ** 2).masked_fill(~real, 0.0).sum(1) / lengths
        loss = torch.logsumexp(scores_GK, 1) - scores_GK[:, 0]
        guess = lengths.log()
        self.recent.append(torch.stack([variance.sqrt().mean(), (loss - guess).mean().abs(), guess.mean()]))

    def verdict(self, step: int) -> str | None:
        """A warning when the last micro-batches all look collapsed, else None."""
        if step < self.quiet_until or len(self.recent) < WINDOW:
            return None
        spread, gap, guess = torch.stack(list(self.recent)).amax(0).tolist()
        if not (spread <= SPREAD and gap <= GAP):
            return None
        return (
            f"warning: step {step}: the model scores all passages of a query alike (spread {spread:.1e}); "
            f"the loss is that of guessing (ln G = {guess:.3f})\n"
            "  fix: stop, lower --learning_rate or add --warmup_ratio 0.1; check that pos and neg differ in the data"
        )

    def report(self, warning: str) -> None:
        """Say it once a window."""
        self.recent.clear()
        say(warning)
