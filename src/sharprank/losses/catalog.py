"""Every loss by its name on the command line."""

from __future__ import annotations

from sharprank.losses.groups import RankingLoss
from sharprank.losses.listwise import LISTWISE_CE
from sharprank.losses.pointwise import BCE

LOSSES: dict[str, RankingLoss] = {loss.name: loss for loss in (LISTWISE_CE, BCE)}
