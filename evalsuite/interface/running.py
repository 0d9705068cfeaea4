"""A bare (model, tokenizer) pair put through the engine: whole evaluations, single questions, texts."""

from __future__ import annotations

import dataclasses
import logging
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evalsuite.config import REFERENCE_STRATEGY, ExecutionOptions
from evalsuite.errors import ConfigError, RequestError
from evalsuite.evaluation import Workload, answer, grade, prepare
from evalsuite.interface.data import alone, text, texts
from evalsuite.tasks.base import Example, Task, TaskData
from evalsuite.tasks.prompting import ChatMode, Prompting
from evalsuite.types import ChoiceRequest, Generation, Graded, Outcome, TaskKind

if TYPE_CHECKING:
    from evalsuite.engines.transformers import TransformersEngine

FAST_STRATEGY: Mapping[TaskKind, str] = {"choice": "packed", "generation": "continuous"}
"""What `use_batching=True` runs."""
ALONE_STRATEGY = "padded"
"""The same for one question, which shares a beginning with none and fills no pack, and for a bound on rows."""

OnGraded = Callable[[Graded], object]

logger = logging.getLogger("evalsuite")


@dataclass(frozen=True, kw_only=True, slots=True)
class How:
    """How questions are shown and run."""

    use_batching: bool = True
    """Off: one forward a choice, one prompt at a time. The same answers, slowly."""
    batch_size: int | None = None
    """Most rows in one forward; None leaves it to the token budget. Packs have no rows: under a bound, choices run in
    padded batches, which are slower."""
    shots: int = 0
    """Solved questions shown before each one of a whole run. A question of the caller's own has none."""
    chat_template: ChatMode = "auto"
    progress: bool = False
    """Draw a bar on stderr."""

    def strategy(self, kind: TaskKind, questions: int) -> str:
        if not self.use_batching:
            return REFERENCE_STRATEGY
        # A bound on rows says how much memory there is, and packs of questions have no rows.
        bounded = kind == "choice" and self.batch_size is not None
        return FAST_STRATEGY[kind] if questions > 1 and not bounded else ALONE_STRATEGY


def evaluate(
    model: Any, tokenizer: Any, task: Task, data: TaskData, how: How, on_graded: OnGraded | None = None
) -> list[Graded]:
    """Every question answered and graded, in the order of `data`. `on_graded` sees each as soon as it is known."""
    for reason, count in data.excluded.items():
        logger.info("%s: %d not scored: %s", task.name, count, reason)
    graded: dict[str, Graded] = {}
    with _prepared(model, tokenizer, task, data, how) as (engine, workload):
        _warn_of_random_weights(engine)
        with bar(task.name, len(workload), shown=how.progress) as tick:

            def keep(outcome: Outcome) -> None:
                graded[outcome.id] = grade(workload, outcome)
                if on_graded is not None:
                    on_graded(graded[outcome.id])
                tick()

            answer(engine, workload, how.strategy(task.kind, len(workload)), on_outcome=keep)
    return [graded[example.id] for example in data.examples]


def choose(model: Any, tokenizer: Any, task: Task, example: Example, how: How) -> str:
    """The letter of the most probable of an example's choices. Raises `ConfigError` for shots."""
    _refuse_shots(how)
    (graded,) = evaluate(model, tokenizer, task, alone(task, [example]), how)
    return graded.prediction


def generate(
    model: Any, tokenizer: Any, task: Task, examples: Sequence[Example], max_new_tokens: int, how: How
) -> list[str]:
    """What the model writes after each example, in order. Raises `ConfigError` for shots."""
    _refuse_shots(how)
    if not examples:
        return []
    task = dataclasses.replace(task, max_new_tokens=max_new_tokens)
    with _prepared(model, tokenizer, task, alone(task, examples), how) as (engine, workload):
        outcomes = answer(engine, workload, how.strategy(task.kind, len(workload)))
    written = {outcome.id: outcome.text for outcome in outcomes.values() if isinstance(outcome, Generation)}
    return [written[example.id] for example in examples]


def compute_logprobs_for_all_choices_batched(
    model: Any, tokenizer: Any, prompt: str, choices: Sequence[str]
) -> list[float]:
    """The log-probability, in nats, of " A", " B", ... right after `prompt`: one for each choice.

    Args:
        prompt: ends with the cue, such as "Answer:", without a blank: the letter brings its own.
        choices: only their number counts, 26 at most. Their texts belong into the prompt.

    Raises:
        RequestError: no choices, or more than there are letters; a prompt or a choice that is no text.
    """
    context = text("prompt", prompt)
    count = len(texts("choices", choices))
    if not 1 <= count <= len(string.ascii_uppercase):
        raise RequestError(f"choices: expected 1 to {len(string.ascii_uppercase)}, got {count}")
    letters = tuple(f" {letter}" for letter in string.ascii_uppercase[:count])
    with engine_for(model, tokenizer, How()) as engine:
        encoded = engine.encode_choices([ChoiceRequest(id="prompt", context=context, continuations=letters)])
        _warn_of_cuts("prompt", sum(request.truncated_tokens > 0 for request in encoded))
        (scores,) = engine.score(encoded, ALONE_STRATEGY)
    return list(scores.logprobs)


@contextmanager
def engine_for(model: Any, tokenizer: Any, how: How) -> Iterator[TransformersEngine]:
    """An engine around the pair. Its hooks leave the model with it, so the model stays as its caller knows it."""
    from evalsuite.engines.transformers import TransformersEngine
    from evalsuite.loading import adopt, remember

    with TransformersEngine(adopt(model, tokenizer), ExecutionOptions(batch_size=how.batch_size)) as engine:
        try:
            yield engine
        finally:
            remember(engine.loaded)  # its report has changed where a compiled forward was given up


@contextmanager
def _prepared(
    model: Any, tokenizer: Any, task: Task, data: TaskData, how: How
) -> Iterator[tuple[TransformersEngine, Workload]]:
    """An engine, and the questions encoded for it."""
    with engine_for(model, tokenizer, how) as engine:
        prompting = Prompting(
            shots=how.shots,
            chat=how.chat_template,
            tokenizer=engine.loaded.tokenizer,
            model_name=engine.loaded.config.model,
        )
        workload = prepare(task, data, engine, prompting)
        _warn_of_cuts(task.name, workload.truncated)
        yield engine, workload


def _refuse_shots(how: How) -> None:
    if how.shots:
        raise ConfigError(
            f"shots: a question of your own has no solved ones to show before it, got shots={how.shots}; leave it out, "
            "or write them into the question. The functions run_... take their shots from the data"
        )


def _warn_of_cuts(what: str, count: int) -> None:
    from evalsuite.loading.report import log_once

    if count:
        log_once(logging.WARNING, f"{what}: {count} cut on the left to fit the model's window")


def _warn_of_random_weights(engine: TransformersEngine) -> None:
    from evalsuite.loading.report import log_once

    if not engine.loaded.config.accuracy_is_meaningful:
        log_once(logging.WARNING, f"{engine.loaded.path}: random weights, so scores mean nothing")


@contextmanager
def bar(label: str, total: int, *, shown: bool) -> Iterator[Callable[[], object]]:
    """Yields the function to call once per finished question."""
    if not shown:
        yield lambda: None
        return
    from tqdm import tqdm

    with tqdm(total=total, desc=label, unit="q", dynamic_ncols=True) as bar:
        yield bar.update
