"""MMLU (Hendrycks et al. 2021), as released (a CSV per subject) or from the hub (`cais/mmlu`).

Prompts are those of lm-evaluation-harness 0.4.13's `mmlu` task, character for character: the question is
stripped, the choices are not. One exception, which the released data does not meet: a dev row with the very
text of the scored question is not shown as its shot.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from evalsuite.errors import ConfigError, DataError
from evalsuite.tasks.base import DataSource, Example, Task, TaskData
from evalsuite.tasks.grading import grade_choice, summarise_choices
from evalsuite.tasks.reading import Row, read_csv, read_hub

REPOSITORY = "cais/mmlu"
LETTERS = ("A", "B", "C", "D")
COLUMNS = ("question", *LETTERS, "answer")
SHOT_SPLIT = "dev"
SPLITS = {"test": "test", "val": "validation", "dev": "dev"}
"""Our names (those of the released folders) to the hub's."""


def describe(subject: str | None) -> str:
    """The opening line for a subject such as `high_school_biology`; None names no subject."""
    about = f" about {subject.replace('_', ' ')}" if subject else ""
    return f"The following are multiple choice questions (with answers){about}.\n\n"


def render_body(question: str, choices: tuple[str, ...]) -> str:
    """The question, its lettered choices and the cue."""
    lettered = "\n".join(f"{letter}. {choice}" for letter, choice in zip(LETTERS, choices, strict=True))
    return f"{question.strip()}\n{lettered}\nAnswer:"


def read_mmlu(source: DataSource, split: str | None, shots: int = 0) -> TaskData:
    """One split of every subject, with the subject's dev rows as its shots."""
    split = {"validation": "val"}.get(split or "test", split or "test")
    if split not in SPLITS:
        raise ConfigError(f"mmlu: expected split {', '.join(SPLITS)}; got {split!r}")
    reader = _read_files if source.kind == "directory" else _read_hub
    label, examples = reader(source, split)
    pool: dict[str, list[Example]] = {}
    shots_source: tuple[str, ...] = ()
    if shots:
        shots_label, solved = reader(source, SHOT_SPLIT)
        shots_source = (shots_label if source.kind == "hub" else str(Path(shots_label) / SHOT_SPLIT),)
        for shot in solved:
            pool.setdefault(shot.shot_key, []).append(shot)
    return TaskData(
        task="mmlu",
        split=split,
        examples=tuple(examples),
        shots={subject: tuple(rows) for subject, rows in pool.items()},
        source=label,
        shots_source=shots_source,
    )


def _read_files(source: DataSource, split: str) -> tuple[str, list[Example]]:
    folder = source.folder("mmlu")
    paths = sorted((folder / split).glob(f"*_{split}.csv"))
    if not paths:
        raise DataError(
            f"mmlu: expected {split}/SUBJECT_{split}.csv in {folder} and found none; check --data (in Python data=)"
        )
    return str(folder), [e for path in paths for e in _read_subject(path, split)]


def _read_subject(path: Path, split: str) -> Iterator[Example]:
    """A subject's rows. Raises `DataError` for none: an average without the subject would look like a whole one."""
    subject = path.stem.removesuffix(f"_{split}")
    rows = list(read_csv(path, COLUMNS))
    if not rows:
        raise DataError(
            f"{path}: expected rows of {', '.join(COLUMNS)}, found none; get the file again, or remove it to leave out "
            f"{subject}"
        )
    for row in rows:
        gold = row.text("answer")
        if gold not in LETTERS:
            raise row.error("answer", f"expected a letter A-D, got {gold!r}")
        yield _example(split, subject, row.number, row.text("question"), tuple(row.text(c) for c in LETTERS), gold)


def _read_hub(source: DataSource, split: str) -> tuple[str, list[Example]]:
    label, rows = read_hub(source, REPOSITORY, SPLITS[split], "all")
    numbers: dict[str, int] = {}
    examples = []
    for row in rows:
        subject = row.text("subject")
        numbers[subject] = numbers.get(subject, 0) + 1
        examples.append(_example(split, subject, numbers[subject], row.text("question"), *_choices_and_gold(row)))
    return label, examples


def _choices_and_gold(row: Row) -> tuple[tuple[str, ...], str]:
    choices = tuple(row.items("choices"))
    if len(choices) != len(LETTERS) or not all(isinstance(choice, str) for choice in choices):
        raise row.error("choices", f"expected 4 texts, got {choices!r:.200}")
    answer = row.values.get("answer")
    if not isinstance(answer, int) or isinstance(answer, bool) or not 0 <= answer < len(LETTERS):
        raise row.error("answer", f"expected an index 0-3, got {row.got('answer')}")
    return choices, LETTERS[answer]


def _example(split: str, subject: str, number: int, question: str, choices: tuple[str, ...], gold: str) -> Example:
    return Example(
        id=f"mmlu/{split}/{subject}/{number}",
        group=subject,
        description=describe(subject),
        body=render_body(question, choices),
        answer=gold,
        gold=(gold,),
        choices=LETTERS,
        shot_key=subject,
        fields={"question": question},
    )


MMLU = Task(
    name="mmlu",
    kind="choice",
    title="MMLU",
    main_metric="accuracy",
    default_split="test",
    reader=read_mmlu,
    grader=grade_choice,
    summariser=summarise_choices,
)
