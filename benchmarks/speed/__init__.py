"""Speed beside the peers, measured in one run: training, scoring, encoding and search."""
