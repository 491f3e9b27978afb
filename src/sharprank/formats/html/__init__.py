"""HTML reports: one page each, without scripts, that loads nothing. What stands on them, the stages know."""
