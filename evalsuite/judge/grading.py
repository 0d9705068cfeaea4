"""The judge around a way of asking: renders, asks once for each distinct prompt, reads replies, keeps grades."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from evalsuite.errors import EvalsuiteError
from evalsuite.judge.prompts import PROMPTS, judge_prompt, render
from evalsuite.judge.reading import read_grade
from evalsuite.judge.store import GradeStore, KeptGrade, check_folder, prompt_key, store_file
from evalsuite.judge.types import JudgeGrade, JudgeQuestion

MAX_TOKENS = 16
"""Room for a number and the marks around it."""
MOST_CHARACTERS = 200
"""Of a reply or a problem: what a server sends must not fill the results."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """What came of asking once: a text, or None and the problem."""

    text: str | None
    problem: str = ""


OnReply = Callable[[str, Reply], None]


class Asker(Protocol):
    """A way to put prompts to a model."""

    @property
    def name(self) -> str:
        """For records: which model, where."""
        ...

    @property
    def identity(self) -> Mapping[str, str]:
        """All that a reply depends on besides the prompt, as far as it can be known."""
        ...

    def ask(self, prompts: Mapping[str, str], on_reply: OnReply) -> None:
        """Call `on_reply(key, reply)` once for each key of `prompts`, each as soon as it is known."""
        ...

    def hide(self, text: str) -> str:
        """`text` without anything secret."""
        ...


@dataclass(kw_only=True, slots=True)
class _Open:
    """A prompt without a grade yet, and the questions that wait for it: equal answers are asked about once."""

    prompt: str
    ids: list[str]


class AskingJudge:
    """A `Judge` that asks by `asker` and keeps grades in the folder `grades`, or in memory for None."""

    def __init__(self, asker: Asker, grades: Path | None) -> None:
        self.name = asker.name
        self._asker = asker
        self._grades = grades
        self._stores: dict[str, GradeStore] = {}

    def __repr__(self) -> str:
        return f"AskingJudge({self.name!r})"

    def ready(self) -> AskingJudge:
        """This judge, its grades seen to be readable and its folder writable, before anything is paid for.

        Raises `ConfigError`. Files are begun by the first grade of their task.
        """
        if self._grades is not None:
            check_folder(self._grades)
            for task in PROMPTS:
                if (path := self._file(task)) is not None and path.exists():
                    self._store(task)
        return self

    def grade(
        self, questions: Sequence[JudgeQuestion], *, on_grade: Callable[[JudgeGrade], object] | None = None
    ) -> dict[str, JudgeGrade]:
        """A grade for every question, by id, in the order asked.

        Raises:
            EvalsuiteError: two questions of one id.
            ConfigError: a task that no judge grades, or grades that cannot be kept where they should.
        """
        by_task: dict[str, list[JudgeQuestion]] = {}
        for question in questions:
            by_task.setdefault(question.task, []).append(question)
        if len({question.id for question in questions}) < len(questions):
            raise EvalsuiteError("judge: expected questions with distinct ids")
        grades: dict[str, JudgeGrade] = {}

        def give(grade: JudgeGrade) -> None:
            grades[grade.id] = grade
            if on_grade is not None:
                on_grade(grade)

        for task, of_task in by_task.items():
            self._grade_task(self._store(task), of_task, give)
        return {question.id: grades[question.id] for question in questions}

    def _grade_task(
        self, store: GradeStore, questions: Sequence[JudgeQuestion], give: Callable[[JudgeGrade], None]
    ) -> None:
        open_prompts: dict[str, _Open] = {}
        for question in questions:
            prompt = render(question.task, question.fields, question.gold, question.answer)
            key = prompt_key(prompt)
            if (kept := store.get(key)) is not None:
                give(JudgeGrade(id=question.id, value=kept.value, reply=kept.reply, reused=True))
            else:
                open_prompts.setdefault(key, _Open(prompt=prompt, ids=[])).ids.append(question.id)

        def on_reply(key: str, reply: Reply) -> None:
            # Hidden before anything is cut, or a part of a key would stay.
            text, problem = self._asker.hide(reply.text or ""), self._asker.hide(reply.problem)
            value = None
            if reply.text is not None:
                value, problem = read_grade(text)
            said = text[:MOST_CHARACTERS]
            if value is not None:
                store.add(key, KeptGrade(value=value, reply=said))
            for id_ in open_prompts.pop(key).ids:
                give(JudgeGrade(id=id_, value=value, problem=problem[:MOST_CHARACTERS], reply=said))

        if open_prompts:
            self._asker.ask({key: waiting.prompt for key, waiting in open_prompts.items()}, on_reply)
        if open_prompts:
            raise EvalsuiteError(f"judge: {len(open_prompts)} prompts got no reply; this is a defect of the judge")

    def _store(self, task: str) -> GradeStore:
        if task not in self._stores:
            self._stores[task] = GradeStore(self._file(task), self._about(task))
        return self._stores[task]

    def _about(self, task: str) -> dict[str, str]:
        """All that a grade depends on but the answer."""
        prompt = judge_prompt(task)
        return {**self._asker.identity, "prompt": prompt.version, "prompt_hash": prompt.hash}

    def _file(self, task: str) -> Path | None:
        if self._grades is None:
            return None
        label = f"{short_name(self._asker.identity['model'])}-{judge_prompt(task).version}"
        return store_file(self._grades, label, self._about(task))


def short_name(model: str) -> str:
    """The model's own part of a hub name or a path."""
    return model.rstrip("/").rsplit("/", 1)[-1]
