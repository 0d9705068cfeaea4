"""Multiple-choice questions drawn from the facts: a wording, an answer, distractors, an order."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from evalsuite.nano.facts import TOPICS, Topic
from evalsuite.nano.split import is_held_out

LETTERS = "ABCDE"


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """One presentation of one fact."""

    stem: str
    choices: tuple[str, ...]
    """Without letters, in the order shown."""
    answer: int
    """Index into `choices`."""

    @property
    def letter(self) -> str:
        return LETTERS[self.answer]

    @property
    def presentation(self) -> str:
        """What the held-out rule looks at."""
        return "\n".join((self.stem, *self.choices))

    @property
    def lettered(self) -> tuple[str, ...]:
        """`("A. Paris", "B. Rome", ...)`."""
        return tuple(f"{letter}. {choice}" for letter, choice in zip(LETTERS, self.choices, strict=False))


def draw_question(
    rng: random.Random,
    topics: Sequence[str],
    *,
    held_out: bool,
    choices: int = 4,
    repeat_one: bool = False,
) -> Question:
    """A question on one of `topics`, on the asked side of the held-out rule.

    `repeat_one` shows one wrong choice twice, as a few released rows do.
    """
    while True:
        question = _draw(rng, TOPICS[rng.choice(topics)], choices, repeat_one)
        if is_held_out(question.presentation) == held_out:
            return question


def draw_stem(rng: random.Random, topics: Sequence[str]) -> tuple[str, str]:
    """(stem, answer in words) of a random fact."""
    topic = TOPICS[rng.choice(topics)]
    subject, answer = rng.choice(topic.facts)
    return ask(topic, subject, rng), answer


def ask(topic: Topic, subject: str, rng: random.Random) -> str:
    """One wording, its first letter capital."""
    stem = rng.choice(topic.wordings).format(x=subject)
    return stem[0].upper() + stem[1:]


def _draw(rng: random.Random, topic: Topic, choices: int, repeat_one: bool) -> Question:
    subject, answer = rng.choice(topic.facts)
    others = [a for a in topic.answers if a != answer]
    shown = rng.sample(others, min(len(others), choices - 1 - repeat_one))
    if repeat_one:
        shown.append(rng.choice(shown))
    shown.append(answer)
    rng.shuffle(shown)
    return Question(stem=ask(topic, subject, rng), choices=tuple(shown), answer=shown.index(answer))
