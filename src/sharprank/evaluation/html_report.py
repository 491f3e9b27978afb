"""An evaluation as one self-contained HTML page: headline, figures, charts, the worst queries, how it was made.

Everything that came from data is escaped; the page has no script and loads nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from sharprank.evaluation.contrast import Regression, System, regressions, wins_ties_losses
from sharprank.evaluation.report import how_compared
from sharprank.evaluation.rerank import labelled_scores
from sharprank.evaluation.result import EvaluationResult, ModelResult
from sharprank.evaluation.task import RankingTask
from sharprank.formats.html.charts import curve, histograms, intervals, reliability_chart, scatter
from sharprank.formats.html.page import write_page
from sharprank.formats.html.parts import banner, cut, figure, made, note, section, table
from sharprank.formats.tables import number
from sharprank.metrics.calibration import expected_calibration_error, reliability
from sharprank.metrics.compare import Comparison
from sharprank.metrics.orders import best_first
from sharprank.metrics.pairs import sigmoid

NUM_WORST, NUM_OPEN = 10, 3
"""Queries listed, and how many of them are unfolded."""
_TEXT_LENGTH = 400


def write_report(path: str, result: EvaluationResult, task: RankingTask, *, about: Mapping[str, Any]) -> None:
    """Write the page.

    Args:
        result, task: what was found, and on what.
        about: command, settings, inputs and versions.
    """
    sections = [section("Figures", _figures(result))]
    for model in result.models:
        sections += _model_sections(result, model, task)
    sections.append(section("Speed", _speed(result)))
    sections.append(section("How it was made", _made(about, result)))
    write_page(path, title=f"Evaluation: {_names(result)}", lead=_headlines(result), sections=sections)


def _names(result: EvaluationResult) -> str:
    return ", ".join(model.name for model in result.models)


# --- headline and figures ----------------------------------------------------------------------------------------


def _headlines(result: EvaluationResult) -> str:
    headline = result.measures[0]
    parts = [note(result.title)]
    for model in result.models:
        if not model.comparisons:
            value, chance = number(model.measures[headline]), number(result.chance[headline])
            words = f"a random order would get {chance}"
            parts.append(banner(model.name, f"{headline} {value}", words, kind="same"))
            continue
        c = model.comparisons[0]
        words = f"{c.difference:+.4f}, 95% interval {c.low:+.4f} to {c.high:+.4f}, p {c.p:.4f}: {c.verdict}"
        parts.append(banner(model.name, f"{headline} {number(c.first)} → {number(c.reranked)}", words, kind=_kind(c)))
    return "".join(parts)


def _kind(comparison: Comparison) -> str:
    """The colour of a difference: red below the first stage whatever p says, green only where it is shown."""
    return "worse" if comparison.is_below else "better" if comparison.verdict == "better" else "same"


def _figures(result: EvaluationResult) -> str:
    first = result.first_stage is not None
    changed = ["first stage", "reranked", "difference", "95% interval", "p"]
    header = ["model", "measure", *(changed if first else ["value"]), "chance"]
    rows = []
    for model in result.models:
        if model.comparisons:
            rows += [
                [model.name, c.measure, number(c.first), number(c.reranked), f"{c.difference:+.4f}",
                 f"{c.low:+.4f} to {c.high:+.4f}", f"{c.p:.4f}", number(result.chance[c.measure])]
                for c in model.comparisons
            ]  # fmt: skip
        else:
            rows += [[model.name, m, number(model.measures[m]), number(result.chance[m])] for m in result.measures]
            rows += [[model.name, name, number(value), ""] for name, value in (model.pairs or {}).items()]
    return _table(result, header, rows)


def _table(result: EvaluationResult, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column is the model, which one model alone does not need."""
    several = len(result.models) > 1
    return table(header if several else header[1:], rows if several else [row[1:] for row in rows])


def _speed(result: EvaluationResult) -> str:
    timed = any(model.latencies for model in result.models)
    header = ["model", "pairs", "seconds", "pairs a second", "ms a query"]
    latency = ["queries timed", "median ms", "90% within ms", "slowest ms"]
    words = "All queries scored together, loading not counted" + ("; then so many alone, one by one" if timed else "")
    rows = [[*_throughput(model), *(_alone(model) if timed else [])] for model in result.models]
    where = f" {result.hardware}." if result.hardware else ""
    return _table(result, [*header, *(latency if timed else [])], rows) + note(f"{words}.{where}")


def _throughput(model: ModelResult) -> list[str]:
    seconds = max(model.seconds, 1e-9)
    each = 1000 * seconds / max(1, len(model.run))
    return [model.name, f"{model.num_pairs:,}", f"{seconds:.2f}", f"{model.num_pairs / seconds:,.0f}", f"{each:.1f}"]


def _alone(model: ModelResult) -> list[str]:
    return [str(len(model.latencies)), *(f"{value:,.1f}" for value in model.latency.values())]


# --- one model ---------------------------------------------------------------------------------------------------


def _model_sections(result: EvaluationResult, model: ModelResult, task: RankingTask) -> list[str]:
    prefix = f"{model.name}: " if len(result.models) > 1 else ""
    headline = result.measures[0]
    charts = [_distribution(model, task), _calibration(model, task)]
    if result.first_stage is not None:
        scattered = _scatter(result.first_stage[headline], model.per_query[headline], headline, task)
        charts = [_intervals(model), scattered, *charts, _by_depth(result, model)]
    worst = (
        _worst_regressions(result, model, task)
        if result.first_stage is not None
        else _worst_rows(model, headline, task)
    )
    return [
        section(f"{prefix}Pictures", f'<div class="charts">{"".join(charts)}</div>'),
        section(*_titled(prefix, worst)),
    ]


def _titled(prefix: str, worst: tuple[str, str]) -> tuple[str, str]:
    return prefix + worst[0], worst[1]


def _intervals(model: ModelResult) -> str:
    rows = [(c.measure, c.low, c.difference, c.high, _kind(c)) for c in model.comparisons]
    chart = intervals(rows, x_label="difference to the first stage")
    return figure(chart, "<b>Before and after.</b> Each measure's difference, with its 95% interval over queries.")


def _by_depth(result: EvaluationResult, model: ModelResult) -> str:
    """The first measure by how many passages are re-ranked; nothing where there is but one depth."""
    if len(model.depths) < 2:
        return ""
    headline = result.measures[0]
    chart = curve(
        [(str(depth), value) for depth, value in model.depths.items()],
        level=model.comparisons[0].first,
        level_name="first stage",
        x_label="passages re-ranked",
        y_label=headline,
    )
    best = max(model.depths, key=lambda depth: (model.depths[depth], -depth))
    return figure(chart, f"<b>How deep must one re-rank?</b> Highest here: {number(model.depths[best])} at {best}.")


def _scatter(before: Mapping[str, float], after: Mapping[str, float], headline: str, task: RankingTask) -> str:
    points = [
        (f"{q} {cut(task.queries.get(q, ''), 80)}: {before[q]:.3f} → {after[q]:.3f}", before[q], after[q])
        for q in after
        if q in before
    ]
    wins, ties, losses = wins_ties_losses(before, after)
    chart = scatter(points, x_label=f"{headline}, first stage", y_label="reranked")
    return figure(
        chart, f"<b>Query by query.</b> A larger dot is several: {wins} better, {ties} the same, {losses} worse."
    )


def _distribution(model: ModelResult, task: RankingTask) -> str:
    labels, values = labelled_scores(task.pair_labels or task.qrels, model.scores)
    chart = histograms(values[labels > 0].tolist(), values[labels <= 0].tolist(), x_label="raw score")
    key = '<span class="key relevant"></span> relevant <span class="key other"></span> other'
    return figure(
        chart, f"<b>Scores.</b> {key}: {int((labels > 0).sum()):,} and {int((labels <= 0).sum()):,} passages."
    )


def _calibration(model: ModelResult, task: RankingTask) -> str:
    labels, values = labelled_scores(task.pair_labels or task.qrels, model.scores)
    if not labels.size:
        return ""
    curves = [("plain", "sigmoid", sigmoid(values))]
    stored = model.calibration
    if stored is not None:
        curves.append(("fitted", "calibrated", stored.probabilities(values)))
    chart = reliability_chart([(kind, reliability(labels > 0, found)) for kind, _, found in curves])
    words = [
        f'<span class="key {kind}"></span> {name}: ECE {expected_calibration_error(labels > 0, found):.3f}'
        for kind, name, found in curves
    ]
    hint = "" if stored is not None else " (not calibrated: see <code>sharprank calibrate</code>)"
    return figure(chart, f"<b>Is a probability one?</b> {'; '.join(words)}{hint}.")


# --- the worst queries -------------------------------------------------------------------------------------------


def _worst_regressions(result: EvaluationResult, model: ModelResult, task: RankingTask) -> tuple[str, str]:
    before = System(name="first stage", per_query=result.first_stage or {}, run=task.first_stage)
    after = System(name=model.name, per_query=model.per_query, run=model.run)
    found = regressions(before, after, task.qrels, result.measures[0])
    title = f"Queries that got worse ({min(NUM_WORST, len(found))} of {len(found)})"
    shown = [_regression(one, model, task, is_open=place < NUM_OPEN) for place, one in enumerate(found[:NUM_WORST])]
    return title, "".join(shown) or note("None.")


def _regression(one: Regression, model: ModelResult, task: RankingTask, *, is_open: bool) -> str:
    items = [
        f"<li><b>{_rank(move.before)} → {_rank(move.after)}{_grade(move.relevance)}</b> "
        f"{_passage(task, move.passage_id)}</li>"
        for move in one.moves
    ]
    top = best_first(model.run.get(one.query_id, {}))[:1]
    above = "".join(
        f'<li class="above"><b>now first, {_judged(task, one.query_id, name)}</b> {_passage(task, name)}</li>'
        for name in top
    )
    figures = f"{number(one.before)} → {number(one.after)}"
    return _query(one.query_id, figures, "".join(items) + above, task, is_open=is_open)


def _grade(relevance: int) -> str:
    return f", relevance {relevance}" if relevance > 1 else ""


def _judged(task: RankingTask, query_id: str, name: str) -> str:
    relevance = task.qrels.get(query_id, {}).get(name)
    return "not judged" if relevance is None else f"relevance {relevance}" if relevance > 0 else "not relevant"


def _worst_rows(model: ModelResult, headline: str, task: RankingTask) -> tuple[str, str]:
    values = model.per_query[headline]
    low = sorted((q for q in values if values[q] < 1), key=lambda q: (values[q], q))
    blocks = []
    for query_id in low[:NUM_WORST]:
        judged = task.qrels.get(query_id, {})
        order = best_first(model.run[query_id])
        shown = [name for name in order if judged.get(name, 0) > 0] + [n for n in order if judged.get(n, 0) <= 0][:1]
        items = "".join(
            f"<li><b>{'relevant' if judged.get(name, 0) > 0 else 'best other'}, rank {order.index(name) + 1}</b> "
            f"{_passage(task, name)}</li>"
            for name in shown
        )
        is_open = len(blocks) < NUM_OPEN
        blocks.append(_query(query_id, number(values[query_id]), items, task, is_open=is_open))
    return f"Queries with the lowest {headline} ({len(blocks)} of {len(low)} below 1)", "".join(blocks) or note("None.")


def _query(query_id: str, figures: str, items: str, task: RankingTask, *, is_open: bool) -> str:
    text = escape(cut(task.queries.get(query_id, ""), _TEXT_LENGTH))
    summary = f"<summary>{text} <small>{escape(query_id)}: {figures}</small></summary>"
    return f"<details{' open' if is_open else ''}>{summary}<ul>{items}</ul></details>"


def _passage(task: RankingTask, name: str) -> str:
    return f"{escape(cut(task.passages.get(name, '(no text)'), _TEXT_LENGTH))} <small>{escape(name)}</small>"


def _rank(rank: int | None) -> str:
    return "not ranked" if rank is None else f"rank {rank}"


# --- how ---------------------------------------------------------------------------------------------------------


def _made(about: Mapping[str, Any], result: EvaluationResult) -> str:
    ties = "Equal scores count against the model; chance is the expected value under a random order."
    return "".join(map(note, [*how_compared(result), ties])) + "".join(map(note, result.notes)) + made(about)
