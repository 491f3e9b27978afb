"""What each head of an encoder ranks before any training: the first stage's candidates of the validation queries.

python -m benchmarks.quality.untrained [--data FOLDER] [--collections ...] [--heads late maxsim ...] [--docs]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.marks import put_into
from benchmarks.quality.compare import FIRST_STAGE, MAIN
from benchmarks.quality.prepared import COLLECTIONS, VALIDATION, prepare
from sharprank.metrics.ranking import average, measure_run
from sharprank.models.kinds import PLAIN, Asked
from sharprank.models.scored import HEADS
from sharprank.models.scoring import PairScorer

CHOICES = Path(__file__).parent.parent.parent / "docs" / "choices.md"


def main(argv: list[str] | None = None) -> None:
    """Score with every head, print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality.untrained", description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the given collections; python_docs needs none")
    parser.add_argument("--work", type=Path, default=Path("out/quality"), help="where everything is kept")
    parser.add_argument("--collections", nargs="+", choices=COLLECTIONS, default=["python_docs"])
    parser.add_argument("--heads", nargs="+", choices=(*HEADS, PLAIN), default=["late", "maxsim", "plain"])
    parser.add_argument("--max_len", type=int, default=128, help="tokens of a pair")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--docs", action="store_true", help="put the table into docs/choices.md")
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    columns = {
        name: _values(name, options.data, options.work / name / "prepared", options.heads, options.max_len)
        for name in options.collections
    }
    found = table(columns)
    print(found)
    if options.docs:
        put_into(CHOICES, found, name="untrained")


def _values(name: str, data: Path | None, folder: Path, heads: Sequence[str], max_len: int) -> dict[str, float]:
    prepared = prepare(name, data, folder)
    texts, first = prepared.read(VALIDATION), prepared.first_stage(VALIDATION)
    values = {FIRST_STAGE: average(measure_run(texts.qrels, first, [MAIN]))[MAIN]}
    candidates = {query_id: list(ranking) for query_id, ranking in first.items()}
    for head in heads:
        scorer = PairScorer.load("minilm", max_length=max_len, dtype="auto", asked=Asked(pooling=head))
        run = scorer.score_many(texts.queries, texts.passages, candidates)
        values[head] = average(measure_run(texts.qrels, run, [MAIN]))[MAIN]
    return values


def table(columns: dict[str, dict[str, float]]) -> str:
    """A line a head, a column a collection.

    >>> print(table({"med": {"first stage": 0.5, "late": 0.625}}))
    | nDCG@10, untrained | med |
    |---|---|
    | first stage | 0.5000 |
    | late | 0.6250 |
    """
    names = list(next(iter(columns.values())))
    lines = [f"| {MAIN}, untrained | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for name in names:
        lines.append(f"| {name} | {' | '.join(f'{values[name]:.4f}' for values in columns.values())} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
