"""One benchmark case, and what running it gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalsuite.config import REFERENCE_STRATEGY, ExecutionOptions, InferenceConfig
from evalsuite.evaluation import Workload
from evalsuite.measure.memory import PeakMemory
from evalsuite.types import Fallback, Graded, Outcome

if TYPE_CHECKING:
    from evalsuite.measure.ceiling import Ceiling


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecutionPath:
    """One complete way of answering: a model as configured, its batches, a strategy."""

    config: InferenceConfig
    execution: ExecutionOptions
    strategy: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """What to measure, against what."""

    name: str
    """`test_mmlu[padded]`: names the results file and the row of the table."""
    task: str
    path: ExecutionPath
    baseline: ExecutionPath
    """What the path is timed against."""
    reference: InferenceConfig
    """How the model is loaded for the reference that the path is judged by."""

    about: frozenset[str] = frozenset()
    """What the case is about, where that is an optimisation: the fields that it changes."""

    @property
    def is_optimisation(self) -> bool:
        """Timed against the same work without it, on the same questions, and not against the reference."""
        plain = self.baseline.strategy == REFERENCE_STRATEGY and self.path.strategy != REFERENCE_STRATEGY
        return not plain and not self.is_reference

    @property
    def is_reference(self) -> bool:
        return self.path.strategy == REFERENCE_STRATEGY and self.path.config == self.reference


@dataclass(kw_only=True, slots=True)
class BaselineTimes:
    """How long the baseline took over its subset of the questions."""

    questions: int = 0
    seconds: list[float] = field(default_factory=list)
    """One a round."""


@dataclass(kw_only=True, slots=True)
class Measurement:
    """What running a path gave. Filled in by the first round; later rounds only add seconds."""

    workload: Workload
    in_turns: bool = True
    """False where the baseline was timed beforehand."""
    one_off_seconds: float | None = None
    """What first runs took longer than second ones while warming up: compiling, caches. None where it is not timed."""
    seconds: list[float] = field(default_factory=list)
    """One a round."""
    baseline: BaselineTimes = field(default_factory=BaselineTimes)
    answers_file: Path | None = None
    """Where the first round wrote every answer."""
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    graded: list[Graded] = field(default_factory=list)
    counters: dict[str, int] = field(default_factory=dict)
    padding_share: float = 0.0
    peak_memory: PeakMemory | None = None
    fallbacks: list[Fallback] = field(default_factory=list)
    """Steps down of loading and of running."""
    load_report: dict[str, Any] = field(default_factory=dict)
    ceiling: Ceiling | None = None
    """What the device's matrix units give; None where nothing is timed."""
    resume: dict[str, Any] | None = None
    """What came from earlier processes: see `harness.recalling.resume_facts`; None where nothing did."""
