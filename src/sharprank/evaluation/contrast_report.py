"""A comparison as text, Markdown or JSON. Computes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

from sharprank.evaluation.contrast import Contrast, Move, Pair, Regression
from sharprank.formats.tables import aligned, markdown_table, number

_HEADER = ("measure", "before -> after", "difference", "95% interval", "p", "better/same/worse", "verdict")
_TEXT_LENGTH = 90

Table = Callable[[Sequence[str], Sequence[Sequence[str]]], str]


def render_contrast(
    result: Contrast, output_format: str, *, worst: int, queries: Mapping[str, str], passages: Mapping[str, str]
) -> str:
    """The comparison in one of the three formats, without the last line break.

    Args:
        worst: queries shown that got worse, per pair.
        queries, passages: texts by id, where they are known.
    """
    if output_format == "json":
        return json.dumps(result.as_json(), ensure_ascii=False, indent=2)
    table = markdown_table if output_format == "markdown" else lambda header, rows: "\n".join(aligned(header, rows))
    blocks = [_means(result, table)]
    for pair in result.pairs:
        title = f"{pair.before} -> {pair.after}"
        blocks.append(f"### {title}" if output_format == "markdown" else title)
        blocks.append(table(_HEADER, _rows(pair)))
        blocks += _depths(pair, result.measures[0], table)
        blocks += _worse(pair, result.measures[0], worst, queries, passages)
    return "\n\n".join([*blocks, _how(result)])


def _means(result: Contrast, table: Table) -> str:
    return table(
        ("system", *result.measures),
        [(name, *(number(values[m]) for m in result.measures)) for name, values in result.means.items()],
    )


def _rows(pair: Pair) -> list[Sequence[str]]:
    return [
        (
            c.measure,
            f"{number(c.first)} -> {number(c.reranked)}",
            f"{c.difference:+.4f}",
            f"[{c.low:+.4f}, {c.high:+.4f}]",
            f"{c.p:.4f}",
            "/".join(map(str, pair.counts[c.measure])),
            pair.verdict(c),
        )
        for c in pair.comparisons
    ]


def _depths(pair: Pair, headline: str, table: Table) -> list[str]:
    if not pair.depths:
        return []
    rows = [(str(depth), number(value)) for depth, value in pair.depths.items()]
    return [f"If {pair.after} had re-ranked only the best passages of {pair.before}:", table(("depth", headline), rows)]


def _worse(pair: Pair, headline: str, worst: int, queries: Mapping[str, str], passages: Mapping[str, str]) -> list[str]:
    if not pair.worse or not worst:
        return []
    shown = pair.worse[:worst]
    lines = [f"Queries with a lower {headline} ({len(shown)} of {len(pair.worse)}):"]
    for regression in shown:
        lines.append(_line(regression, queries))
        lines += [f"    {_moved(move)}{_text(passages, move.passage_id)}" for move in regression.moves]
    return ["\n".join(lines)]


def _line(regression: Regression, queries: Mapping[str, str]) -> str:
    text = _text(queries, regression.query_id)
    return f"- {regression.query_id}{text}: {number(regression.before)} -> {number(regression.after)}"


def _moved(move: Move) -> str:
    before, after = ("not ranked" if rank is None else f"rank {rank}" for rank in (move.before, move.after))
    return f"{move.passage_id} (relevance {move.relevance}): {before} -> {after}"


def _text(texts: Mapping[str, str], name: str) -> str:
    text = " ".join(texts.get(name, "").split())
    if not text:
        return ""
    return f" {text[: _TEXT_LENGTH - 3]}..." if len(text) > _TEXT_LENGTH else f" {text}"


def _how(result: Contrast) -> str:
    left_out = f" ({result.num_left_out:,} that some system lacks are left out)" if result.num_left_out else ""
    corrected = f", corrected by Holm for {len(result.pairs)} pairs" if len(result.pairs) > 1 else ""
    return (
        f"{result.num_queries:,} queries{left_out}; p: two-sided paired randomisation test over queries{corrected}; "
        "interval: bootstrap over queries"
    )
