"""`python -m sharprank` is the console command `sharprank`."""

from sharprank.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
