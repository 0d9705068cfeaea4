"""The questions that every peer is given, as token ids, and what each gives back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from evalsuite.evaluation import prepare
from evalsuite.tasks import get_task
from evalsuite.tasks.base import DataSource, limit_examples
from evalsuite.tasks.prompting import Prompting
from evalsuite.types import EncodedChoices, EncodedPrompt

if TYPE_CHECKING:
    from evalsuite.engines.transformers import TransformersEngine


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """One peer on some questions."""

    peer: str
    questions: int
    seconds: float
    """Planning, packing and copies included; loading the model and compiling are not."""
    first_seconds: float | None = None
    """Of a first call on a few questions: compiling, autotuning, caches."""
    predictions: dict[str, int] | None = None
    """Question id to the index of its choice; None where the peer's weights are others."""
    details: dict[str, Any] | None = None

    @property
    def seconds_per_question(self) -> float:
        return self.seconds / self.questions


def encoded_questions(
    engine: TransformersEngine, task: str, data: str, *, shots: int, limit: int | None
) -> tuple[EncodedChoices, ...]:
    """A task's questions as evalsuite's own strategies get them."""
    source = DataSource(kind="directory", path=data)
    questions = limit_examples(get_task(task).read(source, shots=shots), limit, seed=0)
    prompting = Prompting(shots=shots, tokenizer=engine.loaded.tokenizer, model_name=engine.loaded.config.model)
    return prepare(get_task(task), questions, engine, prompting).choices


Question = TypeVar("Question", EncodedChoices, EncodedPrompt)


def spread(questions: Sequence[Question], count: int | None) -> Sequence[Question]:
    """`count` of them, evenly over their lengths, so that their mean cost is that of all; None for all."""
    if count is None or count >= len(questions):
        return questions
    ordered = sorted(questions, key=_length)
    return [ordered[(2 * index + 1) * len(ordered) // (2 * count)] for index in range(count)]


def _length(question: EncodedChoices | EncodedPrompt) -> int:
    return len(question.context_ids if isinstance(question, EncodedChoices) else question.prompt_ids)
