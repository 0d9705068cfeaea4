"""Undoing VietNews's word segmentation: joined syllables, spaced punctuation, invisible characters."""

from __future__ import annotations

import re

_URL = re.compile(
    r"(?:https?|ftp)://\S+"
    r"|(?<![^\W_])www\.\S+"
    r"|[A-Za-z0-9_.+-]+@[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+"
    r"|(?:[A-Za-z0-9_-]+\.)+(?:com|vn|net|org|info|edu|gov)\b(?:/\S*)?",
    re.IGNORECASE,
)
"""Addresses with a scheme, `www.`, e-mail, and bare domains: an underscore in one is part of its name."""

_INVISIBLE = re.compile(
    "[\u0000-\u0008\u000e-\u001b\u007f-\u0084\u0086-\u009f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]"
)
"""Control and zero-width characters. Those that separate (tab, LF, U+0085, U+2028, ...) are white space, not these."""

_SPACE_BEFORE = re.compile(r" +(?=[,.;:!?…%)\]}”’»])")
_SPACE_AFTER = re.compile(r"(?<=[(\[{“‘«]) +")
_QUOTED = re.compile(r'(?<!\S)" ([^"]*?) "(?!\w)')


def desegment(text: str) -> str:
    """One line of running text. Addresses keep every character; applying it twice changes nothing more."""
    text = " ".join(_INVISIBLE.sub("", text).split())
    text = _outside_urls(text)
    text = " ".join(text.split())
    text = _SPACE_AFTER.sub("", _SPACE_BEFORE.sub("", text))
    return _QUOTED.sub(r'"\1"', text)


def _outside_urls(text: str) -> str:
    """`_` to a space everywhere but in addresses."""
    parts: list[str] = []
    end = 0
    for match in _URL.finditer(text):
        parts += [text[end : match.start()].replace("_", " "), match.group()]
        end = match.end()
    return "".join([*parts, text[end:].replace("_", " ")])
