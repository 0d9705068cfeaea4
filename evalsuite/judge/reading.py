"""A judge's reply, read as one number in [0, 1] or not at all: what has to be guessed at is a missing grade."""

from __future__ import annotations

import re
import unicodedata

from evalsuite.tasks.prompting import strip_think

SHOWN_CHARACTERS = 60
NO_NUMBER = "no number in [0, 1]"
TOO_LONG = "longer than the judge's window"
"""Like `NO_NUMBER`, what a local judge ends in again when it is asked again."""

_DECORATION = "*_`\"'“”‘’ \t\r\n"
"""Marks of emphasis and quotes that models put around a number."""
_LABEL = re.compile(r"(?:điểm(?: số)?|score)\s*[*_`]*\s*(?:[:=]|là\b)", re.IGNORECASE)
_CUT = re.compile(r"[0-9]+\.")
"""As it looks when the reply ended before the decimals: no full stop then."""
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+|,[0-9]{1,2})?|0,[0-9]{3}|\.[0-9]+|,[0-9]{1,2}")
"""After a comma two decimals, or three where a 0 alone stands before it: `1,000` may be a thousand."""


def read_grade(reply: str) -> tuple[float | None, str]:
    """The grade and "", or None and the reason.

    Read: `0.8`, `0,8`, `0,125`, `0.8.`, `**0.8**`, `Điểm: 0,8`, each also after a think block. Missing: `8/10`, `1.5`,
    `80%`, two numbers, any further word, nothing; `0.` and `1.`, which may have been cut after the point; `1,000` and
    `0,8000`, whose comma may be one of thousands.
    """
    text = unicodedata.normalize("NFC", strip_think(reply)).strip(_DECORATION)
    if label := _LABEL.match(text):
        text = text[label.end() :].strip(_DECORATION)
    if not _CUT.fullmatch(text):
        text = text.removesuffix(".").rstrip(_DECORATION)
    value = float(text.replace(",", ".")) if _NUMBER.fullmatch(text) else None
    if value is None or not 0 <= value <= 1:
        return None, f"{NO_NUMBER}: {_shown(reply)}"
    return value, ""


def _shown(reply: str) -> str:
    """What came, short; an unfinished train of thought is named, for its remedy is at the server."""
    if "<think>" in reply and not strip_think(reply):
        return "only a train of thought came; serve the judge with thinking switched off"
    shown = repr(reply.strip())
    return shown if len(shown) <= SHOWN_CHARACTERS else shown[: SHOWN_CHARACTERS - 3] + "..."
