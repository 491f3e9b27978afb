"""From the flags to the sources of candidates: encoders loaded and searched one after the other, runs read, BM25 built.

The first bi-encoder is the yardstick: its cosines are what score filters and outputs go by, whoever found a passage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from sharprank.errors import UserError
from sharprank.formats.collections import is_collection, read_queries
from sharprank.mining.candidates import Candidates, Encoder, Searching, find_candidates
from sharprank.mining.config import MineConfig
from sharprank.mining.inputs import Inputs, hash_of
from sharprank.mining.long_passages import SplitCandidates, find_split_candidates
from sharprank.mining.rankings import BM25Ranking, query_ids, read_run_ranking
from sharprank.mining.record import NoYardstick, Yardstick
from sharprank.mining.sources import BM25, DENSE, IN_BATCH, DrawnSource, RankedSource, Source, SourceSpec
from sharprank.models.minilm import resolve_model
from sharprank.progress import say

LoadEncoder = Callable[[MineConfig], Encoder]


@dataclass
class Searches:
    """What the bi-encoders found.

    Attributes:
        candidates: by the name of their source, in the order of the sources.
        about: all that decides each encoder's vectors.
    """

    candidates: dict[str, Candidates | SplitCandidates] = field(default_factory=dict)
    about: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def yardstick(self) -> Yardstick:
        """The first bi-encoder's cosines."""
        return next(iter(self.candidates.values()), NoYardstick())


def encoder_configs(config: MineConfig) -> Iterator[tuple[str, MineConfig]]:
    """(source, flags of its bi-encoder): those given are for `dense`; every other follows its own conventions."""
    for spec in config.source_specs:
        if spec.name == DENSE:
            yield spec.name, config
        elif spec.is_encoder:
            yield (
                spec.name,
                replace(
                    config,
                    model_name_or_path=spec.name,
                    pooling_method=None,
                    query_instruction_for_retrieval=None,
                    query_instruction_format_for_retrieval=None,
                    passage_instruction_for_retrieval=None,
                ),
            )


def contents_of_sources(config: MineConfig) -> dict[str, Any]:
    """What the sources beside `dense` and the teacher hold, as settings: local ones count by their contents.

    Raises:
        UserError: a model or a run that is not there.
    """
    found: dict[str, Any] = {}
    for spec in config.source_specs:
        if spec.is_run:
            found[spec.name] = hash_of(spec.name)
            if found[spec.name] is None:
                raise UserError(f"--sources: the run {spec.name} is not there", fix="check the path")
        elif spec.is_encoder and spec.name != DENSE:
            found[spec.name] = hash_of(resolve_model(spec.name))
    contents: dict[str, Any] = {"sources_sha256": found} if found else {}
    if config.teacher is not None:
        contents["teacher_sha256"] = hash_of(resolve_model(config.teacher))
    return contents


def search_all(config: MineConfig, inputs: Inputs, load_encoder: LoadEncoder, how: Searching) -> Searches:
    """Embed and search with every bi-encoder, one after the other; all ranks take part.

    Raises:
        UserError: see `find_candidates`.
    """
    searches = Searches()
    beside = None
    if config.compares_with_positives and any(spec.is_encoder for spec in config.source_specs):
        beside = inputs.texts_beside(negatives=config.keep_existing, ranks=how.ranks)
    for name, own in encoder_configs(config):
        encoder = load_encoder(own)
        about = {**encoder.settings(), "weights_sha256": encoder.weights_sha256()}
        if config.long_passages == "split":
            searches.candidates[name] = find_split_candidates(
                encoder, inputs.pool, inputs.queries, how, about_encoder=about, overlap=config.overlap, beside=beside
            )
        else:
            searches.candidates[name] = find_candidates(
                encoder, inputs.pool, inputs.queries, how, about_encoder=about, beside=beside
            )
        searches.about[name] = about
        beside = None  # only the first is asked for other cosines
    return searches


def sources_of(config: MineConfig, inputs: Inputs, searches: Searches, *, k: int) -> list[Source]:
    """The sources, in the order of their names.

    Raises:
        UserError: a run that cannot be used, a pool without words or without the positives.
    """
    return [_source(spec, config, inputs, searches, k) for spec in config.source_specs]


def _source(spec: SourceSpec, config: MineConfig, inputs: Inputs, searches: Searches, k: int) -> Source:
    pool = inputs.pool
    if not spec.is_ranked:
        numbers = _positives_in_pool(inputs) if spec.name == IN_BATCH else None
        return DrawnSource(spec.name, pool_size=len(pool), numbers=numbers)
    cosines = None
    if spec.is_encoder:
        ranking: Any = searches.candidates[spec.name]
        if ranking is searches.yardstick and isinstance(ranking, Candidates):
            cosines = ranking.scores
    elif spec.name == BM25:
        ranking = BM25Ranking(pool, k=k)
    else:
        if pool.ids is None:
            raise UserError(
                f"--sources: {spec.name} names passages by their ids, and the pool has none",
                fix="give the passages of --candidate_pool an _id",
            )
        ranking = read_run_ranking(spec.name, _queries_by_id(config, inputs), pool.number_of, k=k)
    return RankedSource(spec.name, ranking, pool.digests, cosines=cosines)


def _positives_in_pool(inputs: Inputs) -> np.ndarray:
    """The numbers of all rows' positives that the pool holds, each once, in order: int64."""
    found = (inputs.pool.find(text) for row in inputs.rows for text in row.positives)
    numbers = np.unique(np.fromiter((number for number in found if number is not None), np.int64))
    if not len(numbers):
        raise UserError(
            "--sources in_batch: the pool holds no positive of any row", fix="add the positives to --candidate_pool"
        )
    return numbers


def _queries_by_id(config: MineConfig, inputs: Inputs) -> dict[str, str]:
    """{id: query}: as the rows say, else by the texts of the collection that the pool is of."""
    queries = query_ids(inputs.rows)
    if not queries and config.candidate_pool is not None and is_collection(config.candidate_pool):
        say(f"note: the rows carry no query ids; queries are looked up by their texts in {config.candidate_pool}")
        asked = {row.query for row in inputs.rows}
        queries = {name: text for name, text in read_queries(config.candidate_pool).items() if text in asked}
    return queries
