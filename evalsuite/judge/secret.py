"""A key that no log, repr, record or message shows."""

from __future__ import annotations

import json

from evalsuite.errors import ConfigError

HIDDEN = "***"
SHORTEST = 6
"""Characters. Shorter keys (EMPTY, none, x) are no secrets, and would be found within words and numbers."""


class Secret:
    """Wraps a key, so that showing whatever holds it shows nothing. `reveal` is for the one who sends it.

    White space around the key is none of it: a key read from a file ends in a line break.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value.strip()

    def __repr__(self) -> str:
        return f"Secret({HIDDEN})"

    def __bool__(self) -> bool:
        return self._value != ""

    def reveal(self) -> str:
        return self._value

    def hide(self, text: str) -> str:
        """`text` without the key, bare or as Python and JSON write it: a server may quote the key that it refuses."""
        if len(self._value) < SHORTEST:
            return text
        for written in self._spellings():
            text = text.replace(written, HIDDEN)
        return text

    def check(self, source: str) -> Secret:
        """This key, seen to be one that a header can carry. Raises `ConfigError` that tells where it came from."""
        wrong = [
            place for place, sign in enumerate(self._value, start=1) if not (sign.isascii() and sign.isprintable())
        ]
        if wrong:
            raise ConfigError(
                f"judge: the key from {source}: expected printable ASCII alone, which is all that a header can carry; "
                f"character {wrong[0]} of {len(self._value)} is none. Copy the key again, without quotes or line breaks"
            )
        return self

    def _spellings(self) -> tuple[str, ...]:
        value = self._value
        quoted = (repr(value), ascii(value), json.dumps(value))
        in_bytes = repr(value.encode("utf-8", "surrogateescape"))
        return (value, *(text[1:-1] for text in quoted), in_bytes[2:-1])
