"""The part of the sample data that training sees: read and rendered as a run reads and renders it."""

from __future__ import annotations

from pathlib import Path

from evalsuite.nano.documents import Document, solved
from evalsuite.nano.samples import held_out_ids
from evalsuite.tasks import TASKS, DataSource, Example


def sample_examples(folder: Path) -> dict[str, tuple[Example, ...]]:
    """Task name to the scored examples of its default split."""
    source = DataSource(kind="directory", path=str(folder))
    return {name: task.read(source).examples for name, task in TASKS.items()}


def sample_documents(folder: Path, *, held_out: bool) -> list[Document]:
    """The zero-shot prompts of one side of the sample, solved."""
    unseen = held_out_ids(folder)
    return [
        solved(task, example.description, [(example.body, example.answer)], [])
        for task, examples in sample_examples(folder).items()
        for example in examples
        if (example.id in unseen) == held_out and example.answer is not None
    ]
