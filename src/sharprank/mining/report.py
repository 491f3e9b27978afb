"""What mining did, counted: the numbers of the statistics file, and the lines a person reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from sharprank.mining.negatives import MinedRow
from sharprank.mining.select import quantiles


class Tally:
    """Counts row by row; `numbers` gives the sums.

    Args:
        wanted: negatives each row should get.
    """

    def __init__(self, *, wanted: int) -> None:
        self._wanted = wanted
        self._counts: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self._negative: list[float] = []
        self._positive: list[float] = []
        self._ranks: list[int] = []

    def add(self, mined: MinedRow) -> None:
        """Count one row."""
        num_mined = len(mined.selection.ids)
        self._counts.update(
            rows=1,
            mined=num_mined - mined.selection.num_random,
            random=mined.selection.num_random,
            kept=len(mined.kept),
            too_few=num_mined < self._wanted,
            none=num_mined + len(mined.kept) == 0,
            missing=max(0, self._wanted - num_mined),
            stale_scores=mined.had_scores,
        )
        self._refused += mined.selection.refused
        self._dropped += mined.dropped
        self._negative += [value for value in mined.negative_similarities if value is not None]
        self._positive += [value for value in mined.positive_similarities if value is not None]
        self._ranks += [rank for rank in mined.selection.ranks if rank is not None]

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
            "refused_candidates": _by_size(self._refused),
            "existing_dropped": _by_size(self._dropped),
            "negative_similarity": quantiles(self._negative),
            "positive_similarity": quantiles(self._positive),
            "negative_rank": quantiles(self._ranks),
        }


def summary(stats: Mapping[str, Any]) -> str:
    """The statistics as a few lines for a terminal."""
    rows, negatives, pool = stats["rows"], stats["negatives"], stats["pool"]
    skipped_rows, skipped_passages = (sum(part["skipped"].values()) for part in (rows, pool))
    in_pool = f"{pool['passages']:,} passages" + _if(pool["duplicates"], f", {pool['duplicates']:,} duplicates dropped")
    lines = [
        ("rows", f"{rows['written']:,}" + _if(skipped_rows, f", {skipped_rows:,} bad ones skipped")),
        ("pool", in_pool + _if(skipped_passages, f", {skipped_passages:,} bad ones skipped")),
        ("negatives", f"{negatives['mined_from_the_window']:,} mined from ranks {stats['ranks']}"),
        (
            "",
            _if(
                negatives["random_from_the_pool"],
                f"{negatives['random_from_the_pool']:,} drawn at random from the pool",
            ),
        ),
        ("", _if(negatives["existing_kept"], f"{negatives['existing_kept']:,} of the rows' own kept")),
        *(("refused", f"{count:,} candidates: {reason}") for reason, count in stats["refused_candidates"].items()),
        *(("dropped", f"{count:,} own negatives: {reason}") for reason, count in stats["existing_dropped"].items()),
        ("too few", _if(rows["with_too_few_negatives"], _too_few(rows))),
        ("similarity", _medians(stats)),
    ]
    return "\n".join(f"{name:<11}{text}" for name, text in lines if text)


def _if(count: int, text: str) -> str:
    return text if count else ""


def _too_few(rows: Mapping[str, Any]) -> str:
    none = rows["without_any_negative"]
    return f"{rows['with_too_few_negatives']:,} rows" + _if(none, f", {none:,} of them with none")


def _by_size(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _medians(stats: Mapping[str, Any]) -> str:
    found = {name: stats[f"{name}_similarity"].get("median") for name in ("positive", "negative")}
    known = ", ".join(f"{name} {value:.2f}" for name, value in found.items() if value is not None)
    return known and f"{known} (medians)"
