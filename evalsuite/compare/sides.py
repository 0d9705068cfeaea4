"""What is compared: a side's cases and their answered questions, whoever wrote them down."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """One answered question."""

    id: str
    prompt_hash: str
    """As `evaluation.prompt_hash` makes it: changes with any character that the model was shown."""
    prediction: str
    gold: tuple[str, ...] | None
    """None where none was published."""
    scores: Mapping[str, float]
    """Metric to value, more is better; `judge` among them where a judge gave a grade."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SideCase:
    """One case of a side."""

    name: str
    task: str
    main_metric: str | None
    """The metric that stands for the task, None where nothing is scored."""
    source: Literal["evalsuite", "lm_eval"]
    read: Callable[[], tuple[Answered, ...]]
    """Reads the questions from disk. Raises `DataError`."""
    record: Mapping[str, Any] = field(default_factory=dict)
    """The case's record, as far as it is known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """One of the two things compared."""

    name: str
    path: Path
    cases: Mapping[str, SideCase]
    only: str | None = None
    """The case that was asked for by name."""
    notes: tuple[str, ...] = ()
