"""The five evaluations: readers of released data, prompts, grading and summaries."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from evalsuite.errors import ConfigError
from evalsuite.tasks.base import DataSource, Example, Task, TaskData, limit_examples
from evalsuite.tasks.mmlu import MMLU
from evalsuite.tasks.prompting import Prompting
from evalsuite.tasks.vietnews import VIETNEWS
from evalsuite.tasks.viquad import VIQUAD
from evalsuite.tasks.vmlu import VMLU
from evalsuite.tasks.vnhsge import VNHSGE

__all__ = ["TASKS", "DataSource", "Example", "Prompting", "Task", "TaskData", "get_task", "limit_examples"]

TASKS: Mapping[str, Task] = MappingProxyType({task.name: task for task in (MMLU, VMLU, VNHSGE, VIQUAD, VIETNEWS)})


def get_task(name: str) -> Task:
    """The task of that name. Raises `ConfigError` listing the names."""
    if name not in TASKS:
        raise ConfigError(f"task: expected one of {', '.join(TASKS)}; got {name!r}")
    return TASKS[name]
