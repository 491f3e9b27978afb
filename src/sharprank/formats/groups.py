"""Training data in any form to groups: the one door through which it comes.

Forms, told apart record by record: rows {query, pos, neg} with or without teacher scores; graded pairs {query, doc,
label}, gathered by query; lists {query, docs, labels or scores}. And a collection folder with judgements, whose
negatives may come from a TREC run. What a loss needs of them is not known here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sharprank.errors import UserError
from sharprank.formats.bad_rows import BadRows, shown
from sharprank.formats.collections import collection_paths, is_collection, judgements_path, read_collection
from sharprank.formats.convert.judged import unjudged
from sharprank.formats.fields import BadField, number_in, query_in, scores_in, texts_in, with_lists
from sharprank.formats.gather import Gathering, Member
from sharprank.formats.labels import LINEAR, Label, LabelScale, as_label
from sharprank.formats.rows import RowKeys, no_rows, parse_row, similarities_of
from sharprank.formats.sources import Source, iter_records
from sharprank.formats.trec import read_run
from sharprank.metrics.orders import best_first
from sharprank.progress import say
from sharprank.records import Collection, Group, Place, Record, Run, TrainRow

ROWS, PAIRS, LISTS, COLLECTION = "rows", "graded pairs", "lists", "a collection"
NOT_THERE = "passages judged or ranked, but not in the corpus"

ScoresAre = Literal["label", "teacher"]

TEACHER_KEY = "teacher_scores"
"""Where `sharprank teach` leaves the scores of lists."""

_PASSAGE = ("doc", "document", "passage", "text")
_PASSAGES = ("docs", "documents", "passages")
_LABEL = ("label", "relevance")


@dataclass(frozen=True, kw_only=True)
class GroupForm:
    """How training data is to be understood.

    Attributes:
        rows: names of the fields of rows; `query` also of the other forms.
        passage, label: names of the fields of graded pairs; by default the usual ones.
        passages, labels, scores, teacher: names of the fields of lists; `teacher`'s are never labels.
        scores_are: what scores without labels beside them are: `label` or `teacher`; None takes those of lists for
            labels and those of rows for a teacher's.
        run, run_depth: TREC run that gives a collection's queries negatives, and how many of its candidates.
    """

    rows: RowKeys = RowKeys()
    passage: str | None = None
    label: str | None = None
    passages: str | None = None
    labels: str = "labels"
    scores: str = "scores"
    teacher: str = TEACHER_KEY
    scores_are: ScoresAre | None = None
    run: str | None = None
    run_depth: int = 100


@dataclass(frozen=True)
class GroupData:
    """What was read.

    Attributes:
        groups: in the order of their first record.
        scale: what the labels are worth, with the highest label of this data unless it was given.
        labels: how often each label was given.
        forms: how many records of each form there were.
        left_out: passages that were dropped, by reason.
    """

    groups: list[Group]
    scale: LabelScale
    labels: Counter[Label] = field(default_factory=Counter)
    forms: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)


def read_groups(
    source: Source,
    *,
    form: GroupForm = GroupForm(),
    scale: LabelScale = LINEAR,
    bad_rows: BadRows | None = None,
    default_split: str = "train",
) -> GroupData:
    """Read training data of any form.

    Args:
        scale: what labels are worth; an open one is fitted to the data.
        bad_rows: what to do with records that cannot be used.
        default_split: the split to read where there are several.

    Raises:
        UserError: the first bad record (unless they are skipped), or none that can be used.
    """
    bad_rows = bad_rows or BadRows()
    reader = _Reader(form, scale, bad_rows)
    if source.subset is None and is_collection(Path(source.path).expanduser()):
        reader.collection(source.path, source.split or default_split)
    elif form.run is not None:
        raise UserError(
            f"a run gives negatives to the queries of a collection, and {source} is none",
            fix="name a folder with corpus, queries and judgements, or leave the run out",
        )
    else:
        for record in iter_records(source, default_split=default_split, bad_rows=bad_rows):
            reader.record(record)
    gathering = reader.gathering
    labels = gathering.labels()
    scale = scale.fitted(labels)
    groups = list(gathering.finish(scale))
    if not groups:
        raise no_rows(source, form.rows, bad_rows)
    return GroupData(groups, scale, labels, reader.forms, gathering.left_out)


def paths_read(source: Source, *, default_split: str = "train") -> list[str]:
    """What `read_groups` reads: of a collection its texts and these judgements, so that other files may come and go."""
    if source.subset is None and is_collection(source.path):
        return collection_paths(source.path, split=source.split or default_split)
    return [source.path]


class _Reader:
    """Fills a gathering, record by record."""

    def __init__(self, form: GroupForm, scale: LabelScale, bad_rows: BadRows) -> None:
        self.form, self.scale, self.bad_rows = form, scale, bad_rows
        self.gathering = Gathering(bad_rows)
        self.forms: Counter[str] = Counter()

    def record(self, record: Record) -> None:
        """Take in one record of whatever form it has.

        Raises:
            UserError: it cannot be used, and bad rows are errors.
        """
        fields = record.fields
        passages = passages_key_of(fields, self.form.passages)
        passage = _named(fields, self.form.passage, _PASSAGE)
        try:
            if self.form.rows.positives in fields:
                self._row(record)
            elif passages is not None:
                self._list(record, passages)
            elif passage is not None:
                self._pair(record, passage)
            else:
                self._row(record)
        except BadField as bad:
            self.bad_rows.reject(record.place, bad.problem, fix=bad.fix, reason=bad.reason)

    def _row(self, record: Record) -> None:
        row = parse_row(record, keys=self.form.rows, bad_rows=self.bad_rows)
        if row is None:
            return
        self.forms[ROWS] += 1
        gathered = self.gathering.begin(row.query, row.place)
        first_stage = similarities_of(row) or ((None,) * len(row.positives), (None,) * len(row.negatives))
        for texts, relevance, scores, similarities in zip(
            (row.positives, row.negatives), (1.0, 0.0), self._scores_of_row(row), first_stage, strict=True
        ):
            for text, score, similarity in zip(texts, scores, similarities, strict=True):
                if self.form.scores_are == "label" and score is not None:
                    member = Member(row.place, label=score, first_stage=similarity)
                else:
                    member = Member(row.place, relevance=relevance, teacher=score, first_stage=similarity)
                self.gathering.add(gathered, text, member)

    def _scores_of_row(self, row: TrainRow) -> tuple[tuple[float | None, ...], tuple[float | None, ...]]:
        keys = self.form.rows
        given = (row.pos_scores, row.neg_scores if row.negatives else ())
        if self.form.scores_are == "label" and None in given:
            missing = keys.pos_scores if row.pos_scores is None else keys.neg_scores
            raise BadField(
                f"no field {missing!r}, and scores are labels", fix="give every passage one", reason="partially scored"
            )
        return given[0] or (None,) * len(row.positives), given[1] or (None,) * len(row.negatives)

    def _list(self, record: Record, key: str) -> None:
        form = self.form
        fields = with_lists(record, text_keys=(key,), score_keys=(form.labels, form.scores, form.teacher))
        query, texts = query_in(fields, form.rows.query), texts_in(fields, key)
        if not texts:
            raise BadField(f"{key!r} holds no text", fix="give it at least one", reason="no passages")
        labels: list[Label | None] = [None] * len(texts)
        teacher = scores_in(fields, form.teacher, len(texts), key)
        if form.labels in fields:
            labels = _labels(fields, form.labels, len(texts), key)
        elif form.scores_are != "teacher" and (form.scores in fields or teacher is None):
            labels = _labels(fields, form.scores, len(texts), key)
        if teacher is None and (form.labels in fields or form.scores_are == "teacher"):
            teacher = scores_in(fields, form.scores, len(texts), key)
        self.forms[LISTS] += 1
        gathered = self.gathering.begin(query, record.place)
        for text, label, score in zip(texts, labels, teacher or [None] * len(texts), strict=True):
            self.gathering.add(gathered, text, Member(record.place, label=label, teacher=score))

    def _pair(self, record: Record, key: str) -> None:
        fields, label_key = record.fields, self.form.label
        query, (text,) = query_in(fields, self.form.rows.query), _one_text(fields, key)
        label_key = _named(fields, label_key, _LABEL)
        if label_key is None:
            wanted = self.form.label or _LABEL[0]
            raise BadField(f"no field {wanted!r}", fix="label every pair, or name the field", reason="no label")
        label = _label(fields[label_key], label_key)
        self.forms[PAIRS] += 1
        gathered = self.gathering.of_query(query, record.place)
        self.gathering.add(gathered, text, Member(record.place, label=label))

    def collection(self, path: str, split: str) -> None:
        """A collection's judgements, and the run's candidates that nobody judged.

        Raises:
            UserError: a run of other queries or other passages.
        """
        data = read_collection(path, split=split)
        judgements = judgements_path(path, split=split)
        run = _run_of(data, self.form.run, judgements) if self.form.run is not None else {}
        for query_id, judged in data.qrels.items():
            place = Place(f"{judgements}, query {query_id}")
            gathered = self.gathering.begin(data.queries[query_id], place)
            self.forms[COLLECTION] += 1
            ranking = run.get(query_id, {})
            candidates = {p: ranking[p] for p in best_first(ranking)[: self.form.run_depth]}
            for passage_id, relevance in judged.items():
                member = Member(place, label=float(relevance), first_stage=candidates.get(passage_id))
                self._judged(gathered, data.passages.get(passage_id), member)
            for passage_id in unjudged(ranking, judged)[: self.form.run_depth]:
                member = Member(place, relevance=self.scale.lowest, first_stage=candidates.get(passage_id))
                self._judged(gathered, data.passages.get(passage_id), member)

    def _judged(self, gathered: Any, text: str | None, member: Member) -> None:
        if text is None or not text.strip():
            self.gathering.left_out[NOT_THERE] += 1
        else:
            self.gathering.add(gathered, text, member)


def _run_of(data: Collection, path: str, judgements: Path) -> Run:
    """The run, which has to rank passages of the corpus for judged queries; it is said how many it lacks."""
    run = read_run(path)
    lacking = sum(data.passages.keys().isdisjoint(run.get(query_id, ())) for query_id in data.qrels)
    if lacking == len(data.qrels):
        first = next(iter(run))
        problem = f"none of the {lacking:,} judged queries of {judgements}; its first query is {first!r}"
        if run.keys() & data.qrels.keys():
            first = next(iter(run[first]))
            problem = f"no passage of the corpus for the queries of {judgements}; its first passage is {first!r}"
        raise UserError(f"{path} ranks {problem}", fix="name the run of this collection and split, or leave it out")
    if lacking:
        say(
            f"note: {path} ranks nothing for {lacking:,} of the {len(data.qrels):,} judged queries of {judgements}: "
            "they get no negatives from it and are not compared with it"
        )
    return run


def passages_key_of(fields: Mapping[str, Any], name: str | None = None) -> str | None:
    """The field with the texts of a list; None where the record is none."""
    return _named(fields, name, _PASSAGES)


def _named(fields: Mapping[str, Any], name: str | None, usual: tuple[str, ...]) -> str | None:
    """The field that is there: the one named, or else the first of the usual names."""
    return next((key for key in ((name,) if name else usual) if key in fields), None)


def _one_text(fields: Mapping[str, Any], key: str) -> tuple[str]:
    value = fields[key]
    if not isinstance(value, str) or not value.strip():
        problem = f"{key!r} is {shown(value)}, not a text" if not isinstance(value, str) else f"{key!r} is blank"
        raise BadField(problem, fix="make it a text", reason=f"{key} is not a text")
    return (value,)


def _labels(fields: Mapping[str, Any], key: str, num_texts: int, texts_key: str) -> list[Label | None]:
    values = fields.get(key)
    if key not in fields:
        raise BadField(f"no field {key!r}", fix="give every passage a label", reason="no labels")
    if not isinstance(values, (list, tuple)) or len(values) != num_texts:
        many = f"{len(values)} labels" if isinstance(values, (list, tuple)) else shown(values)
        problem = f"{key!r} is {many} for {num_texts} texts in {texts_key!r}"
        raise BadField(problem, fix="give every passage one label", reason=f"{key} of the wrong length")
    return [_label(value, f"{key}[{number}]") for number, value in enumerate(values)]


def _label(value: Any, name: str) -> Label:
    label = as_label(value)
    if label is None:
        number_in(value, name, "label")  # says what is wrong with it
        raise BadField(f"{name} is {shown(value)}", fix="make it a label", reason="broken label")
    return label
