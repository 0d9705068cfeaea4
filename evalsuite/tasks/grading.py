"""Grading that the three multiple-choice tasks share."""

from __future__ import annotations

from collections.abc import Sequence

from evalsuite.metrics.accuracy import accuracy_by_group
from evalsuite.tasks.base import Example
from evalsuite.types import Graded, Metric

LETTERS = ("A", "B", "C", "D", "E")


def grade_choice(example: Example, letter: str) -> Graded:
    """1 where the letter is the gold one; no score where there is no gold."""
    scores = {} if example.gold is None else {"accuracy": float(letter in example.gold)}
    return Graded(id=example.id, group=example.group, prediction=letter, gold=example.gold, scores=scores)


def summarise_choices(graded: Sequence[Graded]) -> list[Metric]:
    """Accuracy: micro, macro over subjects, then by group."""
    return accuracy_by_group([(g.group, g.scores["accuracy"]) for g in graded])
