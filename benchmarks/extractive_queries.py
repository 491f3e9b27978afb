"""How easily BM25 alone answers extractive queries, by their kind: what it answers always teaches a reranker nothing.

    python benchmarks/extractive_queries.py CORPUS [NUMBER_OF_DOCUMENTS]

The best query of each kind is taken from documents drawn at random. BM25 searches all documents, with the query's own
one in the form that its training row would have: without what the query was taken from.
"""

from __future__ import annotations

import sys
from itertools import islice

from sharprank.retrieval.bm25 import BM25
from sharprank.retrieval.tfidf import TfIdf
from sharprank.synthesis.config import KINDS
from sharprank.synthesis.corpus import eligible, read_corpus, turns
from sharprank.synthesis.queries import body_of, queries_of

DEPTH = 100


def main(corpus_path: str, num_documents: int = 300) -> None:
    """Print one line a kind: queries, MRR, share found first."""
    corpus = read_corpus(corpus_path)
    tfidf = TfIdf(document.text for document in corpus.values())
    drawn = [doc_id for _, doc_id in islice(turns([], eligible(corpus, 300), seed=42), num_documents)]
    passages = {doc_id: body_of(document) for doc_id, document in corpus.items()}
    queries, source = {}, {}
    for kind in KINDS:
        for doc_id in drawn:
            for query in queries_of(corpus[doc_id], tfidf, [kind])[:1]:
                name = f"{kind} {doc_id}"
                queries[name], source[name], passages[name] = query.text, doc_id, query.passage
    run = BM25(passages).search(queries, DEPTH + len(KINDS) * num_documents)
    print("kind      queries    MRR  first")
    for kind in KINDS:
        ranks = [_rank(list(run[name]), name, source) for name in queries if name.startswith(f"{kind} ")]
        if ranks:
            mrr = sum(1 / rank for rank in ranks if rank) / len(ranks)
            print(f"{kind:<9} {len(ranks):>7}  {mrr:.3f}  {ranks.count(1) / len(ranks):.3f}")


def _rank(found: list[str], name: str, source: dict[str, str]) -> int:
    """The rank of the query's own passage among the documents, its whole document left out; 0: beyond DEPTH."""
    others = [one for one in found if one == name or (one not in source and one != source[name])]
    rank = others.index(name) + 1 if name in others else 0
    return rank if rank <= DEPTH else 0


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:3]))
