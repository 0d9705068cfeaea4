"""One task on one engine: encode its questions once, answer all or some of them, grade what comes back."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from evalsuite.errors import EvalsuiteError
from evalsuite.measure.timing import CLOCK
from evalsuite.types import (
    ChoiceRequest,
    ChoiceScores,
    EncodedChoices,
    EncodedPrompt,
    Generation,
    GenerationRequest,
    Graded,
    Outcome,
)

if TYPE_CHECKING:
    from evalsuite.tasks.base import Example, Task, TaskData
    from evalsuite.tasks.prompting import Prompting


class Engine(Protocol):
    """What an evaluation needs of an engine."""

    def encode_choices(self, requests: Sequence[ChoiceRequest]) -> list[EncodedChoices]: ...
    def encode_prompts(self, requests: Sequence[GenerationRequest]) -> list[EncodedPrompt]: ...
    def score(self, requests: Sequence[EncodedChoices], strategy: str) -> Iterator[ChoiceScores]: ...
    def generate(self, requests: Sequence[EncodedPrompt], strategy: str) -> Iterator[Generation]: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """A task's questions, ready for an engine."""

    task: Task
    data: TaskData
    uses_chat: bool
    choices: tuple[EncodedChoices, ...] = ()
    """The questions of a choice task, in the order of `data`; empty for a generation task."""
    prompts: tuple[EncodedPrompt, ...] = ()
    """The questions of a generation task."""
    prompt_hashes: Mapping[str, str]
    """Question id to 16 hex digits over the text that the model is shown."""
    examples: Mapping[str, Example]
    shots_shown: Mapping[int, int]
    """Shots to the number of questions that are shown so many."""

    def __len__(self) -> int:
        return len(self.questions)

    @property
    def questions(self) -> tuple[EncodedChoices | EncodedPrompt, ...]:
        return self.choices or self.prompts

    @property
    def ids(self) -> list[str]:
        return [question.id for question in self.questions]

    @property
    def prompts_fingerprint(self) -> str:
        """Twelve hex digits over every prompt, shots and template included, in order."""
        text = "".join(self.prompt_hashes[id_] for id_ in self.ids)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def truncated(self) -> int:
        """How many questions lost tokens on the left to the model's window."""
        return sum(question.truncated_tokens > 0 for question in self.questions)

    @property
    def lengths(self) -> Mapping[str, int]:
        """Question id to its tokens: context and continuations, or prompt."""
        of_choices = {e.id: len(e.context_ids) + sum(map(len, e.continuation_ids)) for e in self.choices}
        return of_choices | {encoded.id: len(encoded.prompt_ids) for encoded in self.prompts}

    def only(self, ids: Collection[str]) -> Workload:
        """The questions with these ids, in the same order."""
        wanted = frozenset(ids)
        return replace(
            self,
            choices=tuple(encoded for encoded in self.choices if encoded.id in wanted),
            prompts=tuple(encoded for encoded in self.prompts if encoded.id in wanted),
        )


def prepare(
    task: Task,
    data: TaskData,
    engine: Engine,
    prompting: Prompting,
    *,
    on_requests: Callable[[Sequence[ChoiceRequest | GenerationRequest]], object] | None = None,
) -> Workload:
    """Render and encode every question of `data`. `on_requests` sees them as text, which is not kept."""
    requests = task.requests(data, prompting)
    if on_requests is not None:
        on_requests(requests)
    choices = [request for request in requests if isinstance(request, ChoiceRequest)]
    prompts = [request for request in requests if isinstance(request, GenerationRequest)]
    return Workload(
        task=task,
        data=data,
        uses_chat=prompting.uses_chat,
        choices=tuple(engine.encode_choices(choices)) if choices else (),
        prompts=tuple(engine.encode_prompts(prompts)) if prompts else (),
        prompt_hashes={request.id: prompt_hash(request) for request in requests},
        examples={example.id: example for example in data.examples},
        shots_shown=task.shots_shown(data, prompting),
    )


def answer(
    engine: Engine, workload: Workload, strategy: str, *, on_outcome: Callable[[Outcome], object] | None = None
) -> dict[str, Outcome]:
    """Every question's outcome by id. `on_outcome` sees each as soon as it is known, with the clock stopped.

    Raises:
        EvalsuiteError: the strategy lost a question, answered one twice, or answered one that nobody asked.
    """
    expected = set(workload.ids)
    outcomes: dict[str, Outcome] = {}
    stream = _stream(engine, workload, strategy)
    while len(outcomes) < len(expected) and (outcome := next(stream, None)) is not None:
        if outcome.id in outcomes or outcome.id not in expected:
            what = "answered twice" if outcome.id in outcomes else "was never asked"
            raise EvalsuiteError(f"strategy {strategy!r}: {outcome.id!r} {what}; this is a defect of the strategy")
        outcomes[outcome.id] = outcome
        if on_outcome is not None:
            with CLOCK.paused():
                on_outcome(outcome)
    # All answers are in. What an engine does when its stream is drained is book-keeping, so it is not timed.
    with CLOCK.paused():
        surplus = next(stream, None)
    problem = f"and then another for {surplus.id!r}" if surplus else ""
    if len(outcomes) < len(expected):
        problem = f"the first missing is {min(expected - outcomes.keys())!r}"
    if problem:
        raise EvalsuiteError(
            f"strategy {strategy!r}: expected one answer for each of {len(expected)} questions, got {len(outcomes)}; "
            f"{problem}"
        )
    return outcomes


def grade(workload: Workload, outcome: Outcome) -> Graded:
    return workload.task.grade(workload.examples[outcome.id], outcome)


def prompt_hash(request: ChoiceRequest | GenerationRequest) -> str:
    """Changes with any character of what the model is shown or scored on."""
    digest = hashlib.sha256()
    for text in (request.context, *request.continuations) if isinstance(request, ChoiceRequest) else (request.prompt,):
        digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()[:16]


def _stream(engine: Engine, workload: Workload, strategy: str) -> Iterator[Outcome]:
    if workload.task.kind == "choice":
        return engine.score(workload.choices, strategy)
    return engine.generate(workload.prompts, strategy)
