"""A key that no log, repr, record or message shows."""

from __future__ import annotations

HIDDEN = "***"
SHORTEST = 6
"""Characters. Shorter keys (EMPTY, none, x) are no secrets, and would be found within words and numbers."""


class Secret:
    """Wraps a key, so that showing whatever holds it shows nothing. `reveal` is for the one who sends it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def __repr__(self) -> str:
        return f"Secret({HIDDEN})"

    def reveal(self) -> str:
        return self._value

    def hide(self, text: str) -> str:
        """`text` without the key: a server may quote the key that it refuses."""
        return text.replace(self._value, HIDDEN) if len(self._value) >= SHORTEST else text
