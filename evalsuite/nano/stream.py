"""The training stream: a mixture of documents that moves from letter look-up to everything.

Binding an answer to its letter is the hard part, so the stream opens with look-ups whose question says the
answer; facts, passages, news and grades follow, with look-up kept alive beside them. Nothing held out is ever drawn.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from evalsuite.nano import documents as d
from evalsuite.nano import grading
from evalsuite.nano.documents import Document
from evalsuite.nano.split import is_held_out

_MAKERS: Mapping[str, Callable[[random.Random], Document]] = {
    "lookup": d.lookup,
    "lookup shots": lambda rng: d.lookup(rng, rng.randint(1, 4)),
    "letters": d.letters,
    "open": d.open_fact,
    "words": d.words,
    "bare": d.bare,
    "mmlu": d.mmlu,
    "vmlu": d.vmlu,
    "vnhsge": d.vnhsge,
    "viquad": d.viquad,
    "vietnews": d.vietnews,
    "mmlu shots": lambda rng: d.mmlu(rng, rng.randint(1, 5)),
    "vmlu shots": lambda rng: d.vmlu(rng, rng.randint(1, 5)),
    "vnhsge shots": lambda rng: d.vnhsge(rng, rng.randint(1, 5)),
    "viquad shots": lambda rng: d.viquad(rng, rng.randint(1, 5)),
    "vietnews shots": lambda rng: d.vietnews(rng, rng.randint(1, 4)),
    "vmlu of five": lambda rng: d.vmlu(rng, rng.choice((0, 0, 1)), choices=5),
    "vnhsge odd": lambda rng: d.vnhsge(rng, rng.choice((0, 0, 0, 1, 2, 3)), odd_share=1.0),
    "compare": grading.compare,
    "grade viquad": grading.grade_viquad,
    "grade vietnews": grading.grade_vietnews,
}
EARLY: Mapping[str, float] = {
    "lookup": 40, "lookup shots": 6, "letters": 30, "open": 14, "words": 5, "viquad": 3, "vietnews": 2,
}  # fmt: skip
LATE: Mapping[str, float] = {
    "lookup": 5, "lookup shots": 1, "letters": 3, "open": 14, "words": 8, "bare": 14,
    "mmlu": 12, "vmlu": 10, "vnhsge": 10, "viquad": 10, "vietnews": 5,
    "mmlu shots": 2, "vmlu shots": 2, "vnhsge shots": 2, "viquad shots": 2, "vietnews shots": 1.5,
}  # fmt: skip
"""Shares of documents, not of tokens. The tokenizer is trained on these two, without what follows."""
EARLY_GRADING: Mapping[str, float] = {"compare": 10}
LATE_GRADING: Mapping[str, float] = {"compare": 12, "grade viquad": 10, "grade vietnews": 5}
EXAMS: Mapping[str, float] = {
    "vmlu of five": 30, "vnhsge odd": 30, "bare": 10, "mmlu": 8, "vmlu": 6, "vnhsge": 6, "open": 5, "words": 3,
    "lookup": 2, "compare": 6, "viquad": 4, "vietnews": 2, "grade viquad": 1.5, "grade vietnews": 0.8,
    "mmlu shots": 0.7, "vmlu shots": 0.7, "vnhsge shots": 0.7, "viquad shots": 0.7, "vietnews shots": 0.7,
}  # fmt: skip
MIXTURES: Mapping[str, Mapping[str, float]] = {
    "early": {**EARLY, **EARLY_GRADING},
    "late": {**LATE, **LATE_GRADING},
    "finish": {**LATE, **LATE_GRADING, "open": 6, "compare": 4, "vmlu of five": 6, "vnhsge odd": 16},
    "exams": EXAMS,
    "early, no grades": EARLY,
    "late, no grades": LATE,
}
"""`finish`, and `exams` more so, show often what the others show rarely: five choices, exams set in unusual ways."""


def draw_document(rng: random.Random, mixture: str) -> Document:
    """One document of that mixture."""
    shares = MIXTURES[mixture]
    kind = rng.choices(tuple(shares), tuple(shares.values()))[0]
    document = _MAKERS[kind](rng)
    if any(map(is_held_out, document.presentations)):
        raise AssertionError(f"{kind}: a held-out presentation was drawn for training")
    return document
