"""From what the flags name to groups to train on, to rank during training, and to measure at the end.

Everything that is wrong with the data for the chosen loss is said here, with file and line, before any model loads.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from sharprank.errors import UserError
from sharprank.formats.bad_rows import BadRows
from sharprank.formats.groups import ROWS, GroupData, GroupForm, read_groups
from sharprank.formats.holdout import fold, hold_out
from sharprank.formats.labels import LabelScale, shown_label
from sharprank.formats.rows import RowKeys
from sharprank.formats.sources import Source
from sharprank.losses.catalog import Objective
from sharprank.losses.groups import RELEVANCE, TEACHER_SCORES
from sharprank.progress import say
from sharprank.records import Group
from sharprank.training import choices
from sharprank.training.config import DataOptions
from sharprank.training.data_config import MEASURED_SPLIT

_HAS = {
    RELEVANCE: ("no labels for all its passages", "label them, or use --loss kl, which needs none"),
    TEACHER_SCORES: (
        "no teacher scores for all its passages",
        "let a teacher score them (sharprank teach --help), pass --scores_are teacher where the `scores` of lists are "
        "a teacher's, or use a loss that needs none",
    ),
}


@dataclass(frozen=True)
class TrainingData:
    """The groups of a run.

    Attributes:
        train: to learn from.
        evaluation: to rank during training; may be empty.
        test: to measure at the end; may be empty.
        scale: what the labels are worth.
        max_positives: see `draws.places`.
        at_end: kept from training to be compared with the first stage when it is over; may be empty.
        num_similar: training groups with a first-stage score for every passage; none where a teacher scored any.
    """

    train: list[Group]
    evaluation: list[Group]
    test: list[Group]
    scale: LabelScale
    max_positives: int | None
    num_similar: int = 0
    at_end: list[Group] = field(default_factory=list)

    @property
    def has_similarities(self) -> bool:
        """Whether the first stage's scores can be a teacher's: all groups have them."""
        return self.num_similar == len(self.train)

    def taught_by_similarities(self) -> TrainingData:
        """The same, with the first stage's scores as the teacher's."""
        return replace(self, train=_taught_by_similarities(self.train))


def read_training_data(data: DataOptions, objective: Objective, *, seed: int) -> TrainingData:
    """Read and check all data of a run.

    Args:
        objective: what is minimised; it decides what a group must have.
        seed: decides which queries `--validation_split` holds out.

    Raises:
        UserError: a bad record, or data that the objective can learn nothing from.
    """
    bad_rows = BadRows(data.on_bad_row)
    scale = LabelScale.parse(data.label_map, low=data.min_label, high=data.max_label)
    read = read_groups(data.train_source, form=_form(data, run=data.train_run), scale=scale, bad_rows=bad_rows)
    _describe(read, data.train_data)
    known = read.scale if read.labels else scale  # rows have no labels to fit a scale to; other data may
    groups, evaluation, at_end = read.groups, [], []
    if data.validation_split:
        groups, evaluation = hold_out(groups, share=data.validation_split, seed=seed)
    elif data.eval_source is not None:
        evaluation = _measured(data.eval_source, data, _form(data, run=data.eval_run), known, groups)
    elif data.validation_split is None:
        groups, at_end = _kept_for_the_end(groups, seed=seed)
    test = []
    if data.test_data is not None:
        test = _measured(Source(data.test_data), data, _form(data, run=data.test_run), known, groups)
    only_rows = set(read.forms) == {ROWS}
    if objective.is_distilled and only_rows and _num_similar(groups) == len(groups):
        groups = _taught_by_similarities(groups)
    _check_targets(groups, objective, data.train_data)
    groups = _teaching(groups, objective, bad_rows, data.train_data, only_rows=only_rows)
    _say_skipped(bad_rows, data.train_data)
    evaluation = _measurable(evaluation, "the evaluation data") if evaluation else []
    num_similar = _num_similar(groups) if only_rows else 0
    return TrainingData(groups, evaluation, test, read.scale, _max_positives(groups, data), num_similar, at_end)


def _kept_for_the_end(groups: list[Group], *, seed: int) -> tuple[list[Group], list[Group]]:
    """(to learn from, to compare with the first stage when training is over).

    Drawn from the queries all of whose groups can be compared; the others are trained on. Nobody asked for it, so too
    few of them are no error: it is said, where the queries are enough otherwise.
    """
    queries = {fold(group.query) for group in groups}
    comparable = queries - {fold(group.query) for group in groups if not is_comparable(group)}
    share = choices.held_out_share(len(comparable))
    if not share:
        if choices.held_out_share(len(queries)):
            say(
                f"note: no queries are set aside to compare with the first stage at the end: {len(comparable):,} of "
                f"{len(queries):,} have its scores (sharprank mine writes them) for passages that differ in relevance, "
                f"and {choices.HELD_OUT_FROM} are needed"
            )
        return groups, []
    _, at_end = hold_out([group for group in groups if fold(group.query) in comparable], share=share, seed=seed)
    held_out = {fold(group.query) for group in at_end}
    say(
        f"{len(held_out):,} of {len(queries):,} queries are kept from training, to compare with the first stage at the "
        "end (--validation_split 0: none; 0.1: also rank them during training, and keep the best model)"
    )
    return [group for group in groups if fold(group.query) not in held_out], at_end


def is_comparable(group: Group) -> bool:
    """Whether a first stage ranks its passages, and they differ in relevance."""
    return group.first_stage is not None and len(set(group.relevance or ())) > 1


def _form(data: DataOptions, *, run: str | None) -> GroupForm:
    rows = RowKeys.of_flags(data)
    return GroupForm(
        rows=rows,
        passage=data.passage_key,
        passages=data.passages_key,
        label=data.label_key,
        scores_are=data.scores_are,
        run=run,
        run_depth=data.run_depth,
    )


def _describe(read: GroupData, where: str) -> None:
    """What was read: forms, label histogram, and what was left out."""
    if set(read.forms) != {ROWS}:
        forms = ", ".join(f"{count:,} {form}" for form, count in read.forms.items())
        say(f"{where}: {forms}, {len(read.groups):,} queries")
    if read.labels:
        told = [
            f"{shown_label(label)} ({relevance:.3g}): {count:,}"
            for label, count in sorted(read.labels.items(), key=lambda item: (isinstance(item[0], str), item[0]))
            if (relevance := read.scale.relevance(label)) is not None
        ]
        say(f"labels (relevance): {', '.join(told)}")
    for reason, count in read.left_out.items():
        say(f"note: {count:,} {reason} of {where} left out")
    judged = [group.relevance for group in read.groups if group.relevance is not None]
    without = sum(max(relevance) <= read.scale.lowest for relevance in judged)
    if without:
        say(f"note: {without:,} of {len(read.groups):,} queries of {where} have no positive")


def _say_skipped(bad_rows: BadRows, where: str) -> None:
    for reason, count in sorted(bad_rows.counts.items()):
        say(f"note: {count} rows of {where} skipped: {reason}")


def _measured(
    source: Source, data: DataOptions, form: GroupForm, scale: LabelScale, training: Iterable[Group]
) -> list[Group]:
    """Groups to measure on, with a warning where training has seen their queries."""
    bad_rows = BadRows(data.on_bad_row)
    read = read_groups(source, form=form, scale=scale, bad_rows=bad_rows, default_split=MEASURED_SPLIT)
    groups = _measurable(read.groups, str(source))
    _say_skipped(bad_rows, str(source))
    seen = {fold(group.query) for group in training} & {fold(group.query) for group in groups}
    if seen:
        say(f"warning: {len(seen):,} queries of {source} are training queries as well; their figures flatter")
    return groups


def _measurable(groups: Sequence[Group], where: str) -> list[Group]:
    """Those with relevance, which measures need; it is said how many cannot be ranked.

    Raises:
        UserError: none has any, or all passages are equally relevant.
    """
    judged = [group for group in groups if group.relevance is not None]
    if not judged:
        raise UserError(f"{groups[0].place} has no labels to measure against", fix="name labelled data")
    if len({value for group in judged for value in group.relevance or ()}) < 2:
        raise UserError(
            f"{where}: all pairs are equally relevant, so nothing can be measured",
            fix="add passages that are not relevant (sharprank mine --help)",
        )
    alike = sum(len(set(group.relevance or ())) < 2 for group in judged)
    if alike:
        say(f"note: {alike:,} of {len(judged):,} queries of {where} have passages of one relevance and are not ranked")
    return judged


def _num_similar(groups: Sequence[Group]) -> int:
    """Those with the miner's similarity for every passage; none where a teacher scored any."""
    if any(group.teacher_scores not in (None, group.first_stage) for group in groups):
        return 0
    return sum(group.first_stage is not None and None not in group.first_stage for group in groups)


def _taught_by_similarities(groups: Sequence[Group]) -> list[Group]:
    """The groups, which have a first-stage score for every passage, with these as a teacher's."""
    return [
        replace(group, teacher_scores=tuple(s for s in group.first_stage or () if s is not None)) for group in groups
    ]


def _check_targets(groups: Sequence[Group], objective: Objective, where: str) -> None:
    """Every group has what the objective needs."""
    for name in objective.needs:
        without = [group for group in groups if getattr(group, name) is None]
        if not without:
            continue
        problem, fix = _HAS[name]
        has = next((f", which {group.place} has" for group in groups if getattr(group, name) is not None), "")
        needing = next(loss.name for loss, _ in objective.terms if name in loss.needs)
        raise UserError(f"{without[0].place}: {problem}{has}; loss {needing} needs them", fix=fix)


def _teaching(
    groups: list[Group], objective: Objective, bad_rows: BadRows, where: str, *, only_rows: bool
) -> list[Group]:
    """The groups that the objective can learn from.

    Rows that lack negatives are a matter of course and left out; labels that are all equal are a bad row.
    """
    if not objective.compares:
        return _with_different_labels(groups, where)
    told_apart = [group for group in groups if _tells_apart(group, objective)]
    if len(told_apart) < len(groups) and only_rows:
        if not told_apart:
            raise UserError(
                f"{where}: none of its {len(groups)} rows has a negative", fix="mine some first: sharprank mine --help"
            )
        say(
            f"note: {len(groups) - len(told_apart)} of {len(groups)} rows of {where} have no negatives and are left out"
        )
    elif len(told_apart) < len(groups):
        for group in groups:
            if not _tells_apart(group, objective):
                bad_rows.reject(
                    group.place,
                    f"{_alike(group)}, which teaches loss {objective} nothing",
                    fix="leave the query out, or use a loss that takes pairs one by one (--loss bce or mse)",
                    reason="queries whose passages are all labelled alike",
                )
        if not told_apart:
            raise UserError(
                f"{where}: every query has passages of one label only, which teaches loss {objective} nothing",
                fix="use a loss that takes pairs one by one (--loss bce or mse)",
            )
    return told_apart


def _tells_apart(group: Group, objective: Objective) -> bool:
    """Whether its passages differ in what the comparing losses look at."""
    if RELEVANCE in objective.needs:
        return group.relevance is not None and len(set(group.relevance)) > 1
    return len(group.passages) > 1


def _alike(group: Group) -> str:
    if len(group.passages) == 1:
        return "the query has a single passage"
    return f"all {len(group.passages)} passages are labelled alike"


def _with_different_labels(groups: list[Group], where: str) -> list[Group]:
    labels = {value for group in groups for value in group.relevance or ()}
    if len(labels) < 2:
        raise UserError(
            f"{where}: all pairs are equally relevant, which teaches nothing",
            fix="add negatives (sharprank mine --help), or describe the labels with --label_map",
        )
    return groups


def _max_positives(groups: Sequence[Group], data: DataOptions) -> int | None:
    """One positive a group where relevance is yes or no, every grade in turn where it is graded, unless told."""
    if data.positives_per_group is not None:
        return data.positives_per_group
    values = {value for group in groups for value in group.relevance or ()}
    return 1 if len(values) <= 2 else None


def with_scale(data: TrainingData) -> dict[str, object]:
    """What of the data decides the result of a run, beside the files themselves."""
    return {"scale": data.scale.settings(), "max_positives": data.max_positives, "num_rows": len(data.train)}
