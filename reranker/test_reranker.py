"""Door: measure a reranker.  cd reranker && python test_reranker.py --help"""

from sharprank.cli.test_reranker import main

if __name__ == "__main__":
    raise SystemExit(main())
