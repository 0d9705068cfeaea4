"""The one rule that keeps held-out texts out of training."""

from __future__ import annotations

import hashlib

HELD_OUT_SHARE = 8
"""One presentation in this many is held out."""


def is_held_out(presentation: str) -> bool:
    """Whether this exact text (a question with its choices in order, a passage, an article) is never trained on.

    Depends on the text alone, so that the training stream and the samples need no list in common.
    """
    digest = hashlib.blake2b(presentation.encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little") % HELD_OUT_SHARE == 0
