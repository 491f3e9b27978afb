"""Door: mine hard negatives.  cd embedding && python -m finetune.hn_mine --help"""

from sharprank.cli.mine import main

if __name__ == "__main__":
    raise SystemExit(main())
