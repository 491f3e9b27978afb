"""What is to be ranked, whatever it was read from: queries, their candidates, and the judgements.

Rows and collections both become a `RankingTask`; what follows (scoring, measures, comparison) knows only that.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sharprank.records import Qrels, Run


@dataclass(frozen=True, kw_only=True)
class RankingTask:
    """Queries with candidates to re-rank.

    Attributes:
        title: what it is, in one line.
        queries, passages: texts by id.
        candidates: passage ids of each query that the reranker orders, best first.
        qrels: the judgements the ranking measures use; they say which queries count.
        pair_labels: {query_id: {passage_id: 0 or 1}} pooled for precision, recall, F1 and AUC; None: no such measures.
        first_stage: the run the candidates come from, to its full depth; None: there is none.
        first_stage_name: its name for tables.
        tails: passage ids of each query beyond the re-ranked depth, in the first stage's order.
        input_paths: files that were read.
        counts: what was left out or is missing, by name.
        notes: the same in sentences.
    """

    title: str
    queries: Mapping[str, str]
    passages: Mapping[str, str]
    candidates: Mapping[str, Sequence[str]]
    qrels: Qrels
    pair_labels: Qrels | None = None
    first_stage: Run | None = None
    first_stage_name: str = ""
    tails: Mapping[str, Sequence[str]] = field(default_factory=dict)
    input_paths: Sequence[str] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    notes: Sequence[str] = ()

    @property
    def num_pairs(self) -> int:
        return sum(map(len, self.candidates.values()))

    @property
    def judgements_hash(self) -> str:
        """sha256 of the judged queries' texts and their judgements, so that what is paired by id is the same thing.

        The ids of rows' passages are places in the file, so there the texts are hashed.
        """
        digest = hashlib.sha256()
        for query_id, judged in sorted(self.qrels.items()):
            names = judged if self.pair_labels is None else map(self.passages.__getitem__, judged)
            judgements = sorted(zip(names, judged.values(), strict=True))
            digest.update(json.dumps([query_id, self.queries[query_id], judgements]).encode())
        return digest.hexdigest()
