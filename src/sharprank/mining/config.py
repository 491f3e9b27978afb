"""What `sharprank mine` can be told, and what of it cannot work.

Flags keep the names users of FlagEmbedding's miner and of its relatives know. Loads nothing.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from sharprank.errors import UserError
from sharprank.mining.checks import check_encoder, check_files, check_numbers, check_scores, check_teacher, check_window
from sharprank.mining.select import DEFAULT_NUMBER, How, Window, numbered, parse_windows, shared
from sharprank.mining.sources import DENSE, SourceSpec, parse_sources
from sharprank.retrieval.filters import NEAR_DUPLICATE, ScoreRule

PRESETS = {
    "none": ScoreRule(),
    "topk_abs": ScoreRule(ceiling=0.7),
    "topk_marginpos": ScoreRule(margin=0.05),
    "topk_percpos": ScoreRule(relative_margin=0.05),
}
"""Rules of NV-Retriever (Moreira et al. 2024), each with the value that was best there."""

_CHANGE_NO_BYTE = {
    "output_file",
    "output_candidates",
    "report",
    "overwrite",
    "batch_size",
    "search_batch_size",
    "use_gpu_for_searching",
    "device",
    "embedding_cache",
    "cache_dir",
}


ENCODER_FLAGS = (
    "model_name_or_path", "pooling_method", "query_instruction_for_retrieval",
    "query_instruction_format_for_retrieval", "passage_instruction_for_retrieval", "embedder_query_max_length",
    "embedder_passage_max_length", "dtype", "trust_remote_code",
)  # fmt: skip
"""What decides the bi-encoder's vectors."""


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
        "ranks to sample from, a half-open slice counted from 0: 2-200 leaves out the first 2 and ends with the 200th; "
        "several ranges with their numbers of negatives: 2-20:5,20-200:10",
        "10-210",
    )
    negative_number: int = _flag("negatives to mine for each row", DEFAULT_NUMBER)
    sampling: How = _flag(
        "random: every rank of a range alike; top: the best first; log_random: rank r with weight 1/r", "random"
    )
    sources: str = _flag(
        "where negatives come from, with shares: dense (the model named above), bm25, more bi-encoders, TREC runs "
        "(FILE.trec), random (the pool), in_batch (other rows' positives), as dense:2,bm25:1,random:1",
        DENSE,
    )
    top_up: Literal["none", "random"] = _flag(
        "what a row with too few gets: nothing, or random passages of the pool", "none"
    )
    keep_existing: bool = _flag("keep the rows' own negatives, before the mined ones and beside their number", False)
    near_duplicate: float = _flag(
        "overlap (Jaccard, 3-token shingles) from which a passage is a near-duplicate of a positive; 2 switches it off",
        NEAR_DUPLICATE,
    )
    false_negatives: Literal["none", "topk_abs", "topk_marginpos", "topk_percpos"] = _flag(
        "NV-Retriever's rules against false negatives, by the first bi-encoder's cosine: topk_percpos refuses 95%% of "
        "the lowest positive's and more, topk_marginpos what comes within 0.05 of it, topk_abs what is above 0.7",
        "none",
    )
    max_score: float | None = _flag("refuse candidates whose cosine with the query is above this")
    min_score: float | None = _flag("refuse candidates whose cosine is below this")
    absolute_margin: float | None = _flag("refuse candidates that come within this of the lowest positive's cosine")
    relative_margin: float | None = _flag(
        "refuse cosines of at least pos - |pos| * this, pos being the lowest positive's"
    )

    teacher: str | None = _flag("cross-encoder that judges the negatives and leaves pos_scores and neg_scores")
    teacher_margin: float = _flag(
        "refuse what the teacher scores (raw) within this of the row's lowest positive; below 0 refuses less", 0.0
    )
    teacher_ceiling: float | None = _flag("refuse what the teacher gives a higher probability than this")
    teacher_promote: float | None = _flag("what the teacher gives this probability or more becomes a positive")
    teacher_max_length: int | None = _flag("tokens of a pair for the teacher; by default 512 or the model's limit")
    long_passages: Literal["truncate", "split"] = _flag(
        "passages longer than a model takes: read the beginning, or read all in windows and take the best", "truncate"
    )
    overlap: int = _flag("tokens that neighbouring windows of a split passage share", 50)

    output_scores: bool = _flag(
        "also write neg_similarity, neg_rank (counted from 1), pos_similarity, neg_id and pos_id: training learns from "
        "the similarities where a new head has to learn ranking first, measures by them, and `filter` filters by them",
        True,
    )
    output_candidates: str | None = _flag("also write every candidate that was met, with the reason it was refused")
    report: str | None = _flag("also write a page to look at: FILE.html")
    seed: int = _flag("another seed, another sample; the same seed, the same bytes", 42)

    query_instruction_for_retrieval: str | None = _flag("put before queries; by default the model's own")
    query_instruction_format_for_retrieval: str | None = _flag(
        "how instruction and query are joined, two pairs of braces; by default the model's own, else {}{}"
    )
    passage_instruction_for_retrieval: str | None = _flag("put before passages; by default the model's own")
    pooling_method: str | None = _flag("cls, mean or last_token; by default the model's own")
    embedder_query_max_length: int | None = _flag("tokens of a query at most; by default the model's own, up to 512")
    embedder_passage_max_length: int | None = _flag("tokens of a passage at most; likewise")
    dtype: str | None = _flag(
        "float32, bfloat16, float16 or auto; by default bfloat16 on CUDA from Ampere on, else float32"
    )
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
    def windows(self) -> tuple[Window, ...]:
        """The slices of ranks that are sampled, each with its number of negatives.

        Raises:
            UserError: not two whole numbers, the first smaller.
        """
        return numbered(parse_windows(self.range_for_sampling), self.negative_number)

    @property
    def number(self) -> int:
        """Negatives to mine for each row: what the windows add up to."""
        return sum(window.number or 0 for window in self.windows)

    @property
    def window(self) -> tuple[int, int]:
        """The half-open slice of ranks, 0-based, that all windows lie in."""
        return min(window.low for window in self.windows), max(window.high for window in self.windows)

    @property
    def source_specs(self) -> tuple[SourceSpec, ...]:
        """The sources with their shares.

        Raises:
            UserError: they cannot be understood.
        """
        return parse_sources(self.sources)

    @property
    def score_rule(self) -> ScoreRule:
        """What cosines decide: the preset, and single values in the place of its own."""
        own = ScoreRule(self.max_score, self.min_score, self.absolute_margin, self.relative_margin)
        return own.over(PRESETS[self.false_negatives])

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
        self.check_windows()
        check_scores(self)
        check_encoder(self)
        check_teacher(self)
        check_files(self)

    @property
    def compares_with_positives(self) -> bool:
        """Whether the cosines of the rows' positives have to be known, also of those outside the pool."""
        return self.output_scores or self.report is not None or self.score_rule.needs_positives

    def check_windows(self, pool_size: int | None = None) -> None:
        """Refuse windows that cannot hold the negatives, of themselves or in a pool of this size.

        Raises:
            UserError: naming the ranks, what they hold and the way out.
        """
        check_numbers(parse_windows(self.range_for_sampling), self.negative_number)
        specs = self.source_specs
        draws = self.top_up == "random" or not all(spec.is_ranked for spec in specs)
        is_only = len(self.windows) == 1 and len(specs) == 1
        for window in self.windows:
            most = max(shared(window.number or 0, [spec.share for spec in specs]))
            ranks = (window.low, window.high)
            check_window(ranks, most, top_up=draws, pool_size=pool_size, is_only=is_only)

    def settings(self) -> dict[str, Any]:
        """All that decides the bytes of the output, the contents of the inputs apart."""
        return {name: value for name, value in asdict(self).items() if name not in _CHANGE_NO_BYTE}
