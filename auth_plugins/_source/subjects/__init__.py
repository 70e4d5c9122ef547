"""Tokens that depend on tokens of other sources, for which they were exchanged: those are asked first."""
