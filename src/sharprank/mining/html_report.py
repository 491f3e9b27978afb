"""The page of `--report`: scores, ranks, what was refused and why, rows with too few, the most suspicious negatives.

While rows are mined a `Gallery` keeps the few that are worth looking at; `write_report` shows them with the counts.
Everything that came from data is escaped.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from html import escape
from statistics import median
from typing import Any

from sharprank.formats.html.charts import histograms, stacked
from sharprank.formats.html.page import write_page
from sharprank.formats.html.parts import banner, cut, figure, made, note, section, table
from sharprank.mining.draft import Candidate
from sharprank.mining.record import MinedRow
from sharprank.mining.report import NUM_RANK_BINS, Tally, histogram

NUM_SUSPICIOUS = 20
NUM_TOO_FEW = 20
_TEXT_LENGTH = 500
_MOST_CHARTS, _FEWEST_IN_A_CHART = 6, 10


class Gallery:
    """The rows worth looking at.

    Args:
        text_of: the text of a passage by its number in the pool.
        wanted: negatives each row should get.

    Attributes:
        too_few: (negatives, query, reasons) of the rows with the fewest, of those that got too few.
    """

    def __init__(self, text_of: Callable[[int], str], *, wanted: int) -> None:
        self._text_of = text_of
        self._wanted = wanted
        self._seen = 0
        self._suspicious: list[tuple[float, int, str]] = []
        self._too_few: list[tuple[int, int, str]] = []

    def add(self, mined: MinedRow) -> None:
        """Look at one row."""
        self._seen += 1
        number = len(mined.negatives)
        if number < self._wanted:
            _keep(self._too_few, (-number, -self._seen, _too_few(mined)), NUM_TOO_FEW)
        worst = max(mined.negatives, key=lambda one: _suspicion(one, mined), default=None)
        if worst is not None and _suspicion(worst, mined) > float("-inf"):
            entry = (_suspicion(worst, mined), -self._seen)
            if len(self._suspicious) < NUM_SUSPICIOUS or entry > self._suspicious[0][:2]:
                _keep(self._suspicious, (*entry, self._shown(worst, mined)), NUM_SUSPICIOUS)

    @property
    def suspicious(self) -> list[str]:
        """The negatives that come nearest to their row's positives, at most one of a row, as HTML."""
        return [shown for _, _, shown in sorted(self._suspicious, reverse=True)]

    @property
    def too_few(self) -> list[str]:
        """The rows with the fewest negatives, of those that got too few, as HTML."""
        return [shown for _, _, shown in sorted(self._too_few, reverse=True)]

    def _shown(self, one: Candidate, mined: MinedRow) -> str:
        scores = mined.positive_scores if one.teacher_score is not None else mined.positive_similarities
        lowest = min(range(len(scores)), key=lambda i: float("inf") if (s := scores[i]) is None else s)
        value = one.similarity if one.teacher_score is None else one.teacher_score
        positive = f"{_figure(scores[lowest])} {_text(mined.row.positives[lowest])}"
        rank = f"{one.source}, rank {one.rank}" if one.rank is not None else one.source
        negative = f"{_figure(value)} {_text(self._text_of(one.number))} <small>{escape(rank)}</small>"
        return (
            f"<details open><summary>{_text(mined.row.query)}</summary><ul>"
            f"<li><b>negative</b> {negative}</li><li><b>positive</b> {positive}</li></ul></details>"
        )


def _keep(heap: list[tuple[Any, int, str]], entry: tuple[Any, int, str], size: int) -> None:
    """Keep the largest entries."""
    if len(heap) < size:
        heapq.heappush(heap, entry)
    else:
        heapq.heappushpop(heap, entry)


def _suspicion(one: Candidate, mined: MinedRow) -> float:
    """By how much a negative scores above the lowest positive of its row: the teacher's scores, else cosines."""
    if one.teacher_score is not None and mined.lowest_score is not None:
        return one.teacher_score - mined.lowest_score
    if one.similarity is not None and mined.lowest_similarity is not None:
        return one.similarity - mined.lowest_similarity
    return float("-inf")


def _too_few(mined: MinedRow) -> str:
    reasons: dict[str, int] = {}
    for one in mined.met:
        if one.reason is not None:
            reasons[one.reason] = reasons.get(one.reason, 0) + 1
    words = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items(), key=lambda item: -item[1]))
    met = f"{len(mined.negatives)} of {len(mined.met)} candidates" + (f"; refused: {words}" if words else "")
    return f"<li>{_text(mined.row.query)} <small>{escape(met)}</small></li>"


def _text(text: str) -> str:
    return escape(cut(text, _TEXT_LENGTH))


def _figure(value: float | None) -> str:
    return "" if value is None else f"<b>{value:.3f}</b>"


# --- the page ----------------------------------------------------------------------------------------------------


def write_report(path: str, tally: Tally, gallery: Gallery, *, stats: Mapping[str, Any]) -> None:
    """Write the page.

    Args:
        stats: what the statistics file says.
    """
    sections = [
        section("Scores", _scores(tally)),
        section("Ranks and reasons", _ranks(tally, stats)),
        section("Rows with too few negatives", _rows_with_too_few(gallery, stats)),
        section("The most suspicious negatives", _suspicious(gallery, stats)),
        section("How it was made", made(stats)),
    ]
    write_page(path, title="Mined negatives", lead=_lead(tally, stats), sections=sections)


def _lead(tally: Tally, stats: Mapping[str, Any]) -> str:
    rows, negatives = stats["rows"], stats["negatives"]
    number = negatives["mined_from_the_window"] + negatives["random_from_the_pool"]
    few, refused = rows["with_too_few_negatives"], sum(tally.refused.values())
    fewer = f"{few:,} {'row' if few == 1 else 'rows'} with fewer than {tally.wanted}"
    words = (
        f"ranks {stats['ranks']} of {stats['pool']['passages']:,} passages; {refused:,} of "
        f"{stats['candidates_met']:,} candidates refused; {fewer}"
    )
    kind = "worse" if rows["without_any_negative"] else "same" if few else "better"
    return banner("hard negatives", f"{number:,} for {rows['written']:,} rows", words, kind=kind)


def _scores(tally: Tally) -> str:
    charts = [
        _histograms(tally.positive.values, tally.negative.values, "cosine with the query"),
        _histograms(tally.teacher_positive.values, tally.teacher_negative.values, "raw score of the teacher"),
    ]
    return f'<div class="charts">{"".join(charts)}</div>' if any(charts) else note("No scores are known.")


def _histograms(positive: Sequence[float], negative: Sequence[float], words: str) -> str:
    if not positive and not negative:
        return ""
    chart = histograms(positive, negative, x_label=words, names=("positives", "negatives"))
    key = '<span class="key relevant"></span> positives <span class="key other"></span> negatives'
    above = sum(value >= median(positive) for value in negative) if positive else 0
    return figure(chart, f"{key}: {above:,} of {len(negative):,} negatives score above the median positive.")


def _ranks(tally: Tally, stats: Mapping[str, Any]) -> str:
    last = max((rank for _, rank in tally.by_rank), default=0)
    reasons = list(stats["refused_candidates"])
    charts = []
    if last:
        kept, dropped = (histogram(tally.by_rank, own, last) for own in ([None], reasons))
        series = [("kept", "became negatives", kept), ("dropped", "refused", dropped)]
        key = '<span class="key kept"></span> became negatives <span class="key dropped"></span> refused'
        charts = [_rank_chart(series, last, f"{key}; candidates that were not met were not needed.")]
        charts += [
            _rank_chart(
                [("dropped", reason, histogram(tally.by_rank, [reason], last))], last, f"<b>{escape(reason)}</b>"
            )
            for reason in reasons[:_MOST_CHARTS]
            if sum(histogram(tally.by_rank, [reason], last)) >= _FEWEST_IN_A_CHART
        ]
    met = max(1, stats["candidates_met"])
    rows = [[reason, f"{count:,}", f"{count / met:.1%}"] for reason, count in stats["refused_candidates"].items()]
    listed = table(["reason", "refused", "of all met"], rows) if rows else note("No candidate was refused.")
    return f'<div class="charts">{"".join(charts)}</div>{listed}'


def _rank_chart(series: Sequence[tuple[str, str, Sequence[int]]], last: int, caption: str) -> str:
    width = -(-last // NUM_RANK_BINS)
    return figure(stacked(series, low=1, high=max(last, width), x_label="rank", y_label="candidates"), caption)


def _rows_with_too_few(gallery: Gallery, stats: Mapping[str, Any]) -> str:
    number = stats["rows"]["with_too_few_negatives"]
    if not number:
        return note("None.")
    return (
        note(f"{number:,} of {stats['rows']['written']:,}; those with the fewest:")
        + f"<ul>{''.join(gallery.too_few)}</ul>"
    )


def _suspicious(gallery: Gallery, stats: Mapping[str, Any]) -> str:
    shown = gallery.suspicious
    if not shown:
        return note("No score of a positive is known to compare with.")
    judge = "teacher's score" if stats["positive_teacher_score"] else "cosine"
    words = f"Of each row the negative whose {judge} comes nearest to (or furthest above) its lowest positive."
    return note(words) + "".join(shown)
