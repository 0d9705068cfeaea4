"""What a saved model scores on the sample: seen and held-out rows apart, by the same readers and engine as a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from evalsuite.config import ExecutionOptions, InferenceConfig
from evalsuite.engines.transformers import TransformersEngine
from evalsuite.loading import load
from evalsuite.nano.samples import held_out_ids
from evalsuite.tasks import TASKS, DataSource, Prompting, Task, TaskData
from evalsuite.types import Graded, Outcome

TARGETS: Mapping[str, float] = {"mmlu": 0.75, "vmlu": 0.75, "vnhsge": 0.75, "viquad": 0.60, "vietnews": 0.60}
"""Least value of each task's main metric, on the seen and on the held-out rows alike."""


def measure(
    model: Path, data: Path, *, dtype: str, shots: int = 0, tasks: Sequence[str] = tuple(TASKS)
) -> dict[str, dict[str, float]]:
    """Task to `{"seen": value, "held out": value}` of its main metric, on the CPU."""
    loaded = load(InferenceConfig(model=str(model), dtype=dtype, device="cpu"))
    unseen = held_out_ids(data)
    source = DataSource(kind="directory", path=str(data))
    found: dict[str, dict[str, float]] = {}
    with TransformersEngine(loaded, ExecutionOptions()) as engine:
        for task in map(TASKS.__getitem__, tasks):
            graded = answer(engine, task, task.read(source, shots=shots), shots)
            found[task.name] = {
                "seen": mean(task, [g for g in graded if g.id not in unseen]),
                "held out": mean(task, [g for g in graded if g.id in unseen]),
            }
    return found


def answer(engine: TransformersEngine, task: Task, data: TaskData, shots: int = 0) -> list[Graded]:
    """Every example of `data`, answered by a quick strategy and graded, in the data's order."""
    requests = task.requests(data, Prompting(shots=shots))
    outcomes: dict[str, Outcome] = {}
    if task.kind == "choice":
        outcomes.update((o.id, o) for o in engine.score(engine.encode_choices(requests), "padded"))  # type: ignore[arg-type]
    else:
        outcomes.update((o.id, o) for o in engine.generate(engine.encode_prompts(requests), "continuous"))  # type: ignore[arg-type]
    return [task.grade(example, outcomes[example.id]) for example in data.examples]


def mean(task: Task, graded: Sequence[Graded]) -> float:
    """Mean of the task's main metric; 0 where nothing was graded."""
    values = [g.scores[task.main_metric] for g in graded]
    return sum(values) / len(values) if values else 0.0
