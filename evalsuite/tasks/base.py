"""The contract of a task: where data comes from, what one question is, and what a task does with it.

A task is a row of a table (`evalsuite.tasks.TASKS`): a reader, a grader and a summary around one
shared way of rendering prompts (`evalsuite.tasks.prompting`).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from evalsuite.errors import ConfigError, DataError
from evalsuite.tasks.prompting import Prompting, choice_request, generation_request, usable_shots
from evalsuite.types import (
    ChoiceRequest,
    ChoiceScores,
    Generation,
    GenerationRequest,
    Graded,
    Metric,
    Outcome,
    TaskKind,
)

SHOTS_HELD_OUT = "held out for few-shot prompts"
"""Reason in `TaskData.excluded` for rows of a set without a few-shot split that became shots."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSource:
    """Where the released data is read from."""

    kind: Literal["directory", "hub"]
    path: str | None = None
    """`directory`: DIR that holds mmlu/, vmlu/, ... as released, or one of those folders itself.
    `hub`: None reads through `datasets`; a path is a local root that stands in for the hub
    (`PATH/cais/mmlu`, ...), for machines without a network."""

    def __post_init__(self) -> None:
        if self.kind not in ("directory", "hub"):
            raise ConfigError(f"data source: expected kind 'directory' or 'hub', got {self.kind!r}")
        if self.kind == "directory" and not self.path:
            raise ConfigError("data source: kind 'directory' needs a path; pass --data DIR (in Python path=DIR)")

    def folder(self, task: str) -> Path:
        """The folder of one task's files: `DIR/task`, or DIR where that does not exist. Raises `DataError`."""
        if self.kind == "hub" or self.path is None:
            raise DataError(
                f"{task}: its files are released as a download, not on the hub; "
                f"pass --data DIR (in Python data=DIR) with {task}/"
            )
        root = Path(self.path)
        if not root.is_dir():
            raise DataError(
                f"{task}: no such directory: {root}; "
                f"pass --data DIR (in Python data=DIR) with the released files in DIR/{task}/"
            )
        return root / task if (root / task).is_dir() else root


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """One question, rendered but for its shots and its chat template."""

    id: str
    """Unique and stable: `mmlu/test/anatomy/17`."""
    group: str
    """What results are broken down by; `a/b` counts under `a` as well."""
    description: str
    """Opens the prompt, once, before the shots. Ends with the blank line that sets it off."""
    body: str
    """The question up to and with the cue that the answer follows: `...\\nAnswer:`."""
    answer: str | None
    """What a solved shot shows after its body; None where no answer was published."""
    gold: tuple[str, ...] | None
    """Every accepted answer; None where the split has no published answers. `("",)` asks for no answer."""
    choices: tuple[str, ...] = ()
    """Letters to choose from, in order; empty for generation."""
    shot_key: str = ""
    """Which pool of `TaskData.shots` serves this example."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """The parts in plain text (question, context, article, ...), for judges and reports."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskData:
    """What a reader found: the examples to score, the pool of shots, and what was left aside."""

    task: str
    split: str
    examples: tuple[Example, ...]
    shots: Mapping[str, tuple[Example, ...]]
    """Solved examples by `Example.shot_key`, in the order they are shown."""
    source: str
    """For reports: the folder or hub name that was read."""
    shots_source: tuple[str, ...] = ()
    """For reports: the files or the split that shots come from or, of rows that were held out, their ids."""
    excluded: Mapping[str, int] = field(default_factory=dict)
    """Reason to number of rows that are read but not scored."""
    notes: Mapping[str, int] = field(default_factory=dict)
    """Oddity to number of rows that are scored all the same."""
    left_out: int = 0
    """How many examples `limit_examples` left out."""

    def __post_init__(self) -> None:
        if len({example.id for example in self.examples}) != len(self.examples):
            raise DataError(f"{self.source}: example ids are not unique in split {self.split}")

    @property
    def fingerprint(self) -> str:
        """Twelve hex digits over what is scored: ids, texts, choices and golds, in order."""
        digest = hashlib.sha256()
        for e in self.examples:
            digest.update(json.dumps([e.id, e.description, e.body, e.choices, e.gold]).encode())
        return digest.hexdigest()[:12]


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One evaluation."""

    name: str
    kind: TaskKind
    title: str
    main_metric: str
    """The metric of `summarise` that stands for the task: `accuracy`, `exact_match`, `rougeL`."""
    default_split: str
    reader: Callable[[DataSource, str | None, int], TaskData]
    grader: Callable[[Example, str], Graded]
    """From an example and the model's answer in text (a letter, or the generation without think blocks)."""
    summariser: Callable[[Sequence[Graded]], list[Metric]]
    max_new_tokens: int = 0

    def read(self, source: DataSource, *, split: str | None = None, shots: int = 0) -> TaskData:
        """Read one split (the task's default for None).

        `shots` is how many shots will be shown. It matters to sets without a few-shot split
        (vnhsge, viquad, vietnews): their shots are taken from the rows, which are then not scored.
        Raises `DataError` for missing, malformed or unscorable data, naming file, row and field.
        """
        if shots < 0:
            raise ConfigError(f"shots: expected 0 or more, got {shots}")
        data = self.reader(source, split, shots)
        if not data.examples:
            why = ", ".join(f"{count:,} rows: {reason}" for reason, count in data.excluded.items()) or "it has no rows"
            raise DataError(f"{self.name}: expected questions to score in {data.source}, got none: {why}")
        return data

    def requests(self, data: TaskData, prompting: Prompting) -> list[ChoiceRequest] | list[GenerationRequest]:
        """One request an example, same order and ids. Raises `ConfigError` if shots were not read."""
        if prompting.shots and not any(data.shots.values()):
            raise ConfigError(
                f"{self.name}: {prompting.shots} shots are asked for and {data.source} gave none; "
                f"read the data with shots={prompting.shots}, or use 0 shots"
            )
        if self.kind == "choice":
            return [choice_request(e, usable_shots(e, data.shots, prompting.shots), prompting) for e in data.examples]
        return [
            generation_request(e, usable_shots(e, data.shots, prompting.shots), prompting, self.max_new_tokens)
            for e in data.examples
        ]

    def shots_shown(self, data: TaskData, prompting: Prompting) -> dict[int, int]:
        """How many shots are shown to how many examples: a pool may hold fewer than were asked for."""
        return dict(Counter(len(usable_shots(e, data.shots, prompting.shots)) for e in data.examples))

    def grade(self, example: Example, outcome: Outcome) -> Graded:
        """Score one outcome; without a gold it is predicted and not scored."""
        if outcome.id != example.id:
            raise DataError(f"{self.name}: outcome {outcome.id!r} does not belong to example {example.id!r}")
        return self.grader(example, self._answer(example, outcome))

    def summarise(self, graded: Sequence[Graded]) -> list[Metric]:
        """Metrics, the overall ones first; empty where nothing could be scored."""
        return self.summariser([g for g in graded if g.gold is not None])

    def _answer(self, example: Example, outcome: Outcome) -> str:
        if self.kind == "choice" and isinstance(outcome, ChoiceScores):
            if len(outcome.logprobs) != len(example.choices):
                raise DataError(
                    f"{example.id}: expected {len(example.choices)} log-probabilities, got {len(outcome.logprobs)}"
                )
            return example.choices[outcome.prediction]
        if self.kind == "generation" and isinstance(outcome, Generation):
            return outcome.text
        raise DataError(f"{example.id}: a {self.kind} task cannot grade a {type(outcome).__name__}")


def limit_examples(data: TaskData, limit: int | None, seed: int = 0) -> TaskData:
    """At most `limit` examples, drawn from every group in proportion to its size; order is kept.

    Deterministic in `seed`. Quotas are rounded by largest remainder, ties settled by the seed.
    """
    if limit is None or limit >= len(data.examples):
        return data
    if limit < 1:
        raise ConfigError(f"limit: expected at least 1, got {limit}")
    members: dict[str, list[int]] = {}
    for index, example in enumerate(data.examples):
        members.setdefault(example.group, []).append(index)
    quotas = _largest_remainder({g: len(m) for g, m in members.items()}, limit, random.Random(seed))
    chosen: set[int] = set()
    for group, indices in members.items():
        chosen.update(random.Random(f"{seed}/{group}").sample(indices, quotas[group]))
    kept = tuple(e for i, e in enumerate(data.examples) if i in chosen)
    return dataclasses.replace(data, examples=kept, left_out=data.left_out + len(data.examples) - len(kept))


def _largest_remainder(sizes: Mapping[str, int], total: int, rng: random.Random) -> dict[str, int]:
    """Split `total` over groups in proportion to `sizes`, never above a group's size."""
    whole = sum(sizes.values())
    quotas = {group: total * size // whole for group, size in sizes.items()}
    order = sorted(sizes)
    rng.shuffle(order)
    order.sort(key=lambda group: total * sizes[group] % whole, reverse=True)
    for group in order[: total - sum(quotas.values())]:
        quotas[group] += 1
    return quotas
