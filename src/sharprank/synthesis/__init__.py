"""Training rows from documents alone: corpus in, {query, pos, neg} out."""
