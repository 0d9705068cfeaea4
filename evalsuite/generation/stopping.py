"""Where an answer ends: stop strings found in text, looked for only when a token can have completed one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


def decode(tokenizer: Any, token_ids: Sequence[int]) -> str:
    """Text of new tokens, special tokens left out, spaces as the model wrote them."""
    text: str = tokenizer.decode(list(token_ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return text


def cut_at_stop(text: str, stop: Sequence[str]) -> tuple[str, bool]:
    """The text before the first stop string, and whether one was found."""
    found = [position for s in stop if (position := text.find(s)) >= 0]
    return (text[: min(found)], True) if found else (text, False)


class StopWatcher:
    """Tells for single rows whether their last token completed a stop string.

    Decoding every row at every step costs more than a small model's forward. A stop string is complete
    only at a token that holds its last character, so a token's own text, remembered by id, settles nearly
    every step; a token that is part of a character decodes to U+FFFD and is checked to be safe.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._may: dict[tuple[str, ...], dict[int, bool]] = {}
        """By stop strings, then by token."""

    def stops(self, token_ids: Sequence[int], stop: Sequence[str]) -> bool:
        """Whether the text of `token_ids` holds a stop string, given that it did not before its last token."""
        if not token_ids or not self._may_complete(token_ids[-1], tuple(stop)):
            return False
        return cut_at_stop(decode(self._tokenizer, token_ids), stop)[1]

    def may_stop(self, token_ids: npt.NDArray[np.int32], stops: Sequence[tuple[str, ...]]) -> npt.NDArray[np.bool_]:
        """[rows]: whether each row's new token can have completed one of its stop strings."""
        return np.array([self._may_complete(i, stop) for i, stop in zip(token_ids.tolist(), stops, strict=True)], bool)

    def _may_complete(self, token_id: int, stop: tuple[str, ...]) -> bool:
        known = self._may.setdefault(stop, {})
        if token_id not in known:
            text = decode(self._tokenizer, [token_id])
            known[token_id] = bool(stop) and ("\ufffd" in text or any(s[-1] in text for s in stop))
        return known[token_id]
