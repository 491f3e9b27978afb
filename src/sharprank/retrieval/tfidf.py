"""Texts as weighted words: what a rare word says about a text, and vectors whose cosine says how alike texts are.

The words are BM25's. Weights are the logarithms of BM25's formula, so that both agree on which words are rare.

Shapes: N texts, W distinct words of those texts.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from sharprank.retrieval.bm25 import Tokenizer


class TfIdf:
    """Word weights learned from a collection.

    Args:
        texts: the collection.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._tokenize = Tokenizer()
        self._holding: Counter[str] = Counter()
        self._num_texts = 0
        self._common = _common_words(self._tokenize)
        for text in texts:
            self._num_texts += 1
            self._holding.update(set(self._tokenize(text)))

    def terms(self, text: str) -> list[str]:
        """The search terms of a text, in their order."""
        return self._tokenize(text)

    def weight(self, term: str) -> float:
        """How much a term says: more, the fewer texts hold it; a term of no text as much as one of a single text."""
        holding = max(1, self._holding[term])
        return math.log(1 + (self._num_texts - holding + 0.5) / (holding + 0.5))

    def is_common(self, term: str) -> bool:
        """Whether a term is a word like "the" and "of", which BM25 passes over in queries."""
        return term in self._common

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        """float64 [N, W]: (1 + ln count) * weight of each word, every row of length 1; zeros for a text without words.

        The columns are the words of these texts only: vectors of one call belong together.
        """
        counts = [Counter(self._tokenize(text)) for text in texts]
        columns = {term: column for column, term in enumerate(sorted(set().union(*counts)))}
        vectors_NW = np.zeros((len(texts), len(columns)))
        for row, found in enumerate(counts):
            for term, count in found.items():
                vectors_NW[row, columns[term]] = (1 + math.log(count)) * self.weight(term)
        lengths_N = np.linalg.norm(vectors_NW, axis=1, keepdims=True)
        return np.divide(vectors_NW, lengths_N, out=vectors_NW, where=lengths_N > 0)


def _common_words(tokenize: Tokenizer) -> set[str]:
    from bm25s.stopwords import STOPWORDS_EN

    return {term for word in STOPWORDS_EN for term in tokenize(word)}
