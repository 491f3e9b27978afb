"""Losses as pure functions of (scores, group lengths, targets); no files, no flags, no models."""
