"""What travels between an evaluation and a judge. No torch and no network here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgeQuestion:
    """One answer to be graded."""

    id: str
    task: str
    fields: Mapping[str, str]
    """The example's parts, as `judge.prompts.render` wants them."""
    gold: tuple[str, ...]
    answer: str
    """What the model under test said, as graded."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgeGrade:
    """What the judge made of it."""

    id: str
    value: float | None
    """In [0, 1]; None where there is no grade, which is never a 0."""
    problem: str = ""
    """Why there is none: the HTTP error, the timeout, the reply that is no number."""
    reply: str = ""
    """The judge's own words."""
    reused: bool = False
    """Read from the grades kept on disk."""


class Judge(Protocol):
    """Grades answers; one that cannot be graded comes back with the reason and stops nothing."""

    name: str
    """For records: which model, where. Holds no key."""

    def grade(
        self, questions: Sequence[JudgeQuestion], *, on_grade: Callable[[JudgeGrade], object] | None = None
    ) -> dict[str, JudgeGrade]:
        """A grade for every question, by id; `on_grade` sees each as it comes."""
        ...
