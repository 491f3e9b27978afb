"""Door: train a reranker.  cd reranker && torchrun --nproc_per_node 2 run.py --help"""

from sharprank.cli.train import main

if __name__ == "__main__":
    raise SystemExit(main())
