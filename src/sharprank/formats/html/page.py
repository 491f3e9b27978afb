"""The frame of an HTML report: one file, style inside, readable on a phone and in the dark. Knows no figures."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from sharprank.errors import UserError
from sharprank.formats.writers import atomic_open, check_writable

GENERATOR = '<meta name="generator" content="sharprank">'

_STYLE = """
:root { --ink: #1c2430; --paper: #fff; --soft: #667; --line: #d8dce3;
  --good: #0a7d4f; --bad: #c0392b; --a: #1f6feb; --b: #b0893d; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ef; --paper: #14181f; --soft: #9aa4b2; --line: #333b47;
    --good: #4cc38a; --bad: #ff7b6b; --a: #6ca8ff; --b: #d9b25f; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 1rem; font: 16px/1.5 system-ui, sans-serif;
  color: var(--ink); background: var(--paper);
  overflow-wrap: anywhere; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.15rem; margin-top: 2rem; } h3 { font-size: 1rem; }
figcaption b { color: var(--ink); }
.headline { border-left: .4rem solid var(--soft); padding: .2rem 0 .2rem .8rem; margin: 1rem 0; }
.headline .figure { font-size: 1.6rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.headline.better { border-color: var(--good); } .headline.worse { border-color: var(--bad); }
.note, small, figcaption { color: var(--soft); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: nowrap; font-size: .9rem; }
th, td { text-align: right; padding: .25rem .7rem .25rem 0; border-bottom: 1px solid var(--line); }
th.words, td.words { text-align: left; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(16rem, 1fr)); gap: 1rem; }
figure { margin: 0; } svg { width: 100%; height: auto; } svg text { font-size: 10px; fill: var(--soft); }
.axis, polyline, .diagonal { fill: none; stroke: var(--line); stroke-width: 1.5; } .diagonal { stroke-dasharray: 4 4; }
circle { fill: var(--soft); fill-opacity: .7; } circle.better { fill: var(--good); } circle.worse { fill: var(--bad); }
rect.relevant, .key.relevant { fill: var(--good); background: var(--good); fill-opacity: .6; }
rect.other, .key.other { fill: var(--soft); background: var(--soft); fill-opacity: .5; }
line.better { stroke: var(--good); } line.worse { stroke: var(--bad); } line.same { stroke: var(--soft); }
line.better, line.worse, line.same { stroke-width: 2; }
rect.kept, .key.kept { fill: var(--a); background: var(--a); fill-opacity: .7; }
rect.dropped, .key.dropped { fill: var(--bad); background: var(--bad); fill-opacity: .6; }
polyline.plain { stroke: var(--b); } circle.plain { fill: var(--b); } .key.plain { background: var(--b); }
polyline.fitted { stroke: var(--a); } circle.fitted { fill: var(--a); } .key.fitted { background: var(--a); }
.key { display: inline-block; width: .7rem; height: .7rem; border-radius: 2px; }
details { border-bottom: 1px solid var(--line); padding: .5rem 0; } summary { cursor: pointer; font-weight: 600; }
summary small { font-weight: 400; } ul { padding-left: 1.2rem; } .above { color: var(--soft); }
pre { white-space: pre-wrap; font-size: .8rem; padding: .6rem;
  background: color-mix(in srgb, var(--ink) 6%, transparent); }
""".strip()


def check_report(path: str, *, overwrite: bool) -> None:
    """Refuse a report that cannot be written, or would replace what is no report of ours.

    Raises:
        UserError: naming the path.
    """
    check_writable(path, flag="--report")
    target = Path(path)
    if target.exists() and not overwrite and GENERATOR not in target.read_text(encoding="utf-8", errors="replace"):
        raise UserError(
            f"--report {path} exists and is no report of sharprank", fix="name another file, or pass --overwrite True"
        )


def write_page(path: str, *, title: str, lead: str, sections: Sequence[str]) -> None:
    """Write the whole document, or nothing; arguments as those of `page`."""
    with atomic_open(path) as file:
        file.write(page(title=title, lead=lead, sections=sections))


def page(*, title: str, lead: str, sections: Sequence[str]) -> str:
    """The whole document.

    Args:
        title: plain text.
        lead, sections: HTML, already escaped where it has to be.
    """
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            GENERATOR,
            f"<title>{escape(title)}</title>",
            f"<style>{_STYLE}</style></head>",
            f"<body><header><h1>{escape(title)}</h1>{lead}</header>",
            *sections,
            "</body></html>\n",
        ]
    )
