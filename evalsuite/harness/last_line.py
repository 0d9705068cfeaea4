"""What a run that did not do all its work says last. Text out."""

from __future__ import annotations

from pathlib import Path

from evalsuite.config import GENERATION_STRATEGIES, SCORING_STRATEGIES
from evalsuite.tasks import TASKS
from evalsuite.types import TaskKind


def unfinished(folder: Path) -> str:
    """`folder`: the run's."""
    return f"evalsuite: not finished; to go on, give the same command with --resume={folder}"


def nothing_selected(*, by_strategy: bool) -> str:
    """Which names there are to select by. `by_strategy`: --strategy took part in selecting."""
    scored, generated = _tasks("choice"), _tasks("generation")
    line = f"evalsuite: nothing was selected; tasks for -k: {scored} (scored), {generated} (generated)"
    if not by_strategy:
        return line
    scoring, generation = ", ".join(SCORING_STRATEGIES), ", ".join(GENERATION_STRATEGIES)
    return f"{line}; strategies that score: {scoring}; that generate: {generation}"


def _tasks(kind: TaskKind) -> str:
    return ", ".join(task.name for task in TASKS.values() if task.kind == kind)
