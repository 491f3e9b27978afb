"""What an evaluation is told, and the combinations it refuses before anything is read or loaded."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from sharprank.errors import UserError, check_seed
from sharprank.formats.calibration import check_calibration
from sharprank.formats.fusion import check_weight
from sharprank.metrics.ranking import check_measures

TIMED_FOR_A_REPORT = 20
DTYPES = ("float32", "bfloat16", "float16", "auto")


@dataclass(kw_only=True)
class EvaluationConfig:
    """Flags of `sharprank evaluate`."""

    model_name_or_path: list[str] = field(
        metadata={"aliases": ["-m"], "help": "one or more rerankers: folders, hub ids, or 'minilm'"}
    )
    data: str = field(
        metadata={
            "aliases": ["-d"],
            "help": "rows {query, pos, neg} (a file, a folder, a hub dataset), or a collection folder (corpus.jsonl, "
            "queries.jsonl, qrels/)",
        }
    )
    sub_data_name: str | None = field(
        default=None, metadata={"aliases": ["-sd"], "help": "subset: a dataset's configuration, or a sub-folder"}
    )
    split: str | None = field(default=None, metadata={"help": "split of the dataset or of the qrels (default: test)"})
    run: str | None = field(
        default=None, metadata={"help": "collection: TREC run with the first stage to re-rank (default: --first_stage)"}
    )
    first_stage: str = field(
        default="bm25",
        metadata={"help": "collection: bm25, or a bi-encoder (folder, hub id, 'minilm') that searches it"},
    )
    embedding_cache: str | None = field(
        default=None, metadata={"help": "folder for a bi-encoder's finished embeddings, to be used again"}
    )
    depth: int = field(default=100, metadata={"help": "collection: passages of each query that are re-ranked"})
    first_stage_weight: str | None = field(
        default=None,
        metadata={
            "help": "collection: what the first stage's score counts beside the model's (0 to 1, both standardised "
            "over a query's candidates), or auto: as fitted in training (fusion.json in the model's folder)"
        },
    )
    measures: list[str] | None = field(
        default=None,
        metadata={"help": "ir-measures names (default: nDCG@10 MRR@10 MAP Hit@1, and PairAccuracy for rows)"},
    )
    threshold: float = field(default=0.5, metadata={"help": "a pair is positive if its probability is greater"})
    calibration: list[str] | None = field(
        default=None,
        metadata={
            "help": "files of `sharprank calibrate --output_file`, one for each model in their order (default: what "
            "lies in the models' folders)"
        },
    )
    max_length: int | None = field(
        default=None, metadata={"help": "tokens of a pair (default: as trained, else 512 or the model's limit)"}
    )
    query_key: str = field(default="query", metadata={"help": "name of the query field"})
    positive_key: str = field(default="pos", metadata={"help": "name of the positives field"})
    negative_key: str = field(default="neg", metadata={"help": "name of the negatives field"})
    on_bad_row: Literal["error", "skip"] = field(
        default="error", metadata={"help": "error: stop at the first bad row; skip: leave it out and count it"}
    )
    output_file: str | None = field(
        default=None, metadata={"help": "JSON file for measures, per-query values, settings and versions"}
    )
    output_run: str | None = field(
        default=None,
        metadata={"help": "TREC file for the re-ranked run (several models: one file each, named after it)"},
    )
    report: str | None = field(
        default=None, metadata={"help": "HTML page with figures, charts and the queries that fared worst"}
    )
    latency_queries: int | None = field(
        default=None,
        metadata={"help": "queries scored once more, one at a time, to say how long one takes (with --report: 20)"},
    )
    output_format: Literal["text", "markdown", "json"] = field(default="text", metadata={"help": "what is printed"})
    overwrite: bool = field(default=False, metadata={"help": "replace outputs that other settings made"})
    device: str | None = field(default=None, metadata={"help": "cpu, cuda, cuda:1, mps (default: the best there is)"})
    dtype: str | None = field(default=None, metadata={"help": "float32, bfloat16, float16 or auto"})
    trust_remote_code: bool = field(default=False, metadata={"help": "run code that comes with the model"})
    seed: int = field(default=0, metadata={"help": "seed of the tests, of chance levels and of an untrained head"})

    def check(self) -> None:
        """Refuse what cannot work, before anything is read.

        Raises:
            UserError: naming the flag.
        """
        self._check_models()
        check_seed(self.seed)
        check_measures(self.measures or ())
        if self.measures is not None and not self.measures:
            raise UserError("--measures names no measure", fix="name some, or leave the flag out")
        if self.depth < 1:
            raise UserError(f"--depth {self.depth} re-ranks nothing", fix="use --depth 1 or more (100 is the default)")
        if self.latency_queries is not None and self.latency_queries < 0:
            raise UserError(f"--latency_queries {self.latency_queries} is below 0", fix="use 0 or more")
        if self.run is not None and self.first_stage != "bm25":
            raise UserError("--run and --first_stage both name the first stage", fix="leave one of them out")
        self._check_calibrations()
        check_weight(self.first_stage_weight)
        if not 0 <= self.threshold < 1:
            raise UserError(
                f"--threshold {self.threshold} is no probability a pair could exceed", fix="use 0 <= threshold < 1"
            )
        for name, value, known in (
            ("dtype", self.dtype, (None, *DTYPES)),
            ("on_bad_row", self.on_bad_row, ("error", "skip")),
            ("output_format", self.output_format, ("text", "markdown", "json")),
        ):
            if value not in known:
                choices = ", ".join(str(word) for word in known if word)
                raise UserError(f"--{name} {value!r} is unknown", fix=f"use one of: {choices}")

    def _check_models(self) -> None:
        if not self.model_name_or_path:
            raise UserError("-m names no model", fix="give one or more: -m MODEL [MODEL ...]")
        seen: set[str] = set()
        for model in self.model_name_or_path:
            place = str(Path(model).resolve()) if Path(model).exists() else model
            if place in seen:
                raise UserError(f"-m names the model {model} twice", fix="name each model once")
            seen.add(place)

    @property
    def num_timed(self) -> int:
        """Queries to time."""
        if self.latency_queries is not None:
            return self.latency_queries
        return TIMED_FOR_A_REPORT if self.report else 0

    def _check_calibrations(self) -> None:
        named, models = self.calibration, self.model_name_or_path
        if named is not None and len(named) != len(models):
            raise UserError(
                f"--calibration names {len(named)} files for {len(models)} models",
                fix="name one for each, in their order",
            )
        for path in named or ():
            check_calibration(path)

    def calibration_of(self, model: str) -> str | None:
        """The calibration file named for a model."""
        return None if self.calibration is None else self.calibration[self.model_name_or_path.index(model)]

    def settings(self) -> dict[str, Any]:
        """The settings that decide the result: all but where it goes and how it is printed."""
        return {key: value for key, value in asdict(self).items() if key not in _NOT_IN_THE_RESULT}


_NOT_IN_THE_RESULT = {
    "output_file",
    "output_run",
    "report",
    "output_format",
    "overwrite",
    "latency_queries",
    "embedding_cache",
}


def as_in_evaluate(name: str, help_text: str | None = None) -> Any:
    """A flag of `sharprank evaluate` for another command: the same name, default and help, or a help of its own."""
    known = EvaluationConfig.__dataclass_fields__[name]
    metadata = {**known.metadata, **({"help": help_text} if help_text else {})}
    return field(default=known.default, metadata=metadata)


def shared_settings(config: Any) -> dict[str, Any]:
    """The values of a command's config that go by the name of a flag of `sharprank evaluate`."""
    return {name: value for name, value in vars(config).items() if name in EvaluationConfig.__dataclass_fields__}


def model_names(models: list[str]) -> list[str]:
    """A short, distinct name for each model: the last part of its path, or as much as it takes.

    >>> model_names(["out/a/checkpoint-10", "out/b/checkpoint-10", "minilm"])
    ['a/checkpoint-10', 'b/checkpoint-10', 'minilm']
    """
    parts = [[part for part in Path(model).parts if part not in ("/", ".")] or [model] for model in models]
    names = []
    for own in parts:
        kept = 1
        while kept < len(own) and sum(other[-kept:] == own[-kept:] for other in parts) > 1:
            kept += 1
        names.append("/".join(own[-kept:]))
    return names if len(set(names)) == len(names) else list(models)
