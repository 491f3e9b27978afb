"""What a training ends with: first stage, reranked and fused on the validation queries, and which of them to use.

The validation groups carry the first stage's scores: a run's, or the similarities that mining left in its rows. The
latter are a sample. What the first stage ranked highest is missing among mined negatives (the window of ranks, the
filters), which flatters the first stage, so such groups can speak for the reranker and not against it: a weight that is
fitted on them counts only where the reranker alone is ahead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sharprank.formats.fusion import write_fusion
from sharprank.formats.holdout import fold
from sharprank.formats.tables import aligned, number
from sharprank.metrics.compare import Comparison
from sharprank.metrics.verdict import COMPARED, Verdict, compared, figures, judge, recommend
from sharprank.records import Group, Qrels, Run
from sharprank.training.data import is_comparable
from sharprank.training.ranking import MEASURES

SIMILARITIES = "the miner's similarities"
_HEADER = ("measure", "first stage", "reranked", *COMPARED)
_HOW_TO_COMPARE = (
    "no first stage to compare with: train on rows of `sharprank mine`, give a run (--eval_run), or compare whole "
    "lists: sharprank evaluate -m {model} -d COLLECTION --run RUN"
)
_ON_WHOLE_LISTS = "on whole lists: sharprank evaluate -m {model} -d COLLECTION --run RUN"


@dataclass(frozen=True)
class Ending:
    """What is said at the end, and the verdict it rests on (None: the data allow none)."""

    text: str
    verdict: Verdict | None = None

    def write(self, folder: Path, *, first_stage: str) -> None:
        """Leave the fitted weight beside the model, or nothing where there is none, not even an older one."""
        write_fusion(folder, self.verdict, first_stage=first_stage)


def conclude(
    groups: Sequence[Group],
    scores: Sequence[np.ndarray],
    gains: Sequence[np.ndarray],
    *,
    run: str | None,
    model: str,
    seed: int,
) -> Ending:
    """Compare on validation groups.

    Args:
        groups: which were ranked.
        scores: of each group's passages, by the trained model.
        gains: of the same passages, whole numbers, 0 is not relevant.
        run: the first stage's; None where the groups carry similarities.
        model: the folder, for commands that are recommended.
        seed: of the paired tests.
    """
    places = [place for place, group in enumerate(groups) if is_comparable(group)]
    if not places:
        return Ending(_HOW_TO_COMPARE.format(model=model))
    qrels, first, reranked = _lists(groups, scores, gains, places)
    verdict = judge(qrels, first, reranked, measures=MEASURES, seed=seed)
    lines = [_what_was_ranked(first, run), *_table(verdict)]
    if run is not None:
        return Ending("\n".join([*lines, recommend(verdict)]), verdict)
    elsewhere = _ON_WHOLE_LISTS.format(model=model)
    lines.append(f"mined negatives leave out what the first stage ranks highest, which flatters it; {elsewhere}")
    if verdict.alone[0].first > 1 - 1e-9:
        lines.append("use: undecided; these negatives were chosen by the first stage's own scores, so it cannot lose")
        return Ending("\n".join(lines))
    if not verdict.alone[0].is_above:
        lines.append(
            f"use: undecided; the reranker alone is not above a first stage that is flattered ({figures(verdict)})"
        )
        return Ending("\n".join(lines))
    return Ending("\n".join([*lines, recommend(verdict)]), verdict)


def first_stage_name(run: str | None) -> str:
    """What the reranker was compared with."""
    return SIMILARITIES if run is None else Path(run).name


def _lists(
    groups: Sequence[Group], scores: Sequence[np.ndarray], gains: Sequence[np.ndarray], places: Sequence[int]
) -> tuple[Qrels, Run, Run]:
    """Judgements, first stage and reranked, of the passages that the first stage ranks.

    Groups of one query are one list: as several they would count as several observations. A passage that is relevant
    in one of them is relevant.
    """
    qrels: Qrels = {}
    first: Run = {}
    reranked: Run = {}
    ids: dict[str, str] = {}
    for place in places:
        group, query = groups[place], fold(groups[place].query)
        judged = qrels.setdefault(query, {})
        before, after = first.setdefault(query, {}), reranked.setdefault(query, {})
        known = zip(group.passages, gains[place].tolist(), group.first_stage or (), scores[place].tolist(), strict=True)
        for text, gain, first_score, score in known:
            passage = ids.setdefault(text, str(len(ids)))
            judged[passage] = max(gain, judged.get(passage, gain))
            if first_score is not None:
                before.setdefault(passage, first_score)
                after.setdefault(passage, score)
    return qrels, first, reranked


def _what_was_ranked(first: Run, run: str | None) -> str:
    size = sum(map(len, first.values())) / len(first)
    if run is not None:
        ranked = f"the candidates of {Path(run).name} ({size:.1f} on average)"
    else:
        ranked = f"its positives and mined negatives ({size:.1f} on average), the first stage is {SIMILARITIES}"
    return f"{len(first):,} validation queries, each with {ranked}; fused by a weight fitted on the others:"


def _table(verdict: Verdict) -> list[str]:
    return aligned(_HEADER, [_row(*pair) for pair in zip(verdict.alone, verdict.fused, strict=True)])


def _row(alone: Comparison, fused: Comparison) -> Sequence[str]:
    return (alone.measure, number(alone.first), number(alone.reranked), *compared(alone, fused))
