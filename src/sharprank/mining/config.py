"""What `sharprank mine` can be told, and what of it cannot work.

Flags keep the names users of FlagEmbedding's miner and of its relatives know. Loads nothing.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from sharprank.errors import UserError
from sharprank.retrieval.filters import NEAR_DUPLICATE

_CHANGE_NO_BYTE = {
    "output_file",
    "overwrite",
    "batch_size",
    "search_batch_size",
    "use_gpu_for_searching",
    "device",
    "embedding_cache",
    "cache_dir",
}


def _flag(help_text: str, default: Any = None, *, aliases: list[str] | None = None) -> Any:
    metadata = {"help": help_text} | ({"aliases": aliases} if aliases else {})
    return field(default=default, metadata=metadata)


@dataclass(kw_only=True)
class MineConfig:
    """The flags of `sharprank mine`."""

    input_file: str = field(metadata={"help": "rows {query, pos, neg?}: a file, a folder, or a Hugging Face dataset"})
    output_file: str = field(metadata={"help": "the same rows with mined `neg`, as JSON lines (.gz understood)"})
    model_name_or_path: str = _flag(
        "bi-encoder that finds the candidates: a folder, a hub id, or minilm",
        "BAAI/bge-base-en-v1.5",
        aliases=["--embedder_name_or_path"],
    )
    sub_data_name: str | None = _flag("subset (configuration) of the dataset that --input_file names")
    candidate_pool: str | None = _flag(
        "passages to mine from: {text}, {title, text}, {content} or plain lines; by default all pos and neg of the rows"
    )
    range_for_sampling: str = _flag(
        "ranks to sample from, a half-open slice counted from 0: 2-200 leaves out the first 2 and ends with the 200th",
        "10-210",
    )
    negative_number: int = _flag("negatives to mine for each row", 15)
    top_up: Literal["none", "random"] = _flag(
        "what a row with too few gets: nothing, or random passages of the pool", "none"
    )
    keep_existing: bool = _flag("keep the rows' own negatives, before the mined ones and beside their number", False)
    near_duplicate: float = _flag(
        "overlap (Jaccard, 3-token shingles) from which a passage is a near-duplicate of a positive; 2 switches it off",
        NEAR_DUPLICATE,
    )
    output_scores: bool = _flag("also write neg_similarity, neg_rank (counted from 1) and pos_similarity", False)
    seed: int = _flag("another seed, another sample; the same seed, the same bytes", 42)

    query_instruction_for_retrieval: str | None = _flag("put before queries; by default the model's own")
    query_instruction_format_for_retrieval: str | None = _flag(
        "how instruction and query are joined, two pairs of braces; by default the model's own, else {}{}"
    )
    passage_instruction_for_retrieval: str | None = _flag("put before passages; by default the model's own")
    pooling_method: str | None = _flag("cls, mean or last_token; by default the model's own")
    embedder_query_max_length: int | None = _flag("tokens of a query at most; by default the model's own, up to 512")
    embedder_passage_max_length: int | None = _flag("tokens of a passage at most; likewise")
    dtype: str | None = _flag("float32, bfloat16, float16 or auto; by default bfloat16 on CUDA, float32 elsewhere")
    device: str | None = _flag("cpu, cuda, cuda:N or mps; by default the best there is")
    trust_remote_code: bool = _flag("run code that comes with the model", False)
    cache_dir: str | None = _flag("where models from the hub are kept")
    embedding_cache: str | None = _flag(
        "cache for texts, vectors and hits, so that a run that died continues and another run on the same texts embeds "
        "nothing again; by default SHARPRANK_CACHE, or sharprank in your cache folder"
    )
    embedding_dtype: Literal["float32", "float16"] = _flag(
        "numbers of stored vectors; float16 takes half the disk", "float32"
    )

    use_gpu_for_searching: bool = _flag("search on all GPUs, or under torchrun each rank on its own", False)
    index_factory: str | None = _flag(
        "search a FAISS index, such as IVF4096,PQ64 or HNSW32, in place of all passages: faster, not exact; how much "
        "of the exact result it finds is measured and said"
    )
    index_parameters: str | None = _flag(
        "how thoroughly, as nprobe=64 or efSearch=256; by default a sixteenth of the lists, or 4 times the candidates"
    )
    search_batch_size: int = _flag("queries searched at a time: speed and memory, never the result", 1024)
    batch_size: int = _flag("texts tokenised at a time: speed and memory, never the result", 2048)

    on_bad_row: Literal["error", "skip"] = _flag("stop at a bad row, or skip and count it", "error")
    overwrite: bool = _flag("mine again even if the output exists", False)
    query_key: str = _flag("name of the query in the rows", "query")
    positive_key: str = _flag("name of the positives", "pos")
    negative_key: str = _flag("name of the negatives, read and written", "neg")
    pos_scores_key: str = _flag("name of the positives' teacher scores", "pos_scores")
    neg_scores_key: str = _flag(
        "name of the negatives' teacher scores; those of replaced negatives are dropped", "neg_scores"
    )

    @property
    def window(self) -> tuple[int, int]:
        """The half-open slice of ranks that is sampled, 0-based.

        Raises:
            UserError: not two whole numbers, the first smaller.
        """
        match = re.fullmatch(r"\s*(\d+)\s*-\s*(\d+)\s*", self.range_for_sampling)
        if match is None or int(match[1]) >= int(match[2]):
            raise UserError(
                f"--range_for_sampling {self.range_for_sampling!r} is not a range of ranks",
                fix="write two whole numbers, the smaller first: 2-200 leaves out the first 2 and ends with the 200th",
            )
        return int(match[1]), int(match[2])

    def check(self) -> None:
        """Refuse what cannot work, before anything is read.

        Raises:
            UserError: naming the flag and the way out.
        """
        for name in ("negative_number", "batch_size", "search_batch_size"):
            if getattr(self, name) < 1:
                raise UserError(f"--{name} {getattr(self, name)} is less than 1", fix=f"use --{name} 1 or more")
        if not self.near_duplicate > 0:
            raise UserError(
                f"--near_duplicate {self.near_duplicate} would refuse every passage",
                fix="use a value above 0: 0.8 is the default, 1 asks for the same shingles, 2 switches it off",
            )
        if self.index_parameters is not None and self.index_factory is None:
            raise UserError(
                f"--index_parameters {self.index_parameters} without an index",
                fix="add --index_factory, or leave it out",
            )
        check_window(self.window, self.negative_number, top_up=self.top_up == "random")
        output = Path(self.output_file).absolute()
        for flag in ("input_file", "candidate_pool"):
            path = getattr(self, flag)
            if path is not None and Path(path).absolute() == output:
                raise UserError(
                    f"--output_file {self.output_file} is also --{flag}", fix="write to another file; the input is kept"
                )

    def settings(self) -> dict[str, Any]:
        """All that decides the bytes of the output, the contents of the inputs apart."""
        return {name: value for name, value in asdict(self).items() if name not in _CHANGE_NO_BYTE}


def check_window(window: tuple[int, int], number: int, *, top_up: bool, pool_size: int | None = None) -> None:
    """Refuse a rank window that cannot hold the negatives, of itself or in a pool of this size.

    Raises:
        UserError: naming the ranks, what they hold and the way out.
    """
    low, high = window
    if pool_size is not None and low >= pool_size:
        raise UserError(
            f"the pool holds {pool_size} passages, but --range_for_sampling {low}-{high} starts after the first {low}",
            fix=f"use a range that starts below {pool_size}, or a larger --candidate_pool",
        )
    held = (high if pool_size is None else min(high, pool_size)) - low
    if held >= number or top_up:
        return
    if pool_size is not None and held < high - low:
        raise UserError(
            f"ranks {low + 1}-{high} of a pool of {pool_size} passages hold {held} candidates, "
            f"but negative_number is {number}",
            fix=f"use --negative_number {held}, or a larger --candidate_pool",
        )
    raise UserError(
        f"ranks {low + 1}-{high} hold {held} candidates, but negative_number is {number}",
        fix=f"use --range_for_sampling {low}-{low + number} or wider, or --negative_number {held}, or --top_up random",
    )
