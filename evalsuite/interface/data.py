"""Which questions: from the hub, a directory, a single file, or the caller's own hands."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from evalsuite.errors import ConfigError, RequestError
from evalsuite.nano import DATA_DIR
from evalsuite.tasks.base import DataSource, Example, Task, TaskData
from evalsuite.tasks.grading import LETTERS
from evalsuite.tasks.reading import Row
from evalsuite.tasks.vmlu import label, lettered_choices

Data = str | os.PathLike[str] | DataSource | None


def read(task: Task, data: Data, split: str | None, shots: int) -> TaskData:
    """One split of a task.

    Args:
        data: None or `hub`; `sample`, what evalsuite brings along; a directory of released files; or one file of
            them, which is then the split.

    Raises:
        DataError: as the task's reader.
        ConfigError: a file and a split, or a file beside a folder of the task's name, which readers would enter.
    """
    if isinstance(data, str | os.PathLike) and (path := Path(data)).is_file():
        if split not in (None, path.stem):
            raise ConfigError(f"data: {path} is one file, which leaves no choice of a split; got split {split!r}")
        if (path.parent / task.name).is_dir():
            raise ConfigError(f"data: {path} stands beside a folder {task.name}/; give that folder, or move the file")
        data, split = path.parent, path.stem
    return task.read(data_source(data), split=split, shots=shots)


def data_source(data: Data) -> DataSource:
    """As `read` takes it, single files aside. Raises `ConfigError` for what is none of these."""
    if isinstance(data, DataSource):
        return data
    if data is not None and not isinstance(data, str | os.PathLike):
        raise ConfigError(f"data: expected a path, `sample`, `hub` or None; got {data!r:.80}")
    if data is None or data == "hub":
        return DataSource(kind="hub")
    return DataSource(kind="directory", path=str(DATA_DIR) if data == "sample" else os.fspath(data))


def asked(id_: str, description: str, body: str, choices: Sequence[str] = ()) -> Example:
    """A caller's own question, whose answer nobody told us."""
    return Example(id=id_, group="", description=description, body=body, answer=None, gold=None, choices=tuple(choices))


def alone(task: Task, examples: Sequence[Example]) -> TaskData:
    """Examples that come from a caller and not from a file."""
    return TaskData(task=task.name, split="caller", examples=tuple(examples), shots={}, source="the caller")


def only_groups(data: TaskData, groups: Sequence[str]) -> TaskData:
    """The examples of these groups. Raises `ConfigError` for none, and for a group that the data has not."""
    if not groups:
        raise ConfigError("subjects: expected at least one, got an empty list; give None for all of them")
    there = {example.group for example in data.examples}
    if unknown := sorted(set(groups) - there):
        raise ConfigError(f"subjects: {', '.join(unknown)}: not in {data.source}, which has {', '.join(sorted(there))}")
    return _keep(data, [example for example in data.examples if example.group in groups])


def first_of_each_group(data: TaskData, most: int | None) -> TaskData:
    """The first `most` examples of every group, in order; all for None."""
    if most is None:
        return data
    if most < 1:
        raise ConfigError(f"samples: expected at least 1 of each group, or None for all; got {most}")
    seen: dict[str, int] = {}
    kept = []
    for example in data.examples:
        seen[example.group] = seen.get(example.group, 0) + 1
        if seen[example.group] <= most:
            kept.append(example)
    return _keep(data, kept)


def text(name: str, value: str) -> str:
    """`value`, seen to be text. Raises `RequestError`."""
    if not isinstance(value, str):
        raise RequestError(f"{name}: expected text, got {value!r:.80}")
    return value


def optional_text(name: str, value: str | None) -> str | None:
    """`value`, seen to be text or None. Raises `RequestError`."""
    return None if value is None else text(name, value)


def path(name: str, value: str | os.PathLike[str]) -> Path:
    """`value` as a path. Raises `ConfigError`."""
    if not isinstance(value, str | os.PathLike):
        raise ConfigError(f"{name}: expected a path, got {value!r:.80}")
    return Path(value)


def lettered(choices: Sequence[str]) -> tuple[str, ...]:
    """Each of 2 to 5 choices with its letter, as a row of VMLU's.

    They carry their letters where every one of them does; otherwise a beginning such as *A. baumannii*'s is text.
    Raises `DataError` for fewer or more choices, and for A, B, C, ... in another order.
    """
    given = texts("choices", choices)
    letters = LETTERS[: len(given)]
    if len(given) <= len(LETTERS) and {label(choice) for choice in given} != set(letters):
        given = [f"{letter}. {choice.strip()}" for letter, choice in zip(letters, given, strict=True)]
    return lettered_choices(Row(source="the caller", number=1, values={"choices": given}))


def texts(name: str, values: Sequence[str]) -> list[str]:
    """`values` as a list, each seen to be text. Raises `RequestError` with the place of one that is not."""
    if isinstance(values, str):
        raise RequestError(f"{name}: expected a list of texts, got one text: {values!r:.80}; put it into a list")
    if not isinstance(values, Iterable) or isinstance(values, Mapping):
        raise RequestError(f"{name}: expected a list of texts, got {values!r:.80}")
    return [text(f"{name}[{index}]", value) for index, value in enumerate(values)]


def _keep(data: TaskData, kept: list[Example]) -> TaskData:
    return dataclasses.replace(data, examples=tuple(kept), left_out=data.left_out + len(data.examples) - len(kept))
