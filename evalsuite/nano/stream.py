"""The training stream: a mixture of documents that moves from letter look-up to everything.

Binding an answer to its letter is the hard part, so the stream opens with look-ups whose question says the
answer; facts, passages and news follow, with look-up kept alive beside them. Grades come last, in streams of their
own for a model that has learnt the rest. Nothing held out is ever drawn.
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
    "compare": grading.compare,
    "grade viquad": grading.grade_viquad,
    "grade vietnews": grading.grade_vietnews,
    "compare retold": grading.compare_retold,
    "grade retold": grading.grade_retold,
}
EARLY: Mapping[str, float] = {
    "lookup": 40, "lookup shots": 6, "letters": 30, "open": 14, "words": 5, "viquad": 3, "vietnews": 2,
}  # fmt: skip
LATE: Mapping[str, float] = {
    "lookup": 5, "lookup shots": 1, "letters": 3, "open": 14, "words": 8, "bare": 14,
    "mmlu": 12, "vmlu": 10, "vnhsge": 10, "viquad": 10, "vietnews": 5,
    "mmlu shots": 2, "vmlu shots": 2, "vnhsge shots": 2, "viquad shots": 2, "vietnews shots": 1.5,
}  # fmt: skip
LESSONS: Mapping[str, float] = {
    "compare": 100, "grade viquad": 4, "grade vietnews": 2,
    "lookup": 2, "open": 3, "words": 1, "bare": 2,
    "mmlu": 1.5, "vmlu": 1.5, "vnhsge": 1.5, "viquad": 1.5, "vietnews": 1,
    "mmlu shots": 0.2, "vmlu shots": 0.2, "vnhsge shots": 0.2, "viquad shots": 0.2, "vietnews shots": 0.2,
}  # fmt: skip
REVISION: Mapping[str, float] = {
    "compare": 30, "grade viquad": 12, "grade vietnews": 6,
    "lookup": 4, "open": 6, "words": 3, "bare": 5, "mmlu": 6, "vmlu": 7, "vnhsge": 8, "viquad": 6, "vietnews": 4,
    "mmlu shots": 0.8, "vmlu shots": 0.8, "vnhsge shots": 0.8, "viquad shots": 0.8, "vietnews shots": 0.8,
}  # fmt: skip
CONTRAST: Mapping[str, float] = {
    "compare retold": 60, "grade retold": 8, "compare": 15, "grade viquad": 8, "grade vietnews": 2,
    "lookup": 2, "open": 3, "words": 1.5, "bare": 2.5, "mmlu": 3, "vmlu": 3.5, "vnhsge": 4, "viquad": 3, "vietnews": 2,
    "mmlu shots": 0.4, "vmlu shots": 0.4, "vnhsge shots": 0.4, "viquad shots": 0.4, "vietnews shots": 0.6,
}  # fmt: skip
MIXTURES: Mapping[str, Mapping[str, float]] = {
    "early": EARLY, "late": LATE, "lessons": LESSONS, "revision": REVISION, "contrast": CONTRAST,
}  # fmt: skip
"""Shares of documents, not of tokens. The tokenizer and the base are trained on `early` and `late`; the model that
they give then learns to grade by `lessons`, and everything side by side by `revision`. `contrast` is to teach it to
tell the summary of another story from the right one; the released weights are without it (README.md says why)."""


def draw_document(rng: random.Random, mixture: str) -> Document:
    """One document of that mixture."""
    shares = MIXTURES[mixture]
    kind = rng.choices(tuple(shares), tuple(shares.values()))[0]
    document = _MAKERS[kind](rng)
    if any(map(is_held_out, document.presentations)):
        raise AssertionError(f"{kind}: a held-out presentation was drawn for training")
    return document
