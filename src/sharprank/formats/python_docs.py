"""The data of the demo: the documentation of the Python that is running, read from its own source files.

A query is the summary line of a docstring, its one relevant passage the rest of that docstring. The sources are parsed,
never imported; only the standard library counts, without its tests and its applications. Pairs are split by module, so
that training and measuring see different modules. Knows nothing of models or of what the data is used for.
"""

from __future__ import annotations

import ast
import hashlib
import platform
import re
import sys
import sysconfig
import warnings
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sharprank.errors import UserError
from sharprank.formats.writers import write_json, write_jsonl

SKIPPED_FOLDERS = frozenset(
    "__pycache__ site-packages dist-packages lib-dynload test tests idle_test idlelib lib2to3 turtledemo".split()
)
QUERY_MIN_WORDS = 4
PASSAGE_MIN_WORDS = 18
FEWEST_USEFUL_PAIRS = 200

TEST_SHARE = 0.2
VALIDATION_SHARE = 0.1
SPLITS = ("train", "validation", "test")

DOCUMENTED = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True, slots=True)
class DocPair:
    """One documented thing: its dotted name, the top-level module it is split by, its summary and the rest."""

    name: str
    module: str
    query: str
    passage: str


def write_python_docs(folder: Path, *, seed: int = 0, pairs: Iterable[DocPair] | None = None) -> dict[str, int]:
    """Write a collection folder with the splits train, validation and test, and the training rows.

    Args:
        folder: gets `corpus.jsonl`, `queries.jsonl`, `qrels/{train,validation,test}.tsv`, `train.jsonl` (the rows of
            the train split) and, last, `python_docs.json`, which says what the rest was made from.
        seed: decides which modules go to which split.
        pairs: what to write; None reads those of the running Python.

    Returns:
        Number of pairs by split.
    """
    made_from = {"python": platform.python_version(), "seed": seed, "words": [QUERY_MIN_WORDS, PASSAGE_MIN_WORDS]}
    splits = split_by_module(read_doc_pairs() if pairs is None else pairs, seed=seed)
    pairs = sorted((pair for split in SPLITS for pair in splits[split]), key=lambda pair: pair.name)
    folder.mkdir(parents=True, exist_ok=True)
    write_jsonl(folder / "corpus.jsonl", ({"_id": pair.name, "title": "", "text": pair.passage} for pair in pairs))
    write_jsonl(folder / "queries.jsonl", ({"_id": _query_id(pair), "text": pair.query} for pair in pairs))
    write_jsonl(folder / "train.jsonl", ({"query": p.query, "pos": [p.passage]} for p in splits["train"]))
    (folder / "qrels").mkdir(exist_ok=True)
    for split in SPLITS:
        _write_qrels(folder / "qrels" / f"{split}.tsv", splits[split])
    counts = {split: len(splits[split]) for split in SPLITS}
    write_json(folder / "python_docs.json", {**made_from, "pairs": counts})
    return counts


def read_doc_pairs(stdlib: Path | None = None, *, modules: Collection[str] = sys.stdlib_module_names) -> list[DocPair]:
    """Every pair of the standard library, in the order of file names and lines; of repeated texts the first stays.

    Args:
        stdlib: the folder that holds the standard library's sources; None is that of the running Python.
        modules: top-level names that belong to it.

    Raises:
        UserError: this Python came without its sources or without docstrings in them.
    """
    folder = Path(sysconfig.get_path("stdlib")) if stdlib is None else stdlib
    found = (pair for path in _source_files(folder, modules) for pair in _pairs_of_file(path, folder))
    pairs = list(_without_repeats(found))
    if stdlib is None and len(pairs) < FEWEST_USEFUL_PAIRS:
        raise UserError(
            f"{folder} holds {len(pairs)} usable docstrings: this Python came without its sources",
            fix="use a Python whose standard library has its .py files (one from python.org, pyenv, conda or apt has)",
        )
    return pairs


def split_by_module(pairs: Iterable[DocPair], *, seed: int) -> dict[str, list[DocPair]]:
    """Give every module to one split: drawn in a seeded order, test and validation filled first, train takes the rest.

    A C module's twin in Python (`_pydatetime`, `_pyio`) goes where its namesake goes.
    """
    by_module: dict[str, list[DocPair]] = defaultdict(list)
    for pair in sorted(pairs, key=lambda pair: pair.name):
        by_module[_family(pair.module)].append(pair)
    total = sum(map(len, by_module.values()))
    room = {"test": TEST_SHARE * total, "validation": VALIDATION_SHARE * total, "train": float(total)}
    splits: dict[str, list[DocPair]] = {split: [] for split in SPLITS}
    for module in sorted(by_module, key=lambda module: hashlib.sha256(f"{seed}:{module}".encode()).digest()):
        split = next(split for split in room if len(splits[split]) + len(by_module[module]) <= room[split])
        splits[split] += by_module[module]
    return splits


# --- from source files to pairs --------------------------------------------------------------------------------


def _source_files(folder: Path, modules: Collection[str]) -> Iterator[Path]:
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).parts
        if parts[0].removesuffix(".py") in modules and not SKIPPED_FOLDERS.intersection(parts[:-1]):
            yield path


def _pairs_of_file(path: Path, folder: Path) -> Iterator[DocPair]:
    parts = path.relative_to(folder).with_suffix("").parts
    dotted = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in other people's strings
            tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return
    for name, docstring in _docstrings(tree, dotted):
        pair = _pair(name, parts[0], docstring)
        if pair is not None:
            yield pair


def _docstrings(node: ast.AST, name: str) -> Iterator[tuple[str, str]]:
    """Dotted name and docstring of everything documented in a module, outermost first."""
    if isinstance(node, (ast.Module, *DOCUMENTED)):
        docstring = ast.get_docstring(node)
        if docstring:
            yield name, docstring
    for child in ast.iter_child_nodes(node):
        yield from _docstrings(child, f"{name}.{child.name}" if isinstance(child, DOCUMENTED) else name)


def _pair(name: str, module: str, docstring: str) -> DocPair | None:
    """The pair in a docstring: a summary of one line that reads like a sentence, a blank line, and enough text."""
    summary, _, rest = docstring.strip().partition("\n\n")
    query, passage = summary.strip(), rest.strip()
    is_signature = "->" in query or re.match(r"[\w.]+\(", query)
    if "\n" in query or is_signature or _num_words(query) < QUERY_MIN_WORDS:
        return None
    if _num_words(passage) < PASSAGE_MIN_WORDS or _folded(query) in _folded(passage):
        return None
    return DocPair(name, module, query, passage)


def _without_repeats(pairs: Iterable[DocPair]) -> Iterator[DocPair]:
    """Leave out a pair whose query or passage was seen: its query would have several right passages, judged wrong."""
    queries: set[str] = set()
    passages: set[str] = set()
    names: set[str] = set()
    for pair in pairs:
        query, passage = _folded(pair.query), _folded(pair.passage)
        if query in queries or passage in passages or pair.name in names:
            continue
        queries.add(query)
        passages.add(passage)
        names.add(pair.name)
        yield pair


def _family(module: str) -> str:
    return re.sub(r"^_(py_?)?", "", module)


def _num_words(text: str) -> int:
    return len(re.findall(r"\w+", text))


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


# --- to files ----------------------------------------------------------------------------------------------------


def _query_id(pair: DocPair) -> str:
    return f"what-is:{pair.name}"


def _write_qrels(path: Path, pairs: Iterable[DocPair]) -> None:
    lines = ["query-id\tcorpus-id\tscore", *(f"{_query_id(pair)}\t{pair.name}\t1" for pair in pairs)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
