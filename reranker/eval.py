"""Door: evaluate a reranker.  cd reranker && python eval.py -m MODEL -d DATA [-sd SUBSET]"""

from sharprank.cli.evaluate import main

if __name__ == "__main__":
    raise SystemExit(main())
