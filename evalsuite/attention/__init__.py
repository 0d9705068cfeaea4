"""Attention over a packed prefix tree: every token sees its own branch, whatever else is in the pack."""
