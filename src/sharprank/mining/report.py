"""What mining did, counted: the numbers of the statistics file, and the lines a person reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sharprank.mining.record import MinedRow
from sharprank.mining.select import quantiles

SAMPLE_SIZE = 1 << 17


class Sample:
    """Numbers for quantiles and histograms: all of them, and once they are many every 2nd, 4th, ... in their order."""

    def __init__(self, size: int = SAMPLE_SIZE) -> None:
        self.values: list[float] = []
        self._size = size
        self._step = 1
        self._count = 0

    def add(self, values: Iterable[float | None]) -> None:
        """Take some more; None is passed over."""
        for value in values:
            if value is None:
                continue
            if self._count % self._step == 0:
                self.values.append(value)
                if len(self.values) == self._size:
                    self.values = self.values[::2]
                    self._step *= 2
            self._count += 1


class Tally:
    """Counts row by row; `numbers` gives the sums.

    Args:
        wanted: negatives each row should get.
        neg_scores_key: the field whose stale scores are counted.

    Attributes:
        negative, positive: cosines of mined negatives and of the rows' positives.
        teacher_negative, teacher_positive: the teacher's scores of them.
        by_rank: how many candidates were met at each rank, by reason; None stands for those that became negatives.
    """

    def __init__(self, *, wanted: int, neg_scores_key: str = "neg_scores") -> None:
        self.wanted = wanted
        self._neg_scores_key = neg_scores_key
        self._counts: Counter[str] = Counter()
        self._sources: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.negative, self.positive, self.ranks = Sample(), Sample(), Sample()
        self.teacher_negative, self.teacher_positive = Sample(), Sample()
        self.by_rank: Counter[tuple[str | None, int]] = Counter()

    def add(self, mined: MinedRow) -> None:
        """Count one row."""
        num_mined = len(mined.negatives)
        num_drawn = sum(one.rank is None for one in mined.negatives)
        self._counts.update(
            rows=1,
            mined=num_mined - num_drawn,
            random=num_drawn,
            kept=len(mined.kept),
            promoted=len(mined.promoted),
            met=len(mined.met),
            too_few=num_mined < self.wanted,
            none=num_mined + len(mined.kept) == 0,
            missing=max(0, self.wanted - num_mined),
            stale_scores=mined.row.fields.get(self._neg_scores_key) is not None,
        )
        self._sources.update(one.source for one in mined.negatives)
        self._dropped += mined.dropped
        self.refused.update(one.reason for one in mined.met if one.reason is not None)
        self.by_rank.update((one.reason, one.rank) for one in mined.met if one.rank is not None)
        self.negative.add(one.similarity for one in mined.negatives)
        self.positive.add(mined.positive_similarities)
        self.ranks.add(one.rank for one in mined.negatives)
        self.teacher_negative.add(one.teacher_score for one in mined.negatives)
        self.teacher_positive.add(mined.positive_scores)

    def numbers(self) -> dict[str, Any]:
        """All counts and quantiles, ready for JSON."""
        counts = self._counts
        return {
            "rows": {
                "written": counts["rows"],
                "with_too_few_negatives": counts["too_few"],
                "without_any_negative": counts["none"],
                "with_stale_neg_scores_removed": counts["stale_scores"],
            },
            "negatives": {
                "mined_from_the_window": counts["mined"],
                "random_from_the_pool": counts["random"],
                "existing_kept": counts["kept"],
                "missing": counts["missing"],
            },
            "negatives_by_source": _by_size(self._sources),
            "candidates_met": counts["met"],
            "promoted_to_positives": counts["promoted"],
            "refused_candidates": _by_size(self.refused),
            "existing_dropped": _by_size(self._dropped),
            "negative_similarity": quantiles(self.negative.values),
            "positive_similarity": quantiles(self.positive.values),
            "negative_rank": quantiles(self.ranks.values),
            "negative_teacher_score": quantiles(self.teacher_negative.values),
            "positive_teacher_score": quantiles(self.teacher_positive.values),
        }


def summary(stats: Mapping[str, Any]) -> str:
    """The statistics as a few lines for a terminal."""
    rows, negatives, pool = stats["rows"], stats["negatives"], stats["pool"]
    skipped_rows, skipped_passages = (sum(part["skipped"].values()) for part in (rows, pool))
    in_pool = f"{pool['passages']:,} passages" + _if(pool["duplicates"], f", {pool['duplicates']:,} duplicates dropped")
    sources = stats["negatives_by_source"]
    lines = [
        ("rows", f"{rows['written']:,}" + _if(skipped_rows, f", {skipped_rows:,} bad ones skipped")),
        ("pool", in_pool + _if(skipped_passages, f", {skipped_passages:,} bad ones skipped")),
        ("negatives", f"{negatives['mined_from_the_window']:,} mined from ranks {stats['ranks']}"),
        ("", _if(negatives["random_from_the_pool"], f"{negatives['random_from_the_pool']:,} drawn at random")),
        ("", _if(negatives["existing_kept"], f"{negatives['existing_kept']:,} of the rows' own kept")),
        *(("source", f"{count:,} from {name}") for name, count in sources.items() if len(sources) > 1),
        *(("refused", f"{count:,} candidates: {reason}") for reason, count in stats["refused_candidates"].items()),
        *(("dropped", f"{count:,} own negatives: {reason}") for reason, count in stats["existing_dropped"].items()),
        ("too few", _if(rows["with_too_few_negatives"], _too_few(rows))),
        ("similarity", _medians(stats, "similarity")),
        ("teacher", _medians(stats, "teacher_score")),
    ]
    return "\n".join(f"{name:<11}{text}" for name, text in lines if text)


def histogram(by_rank: Mapping[tuple[str | None, int], int], reasons: Sequence[str | None], edges: int) -> list[int]:
    """How many candidates of some reasons were met in each of 20 equal parts of the ranks up to `edges`."""
    counts = [0] * NUM_RANK_BINS
    for (reason, rank), count in by_rank.items():
        if reason in reasons:
            counts[(rank - 1) * NUM_RANK_BINS // edges] += count
    return counts


NUM_RANK_BINS = 20


def _if(count: int, text: str) -> str:
    return text if count else ""


def _too_few(rows: Mapping[str, Any]) -> str:
    none = rows["without_any_negative"]
    return f"{rows['with_too_few_negatives']:,} rows" + _if(none, f", {none:,} of them with none")


def _by_size(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _medians(stats: Mapping[str, Any], kind: str) -> str:
    found = {name: stats[f"{name}_{kind}"].get("median") for name in ("positive", "negative")}
    known = ", ".join(f"{name} {value:.2f}" for name, value in found.items() if value is not None)
    return known and f"{known} (medians)"
