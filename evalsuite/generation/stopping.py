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


_UNKNOWN = -1


class StopWatcher:
    """Tells for single rows whether their last token completed a stop string.

    Decoding every row at every step costs more than a small model's forward. A stop string is complete
    only at a token that holds its last character, so a token's own text, remembered by id, settles nearly
    every step; a token that is part of a character decodes to U+FFFD and is checked to be safe.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._may: dict[tuple[str, ...], npt.NDArray[np.int8]] = {}
        """By stop strings: for each token id whether it can complete one (1), cannot (0), or has not been seen."""

    def stops(self, token_ids: Sequence[int], stop: Sequence[str]) -> bool:
        """Whether the text of `token_ids` holds a stop string, given that it did not before its last token."""
        last = np.array(token_ids[-1:], dtype=np.int32)
        if not stop or not self.may_stop(last, tuple(stop)).any():
            return False
        return cut_at_stop(decode(self._tokenizer, token_ids), stop)[1]

    def may_stop(self, token_ids: npt.NDArray[np.int32], stop: tuple[str, ...]) -> npt.NDArray[np.bool_]:
        """[rows]: whether each row's new token can have completed a stop string."""
        known = self._may.get(stop, np.full(0, _UNKNOWN, dtype=np.int8))
        if len(token_ids) and len(known) <= (highest := int(token_ids.max())):
            known = np.concatenate([known, np.full(highest + 1, _UNKNOWN, dtype=np.int8)])
        self._may[stop] = known
        for token_id in np.unique(token_ids[known[token_ids] == _UNKNOWN]).tolist():
            text = decode(self._tokenizer, [token_id])
            known[token_id] = "\ufffd" in text or any(s[-1] in text for s in stop)
        may: npt.NDArray[np.bool_] = known[token_ids] == 1
        return may
