"""`sharprank convert FORMAT`: other systems' data to rows {query, pos, neg}, and rows to theirs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from sharprank.cli.options import parse, run_command
from sharprank.errors import UserError
from sharprank.formats.bad_rows import BadRows
from sharprank.formats.collections import collection_paths, pool_path, read_collection
from sharprank.formats.convert import back, chat, judged, msmarco, pairs, squad
from sharprank.formats.convert.tally import Row, Tally
from sharprank.formats.rows import RowKeys, read_rows
from sharprank.formats.sources import Source, iter_records
from sharprank.formats.trec import read_qrels, read_run
from sharprank.formats.writers import (
    check_apart,
    check_writable,
    is_made,
    json_document,
    open_together,
    write_lines,
)
from sharprank.progress import track
from sharprank.provenance import describe_inputs, manifest
from sharprank.records import Record, TrainRow

PROG = "sharprank convert"


def _flag(help_text: str, default: Any = None) -> Any:
    return field(default=default, metadata={"help": help_text})


@dataclass(kw_only=True)
class ConvertConfig:
    """The flags of `sharprank convert FORMAT`."""

    input_file: str = field(metadata={"help": "what to convert: a file, a folder, or a Hugging Face dataset"})
    output_file: str = field(metadata={"help": "JSON lines (.gz understood); counts stand beside it in .stats.json"})
    sub_data_name: str | None = _flag("subset (configuration) of the dataset that --input_file names")
    split: str | None = _flag("which split, where there are several; by default train, of a collection test")
    queries: str | None = _flag("trec: queries with ids, as records or as lines `id TAB text`")
    qrels: str | None = _flag("trec: the judgements")
    run: str | None = _flag("trec, beir: a run whose unjudged candidates fill up the negatives")
    negative_number: int = _flag("trec, beir: negatives up to which a run fills up", 15)
    min_relevance: int = _flag("trec, beir, pairs: judged this or higher is a positive, lower a negative", 1)
    query_key: str | None = _flag("name of the query in the input; by default the usual names are tried")
    passage_key: str | None = _flag("pairs, triplets: name of the passage or positive")
    label_key: str | None = _flag("pairs: name of the label")
    without_neg: Literal["keep", "drop"] | None = _flag(
        "rows without a negative; by default they stay (mining adds some), of msmarco they go"
    )
    on_bad_row: Literal["error", "skip"] = _flag("stop at a broken record, or skip and count it", "error")
    overwrite: bool = _flag("convert again even if the output exists", False)

    def source(self) -> Source:
        """The records to read."""
        return Source(self.input_file, self.sub_data_name, self.split)


def _msmarco(config: ConvertConfig, tally: Tally) -> Iterator[Row]:
    return msmarco.msmarco_rows(_records(config, tally), tally=tally)


def _beir(config: ConvertConfig, tally: Tally) -> Iterator[Row]:
    return _judged(config, tally, read_collection(config.input_file, split=config.split))


def _trec(config: ConvertConfig, tally: Tally) -> Iterator[Row]:
    if config.queries is None or config.qrels is None:
        missing = "--queries" if config.queries is None else "--qrels"
        raise UserError(f"{PROG} trec: no value for {missing}", fix="name the file; --input_file names the passages")
    qrels = read_qrels(config.qrels)
    collection = judged.trec_collection(config.input_file, config.queries, qrels, bad_rows=tally.bad_rows)
    return _judged(config, tally, collection)


def _judged(config: ConvertConfig, tally: Tally, collection: Any) -> Iterator[Row]:
    return judged.judged_rows(
        collection,
        tally=tally,
        run=read_run(config.run) if config.run else None,
        num_negatives=config.negative_number,
        min_relevance=config.min_relevance,
    )


def _squad(config: ConvertConfig, tally: Tally) -> Iterator[Row]:
    return squad.squad_rows(_records(config, tally), tally=tally)


def _pairs(config: ConvertConfig, tally: Tally) -> Iterator[Row]:
    return pairs.pair_rows(
        _records(config, tally),
        tally=tally,
        query_key=config.query_key,
        passage_key=config.passage_key,
        label_key=config.label_key,
        min_relevance=config.min_relevance,
    )


def _triplets(config: ConvertConfig, tally: Tally) -> Iterator[Row]:
    keys = {"query_key": config.query_key, "passage_key": config.passage_key}
    return pairs.triplet_rows(_records(config, tally), tally=tally, **keys)


def _swift(config: ConvertConfig, tally: Tally) -> Iterator[Row]:
    return chat.swift_rows(_records(config, tally), tally=tally)


def _from_rows(write: Callable[..., Iterator[Row]]) -> Callable[[ConvertConfig, Tally], Iterator[Row]]:
    return lambda config, tally: write(_rows(config, tally), tally=tally)


FORMATS: dict[str, tuple[str, Callable[[ConvertConfig, Tally], Iterator[Row]]]] = {
    "msmarco": ("MS MARCO v1.1 or v2.1: hub, parquet, JSON, or CSV with Python's print of a dict inside", _msmarco),
    "beir": ("a folder of corpus, queries and qrels", _beir),
    "trec": ("passages, with --queries, --qrels and perhaps --run", _trec),
    "squad": ("questions on paragraphs, SQuAD's nested files or flat records", _squad),
    "pairs": ("tables of query and passage, with or without a label", _pairs),
    "triplets": ("sentence-transformers: anchor, positive, negative (or negative_1, negative_2, ...)", _triplets),
    "swift": ("ms-swift: messages, positive_messages, negative_messages", _swift),
    "to-triplets": ("rows to sentence-transformers triplets", _from_rows(back.to_triplets)),
    "to-swift": ("rows to ms-swift", _from_rows(chat.to_swift)),
    "to-flagembedding": ("rows to FlagEmbedding's rows with teacher scores", _from_rows(back.to_flagembedding)),
}
DESCRIPTION = "Convert data to rows {query, pos, neg} and back. FORMAT is one of: " + "; ".join(
    f"{name} ({purpose})" for name, (purpose, _) in FORMATS.items()
)


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return run_command(lambda: _convert(list(sys.argv[1:] if argv is None else argv)))


def _convert(words: list[str]) -> None:
    name = words.pop(0) if words and not words[0].startswith("-") else None
    prog = f"{PROG} {name or 'FORMAT'}"
    if name not in FORMATS and not {"-h", "--help"} & set(words):
        problem = "no format was named" if name is None else f"there is no format {name!r}"
        raise UserError(f"{PROG}: {problem}", fix=f"name it first, one of: {', '.join(FORMATS)}")
    config = parse(ConvertConfig, words, prog=prog, description=DESCRIPTION)
    for line in convert(name or "", config):
        print(line)


def _paths_read(name: str, config: ConvertConfig) -> list[str]:
    """What is read of --input_file: of a collection its own files alone, so that an output may lie beside them."""
    if name == "beir":
        return collection_paths(config.input_file, split=config.split)
    return [(pool_path(config.input_file) if name == "trec" else None) or config.input_file]


def convert(name: str, config: ConvertConfig) -> list[str]:
    """Convert, unless the output is there already; returns the lines of the report, none then.

    Raises:
        UserError: what cannot be read, converted or written; an output that other settings made; no row at all.
    """
    check_writable(config.output_file)
    read = [("--input_file", path) for path in _paths_read(name, config)]
    read += [(f"--{flag}", path) for flag in ("queries", "qrels", "run") if (path := getattr(config, flag))]
    check_apart({"output_file": config.output_file}, read)
    inputs = describe_inputs(path for _, path in read)
    flags = {key: value for key, value in asdict(config).items() if key not in ("output_file", "overwrite")}
    settings = {"format": name, **flags, "inputs": inputs}
    if is_made(config.output_file, settings, overwrite=config.overwrite):
        return []
    drop = config.without_neg == "drop" or (config.without_neg is None and name == "msmarco")
    tally = Tally(BadRows(config.on_bad_row), need_negatives=drop)
    rows = track(_at_least_one(FORMATS[name][1](config, tally), config, tally), desc="converting", unit="row")
    with open_together(config.output_file, f"{config.output_file}.stats.json") as (file, stats_file):
        num_lines = write_lines(file, rows)
        made = manifest(command=[*PROG.split(), name], settings=settings, inputs=inputs)
        stats_file.write(json_document({**made, **tally.numbers(), "lines": num_lines}))
    return _report(tally, num_lines, config.output_file)


def _at_least_one(rows: Iterator[Row], config: ConvertConfig, tally: Tally) -> Iterator[Row]:
    found = False
    for row in rows:
        found = True
        yield row
    if not found:
        dropped = tally.numbers()["dropped"]
        reasons = ", ".join(f"{count} {reason}" for reason, count in dropped.items()) or "nothing in it"
        raise UserError(
            f"{config.input_file} gives no row ({reasons})", fix="check the format named and the names of the fields"
        )


def _report(tally: Tally, num_lines: int, output: str) -> list[str]:
    numbers = tally.numbers()
    lines = [f"kept       {numbers['rows']:,} rows" + (f" ({num_lines:,} lines)" * (num_lines != numbers["rows"]))]
    lines += [f"dropped    {count:,} {reason}" for reason, count in numbers["dropped"].items()]
    lines += [f"left out   {count:,} texts: {reason}" for reason, count in numbers["texts_left_out"].items() if count]
    return [*lines, f"output     {output} (counts: {output}.stats.json)"]


def _records(config: ConvertConfig, tally: Tally) -> Iterator[Record]:
    return iter_records(config.source(), bad_rows=tally.bad_rows)


def _rows(config: ConvertConfig, tally: Tally) -> Iterator[TrainRow]:
    keys = RowKeys(query=config.query_key) if config.query_key else RowKeys()
    return read_rows(config.source(), keys=keys, bad_rows=tally.bad_rows)
