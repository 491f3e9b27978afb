"""What `sharprank run` is told. Everything else of a stage can be said in a file of that stage's own flags."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from sharprank.errors import UserError, check_read


def _flag(help_text: str, default: Any = None, *, aliases: list[str] | None = None) -> Any:
    return field(default=default, metadata={"help": help_text} | ({"aliases": aliases} if aliases else {}))


@dataclass(kw_only=True)
class RunConfig:
    """The flags of `sharprank run`.

    Attributes:
        given: names of those that were given a value; by default the ones whose value is not the default. What was not
            given counts less than a stage's own file.
    """

    given: frozenset[str] = field(init=False, repr=False, compare=False)

    train_data: str = field(
        metadata={"help": "rows {query, pos, neg?}: a file, a folder, or a Hugging Face dataset", "aliases": ["-d"]}
    )
    sub_data_name: str | None = _flag("subset (configuration) of that dataset", aliases=["-sd"])
    candidate_pool: str | None = _flag(
        "passages to mine from and to search in: {text}, {title, text}, {content} or plain lines; by default all pos "
        "and neg of the rows"
    )
    eval_data: str | None = _flag(
        "rows or a collection folder to measure on; by default a share of the training queries is held out for it"
    )
    eval_split: str | None = _flag("split of the evaluation data (default: test)")
    held_out_share: float = _flag("share of the queries held out when there is no --eval_data", 0.2)
    validation_share: float = _flag("share of the remaining queries kept from training, to weigh the reranker by", 0.1)
    validation_split: str | None = _flag("split of the --eval_data collection to use for that instead")
    output_dir: str = _flag("where data, mined rows, reranker and report go", "sharprank_output")

    model_name_or_path: str = _flag(
        "what the reranker starts from: a folder, a hub id, or minilm", "minilm", aliases=["-m"]
    )
    embedder_name_or_path: str = _flag("bi-encoder that mines and is the first stage", "minilm")

    range_for_sampling: str = _flag("ranks to mine from, a half-open slice counted from 0", "2-100")
    negative_number: int = _flag("negatives to mine for each row", 15)
    top_up: Literal["none", "random"] = _flag("what a row with too few negatives gets", "none")

    train_group_size: int = _flag("passages a query and step: 1 positive, the rest negatives", 8)
    per_device_train_batch_size: int | None = _flag("groups a step; by default by the number of rows, and said")
    num_train_epochs: float | None = _flag("passes over the rows; by default by their number, and said")
    max_steps: int = _flag("steps, whatever the number of rows; -1: as many as the epochs have", -1)
    learning_rate: float | None = _flag("peak learning rate; by default by the head and width of the model, and said")
    distillation_weight: float | None = _flag(
        "how much the miner's similarities count as a teacher's beside the labels; by default 1 where the reranker "
        "starts with a new head that has to learn ranking first, else 0, and said"
    )
    dropout: float | None = _flag(
        "dropout while training; by default 0 for a new head and few passes, else the model's own"
    )
    max_len: int | None = _flag("tokens of a pair (default: as trained, else 512 or the model's limit)")

    first_stage: Literal["dense", "bm25"] = _flag("what is re-ranked: the bi-encoder's ranking, or BM25's", "dense")
    depth: int = _flag("passages of each query that are re-ranked", 20)
    measures: list[str] | None = _flag("ir-measures names (default: nDCG@10 MRR@10 MAP Hit@1)")

    mine_config: str | None = _flag("YAML or JSON file with more flags of `sharprank mine`")
    train_config: str | None = _flag("YAML or JSON file with more flags of `sharprank train`")
    on_bad_row: Literal["error", "skip"] = _flag("stop at a bad row, or skip and count it", "error")
    query_key: str = _flag("name of the query in the rows", "query")
    positive_key: str = _flag("name of the positives", "pos")
    negative_key: str = _flag("name of the negatives", "neg")
    device: str | None = _flag("cpu, cuda, cuda:N or mps; by default the best there is")
    dtype: Literal["auto", "float32", "bfloat16"] = _flag(
        "precision of the forward passes; auto: bfloat16 where this machine is fast at it (weights stay float32)",
        "auto",
    )
    seed: int = _flag("of the held-out share, of mining and of training", 42)
    overwrite: bool = _flag("do every stage again, whatever is there", False)

    def __post_init__(self) -> None:
        flags = [one for one in fields(self) if one.init]
        self.given = frozenset(one.name for one in flags if getattr(self, one.name) != one.default)

    @property
    def folder(self) -> Path:
        """The output folder as a path."""
        return Path(self.output_dir)

    def check(self) -> None:
        """Refuse what no stage would refuse by itself, before anything is read.

        Raises:
            UserError: naming the flag.
        """
        for name in ("held_out_share", "validation_share"):
            if not 0 < getattr(self, name) < 1:
                raise UserError(
                    f"--{name} {getattr(self, name)} leaves nothing to train on or nothing to measure on",
                    fix="use a share between 0 and 1 (0.2 and 0.1 are the defaults)",
                )
        check_read(self, {"eval_split": "eval_data"})
        if self.depth < 2:
            raise UserError(f"--depth {self.depth} leaves nothing to re-rank", fix="use --depth 2 or more")
        if self.folder.exists() and not self.folder.is_dir():
            raise UserError(f"--output_dir {self.folder} is a file", fix="name a folder")

    def settings(self, *names: str) -> dict[str, Any]:
        """These settings by name."""
        return {name: asdict(self)[name] for name in names}
