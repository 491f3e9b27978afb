"""Quality of the rankings: what in a recipe matters, one factor at a time."""
