"""Compact tables in source: entries parted by `|`."""

from __future__ import annotations


def listed(text: str) -> tuple[str, ...]:
    """The entries of `a|b|c`."""
    return tuple(text.split("|"))
