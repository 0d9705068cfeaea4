"""A table that is made from committed records and stands between markers of README.md."""

from __future__ import annotations

import re

_BEGIN = re.compile(r"<!-- (\S+): begin -->")


class NoPlace(Exception):
    """The text has no place for the table."""


def placed(text: str, name: str, table: str) -> str:
    """`text` with `table` between the markers of `name`.

    Raises:
        NoPlace: not one marker of each kind, in this order.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise NoPlace(f"expected one {begin} and, after it, one {end}")
    before, rest = text.split(begin)
    return f"{before}{begin}\n\n{table}\n{end}{rest.split(end)[1]}"


def names(text: str) -> list[str]:
    """The names for whose tables `text` has a place."""
    return _BEGIN.findall(text)
