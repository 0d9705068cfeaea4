"""Reading comprehension in Vietnamese: short invented passages, and questions on what they say or leave out.

A passage states some attributes of one invented subject, one a sentence, in random order. A question asks
for one attribute by one of its wordings; it is unanswerable where the passage does not state it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from evalsuite.nano.passage_kinds import KINDS
from evalsuite.nano.split import is_held_out


@dataclass(frozen=True, kw_only=True, slots=True)
class Passage:
    """An invented passage and every question that can be asked of it."""

    title: str
    context: str
    answerable: tuple[tuple[str, tuple[str, ...]], ...]
    """(question, accepted answers): the first is what the model is taught to say, verbatim in `context`."""
    unanswerable: tuple[str, ...]


def draw_passage(rng: random.Random, *, held_out: bool) -> Passage:
    """A passage on the asked side of the held-out rule; the rule looks at its context."""
    while True:
        passage = _draw(rng)
        if is_held_out(passage.context) == held_out:
            return passage


def _draw(rng: random.Random) -> Passage:
    kind = KINDS[rng.choice(tuple(KINDS))]
    full, short = kind.title(rng)
    keys = rng.sample(tuple(kind.attributes), rng.randint(3, 5))
    sentences = [rng.choice(kind.opening).format(f=full)]
    answerable = []
    for key in keys:
        attribute = kind.attributes[key]
        value = attribute.value(rng)
        sentences.append(rng.choice(attribute.statements).format(s=short, v=value))
        answerable.append((rng.choice(attribute.questions).format(s=short), _golds(value)))
    left_out = [key for key in kind.attributes if key not in keys]
    return Passage(
        title=full,
        context=" ".join(sentences),
        answerable=tuple(answerable),
        unanswerable=tuple(rng.choice(kind.attributes[key].questions).format(s=short) for key in left_out),
    )


def _golds(value: str) -> tuple[str, ...]:
    """The value; of a quantity with a unit, the bare number too."""
    number, _, unit = value.partition(" ")
    return (value, number) if unit and number.isdigit() else (value,)
