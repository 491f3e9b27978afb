"""First-stage search by words: BM25 in Lucene's form (bm25s), the same answer on every machine.

Words are lower-cased runs of letters, with their marks, and digits; English ones are stemmed (Snowball), and a query's
"the", "of" and their like are passed over unless it has nothing else. Scripts written without blanks (Chinese,
Japanese, Thai, ...) and Korean are cut into overlapping pairs of characters, so that they match without a dictionary.
Passages that share no word with the query are not returned.

Knows no files and no judgements.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from sharprank.errors import UserError
from sharprank.progress import track
from sharprank.records import Run
from sharprank.retrieval.marks import token_pattern, without_points

_WITHOUT_BLANKS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # Japanese, Chinese
    "\u1100-\u11ff\uac00-\ud7af\U00020000-\U0003ffff"  # Korean, rare Chinese characters
)
_PAIRED = re.compile(rf"[{_WITHOUT_BLANKS}]")


class Tokenizer:
    """Texts to search terms; remembers the stem of every word it has met.

    >>> Tokenizer()("Running dogs, 向量搜索!")
    ['run', 'dog', '向量', '量搜', '搜索']
    """

    def __init__(self, *, stem: bool = True) -> None:
        self._token = token_pattern(f"[{_WITHOUT_BLANKS}]+", _WITHOUT_BLANKS)
        self._stems: dict[str, str] = {}
        self._stemmer = _english_stemmer() if stem else None

    def __call__(self, text: str) -> list[str]:
        normal = without_points(unicodedata.normalize("NFKC", text).lower())
        return [term for token in self._token.findall(normal) for term in self._terms(token)]

    def _terms(self, token: str) -> Iterator[str]:
        if _PAIRED.match(token):
            yield from (token[i : i + 2] for i in range(max(1, len(token) - 1)))
        elif self._stemmer is None or not token.isascii():
            yield token
        else:
            if token not in self._stems:
                self._stems[token] = self._stemmer.stemWord(token)
            yield self._stems[token]


class BM25:
    """An index over passages.

    Args:
        passages: {passage_id: text}; or texts, read one at a time, whose ids are then "0", "1", ... and whose order
            decides between equal scores.
        k1: how slowly repeated words stop counting.
        b: how much long passages are held back, 0 to 1.
        stem: stem English words and pass over the commonest in queries.

    Raises:
        UserError: there is no passage, or no word in any of them.
    """

    def __init__(
        self, passages: Mapping[str, str] | Sequence[str], *, k1: float = 0.9, b: float = 0.4, stem: bool = True
    ) -> None:
        import bm25s
        from bm25s.stopwords import STOPWORDS_EN

        self._ids: list[str] | None = None
        texts: Iterable[str] = passages
        if isinstance(passages, Mapping):
            self._ids = sorted(passages)
            texts = map(passages.__getitem__, self._ids)
        self._tokenize = Tokenizer(stem=stem)
        self._passed_over = {term for word in STOPWORDS_EN for term in self._tokenize(word)} if stem else set()
        self._vocabulary: dict[str, int] = {}
        rows = [self._new_terms(text) for text in track(texts, total=len(passages), desc="BM25 index", unit="passage")]
        if not self._vocabulary:
            raise UserError(
                f"BM25 finds no word in {len(rows)} passages", fix="check that the passages hold text, or give --run"
            )
        self._index = bm25s.BM25(k1=k1, b=b, method="lucene")
        self._index.index((rows, dict(self._vocabulary)), create_empty_token=False, show_progress=False)

    def search(self, queries: Mapping[str, str], k: int, *, progress: str | None = "BM25 search") -> Run:
        """The best k passages of each query, best first; equal scores are ordered by passage id.

        Args:
            queries: {query_id: text}.
            k: passages a query at most; fewer where fewer share a word with it.
            progress: words for the progress bar; no bar without them.
        """
        texts = track(queries.items(), desc=progress, unit="query")
        return {query_id: self._best(text, k) for query_id, text in texts}

    def _best(self, query: str, k: int) -> dict[str, float]:
        places, scores = self.best(query, k)
        names = map(str, places.tolist()) if self._ids is None else (self._ids[place] for place in places.tolist())
        return dict(zip(names, scores.tolist(), strict=True))

    def best(self, query: str, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Places int64 [K] of the best passages (among texts, or among the sorted ids), and their scores [K]."""
        known = [term for term in self._tokenize(query) if term in self._vocabulary]
        telling = [term for term in known if term not in self._passed_over]
        terms = [self._vocabulary[term] for term in telling or known]
        if not terms:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        scores = self._index.get_scores_from_ids(terms)
        found = np.flatnonzero(scores > 0)
        if len(found) > k:
            threshold = np.partition(scores[found], len(found) - k)[len(found) - k]
            found = found[scores[found] >= threshold]
        best = found[np.argsort(-scores[found], kind="stable")][:k]  # ids are sorted, so places order ties by id
        return best.astype(np.int64), scores[best]

    def _new_terms(self, text: str) -> list[int]:
        return [self._vocabulary.setdefault(term, len(self._vocabulary)) for term in self._tokenize(text)]


def _english_stemmer():
    import snowballstemmer

    return snowballstemmer.stemmer("english")
