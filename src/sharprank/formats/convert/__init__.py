"""Other systems' data to rows {query, pos, neg}, and rows to theirs; each module one family of formats."""
