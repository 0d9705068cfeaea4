"""What transformers' own ways to generate take on the same prompts: greedy, and exactly `max_new_tokens` each.

`generate` pads a batch on the left; batches are sorted by length, longest first, as `padded`'s are. `static` is the
same with a StaticCache, whose decoding transformers compiles by itself on CUDA; the cache is as long as the longest
batch needs and the last batch is filled up with its own last prompt, so that one shape is compiled for all.
`generate_batch` is continuous batching over a paged cache: the manager that `model.generate_batch` opens, kept open
from the warm-up on, since a server would keep it too. Its settings are the library's own.

The model is the loaded one, with nothing of evalsuite's on it, and is left as it was.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evalsuite.config import ATTENTIONS
from evalsuite.errors import ConfigError, EvalsuiteError, first_line
from evalsuite.measure.memory import MemoryMeter
from evalsuite.types import EncodedPrompt

if TYPE_CHECKING:
    from evalsuite.loading import LoadedModel

BATCHED = ("static", "generate")
LIBRARIES = ("generate_batch", "generate_batch_compiled", *BATCHED)
AS_LOADED = ATTENTIONS[0]
"""The attention of the model as it is; `generate_batch` then takes a flash kernel by itself where there is one."""
NO_EOS = -1
"""Continuous batching takes the model's own end of sequence where it is given none."""
COMPILE_LEVEL = 1
"""The lowest of `ContinuousBatchingConfig`: one compilation for all sizes."""
POLL_SECONDS = 1.0
STOP_SECONDS = 60.0
STALL_SECONDS = 300.0
"""Without any answer: longer than a compilation takes."""
HOST_BATCH_TOKENS = 4_096
"""Of one step of continuous batching where the library would take most of the host's memory for its cache."""

Answers = list[tuple[int, ...]]
_Answer = Callable[[Sequence[EncodedPrompt]], Answers]


@dataclass(frozen=True, kw_only=True, slots=True)
class Library:
    """One way to generate, and how it is set."""

    name: str
    """Of `LIBRARIES`."""
    attention: str = AS_LOADED
    batch: int | None = None
    """Rows; of `BATCHED` alone, the other ways choose by themselves."""

    def __str__(self) -> str:
        way = {"static": "generate, static cache", "generate_batch_compiled": "generate_batch, compiled"}
        rows = f", batch {self.batch}" if self.batch else ""
        attention = "" if self.attention == AS_LOADED else f", {self.attention}"
        return f"transformers {way.get(self.name, self.name)}{rows}{attention}"


@dataclass(frozen=True, kw_only=True, slots=True)
class LibraryRun:
    """What a library took."""

    answers: Answers
    """One a prompt, in their order."""
    seconds: float
    first_seconds: float
    """Until the warm-up was answered: with what was compiled, captured and allocated."""
    peak_bytes: int
    attention: str
    """What the model ran with, by transformers' name."""
    graphs: tuple[int, int]
    """Compiled in the warm-up, and while it was timed: shapes that the warm-up did not show."""
    given_up: tuple[str, ...]
    """What the compiler said as it left code uncompiled, after more shapes than it takes."""


class LibraryFailure(EvalsuiteError, RuntimeError):
    """A library that did not answer what it was asked. The message is the library's own reason."""


def chosen(names: Sequence[str], batches: Sequence[int], attentions: Sequence[str]) -> list[Library]:
    """Each way with each attention and, where it has one, each batch size."""
    return [
        Library(name=name, attention=attention, batch=batch)
        for name in names
        for attention in attentions
        for batch in (batches if name in BATCHED else [None])
    ]


def try_library(
    loaded: LoadedModel, library: Library, warm_up: Sequence[EncodedPrompt], prompts: Sequence[EncodedPrompt]
) -> LibraryRun | str:
    """What it took, or the reason why it has no figure: a library may lack memory, a kernel or support."""
    try:
        _release(loaded)  # fails too on a device that an earlier library has brought into disorder
        return run_library(loaded, library, warm_up, prompts)
    except Exception as error:  # whatever it raises is a finding about it, and not about those who come after
        return f"{type(error).__name__}: {first_line(error)}"


def run_library(
    loaded: LoadedModel, library: Library, warm_up: Sequence[EncodedPrompt], prompts: Sequence[EncodedPrompt]
) -> LibraryRun:
    """Answer `warm_up`, then `prompts` on the clock.

    Raises:
        ConfigError: prompts that do not all have the same new tokens, or a model that evalsuite runs in its own way.
        LibraryFailure: not all the tokens asked for.
        Exception: whatever the library raises.
    """
    new_tokens = _new_tokens([*warm_up, *prompts])
    asked = [*warm_up, *prompts]
    compiled, start = _graphs_compiled(), time.perf_counter()
    with _as_the_library_has_it(loaded.model), _compiler_limits() as given_up, _by(loaded, library, asked) as answer:
        meter = MemoryMeter(str(loaded.device))
        answer(warm_up)
        _synchronize(loaded)
        warm, first_seconds = _graphs_compiled(), time.perf_counter() - start
        meter.reset()
        start = time.perf_counter()
        answers = answer(prompts)
        _synchronize(loaded)
        seconds = time.perf_counter() - start
        run = LibraryRun(
            answers=answers,
            seconds=seconds,
            first_seconds=first_seconds,
            peak_bytes=meter.peak().bytes,
            attention=loaded.model.config._attn_implementation,
            graphs=(warm - compiled, _graphs_compiled() - warm),
            given_up=tuple(dict.fromkeys(given_up)),
        )
    short = sum(len(answer) != new_tokens for answer in run.answers)
    if short or len(run.answers) != len(prompts):
        raise LibraryFailure(f"{short} of {len(prompts)} answers do not have the {new_tokens} tokens asked for")
    return run


def _synchronize(loaded: LoadedModel) -> None:
    import torch

    if loaded.device.type == "cuda":
        torch.cuda.synchronize(loaded.device)


def _by(loaded: LoadedModel, library: Library, prompts: Sequence[EncodedPrompt]) -> AbstractContextManager[_Answer]:
    """Context of a function from prompts to answers, made for these prompts."""
    return (_by_batches if library.name in BATCHED else _by_the_manager)(loaded, library, prompts)


@contextmanager
def _by_batches(loaded: LoadedModel, library: Library, prompts: Sequence[EncodedPrompt]) -> Iterator[_Answer]:
    """`generate`, batch after batch."""
    from evalsuite.padding import pad_left

    model: Any = loaded.model
    rows, pad_id = library.batch or 1, loaded.tokenizer.pad_token_id
    new_tokens = _new_tokens(prompts)
    asked: dict[str, Any] = {"max_new_tokens": new_tokens, "do_sample": False, "pad_token_id": pad_id}
    if library.name == "static":
        longest = max(len(prompt.prompt_ids) for prompt in prompts)
        asked |= {"cache_implementation": "static", "max_cache_len": longest + new_tokens}
    settings = _settings(**asked)
    if library.attention != AS_LOADED:
        model.set_attn_implementation(library.attention)

    def answer(asked: Sequence[EncodedPrompt]) -> Answers:
        by_length = sorted(range(len(asked)), key=lambda i: -len(asked[i].prompt_ids))
        answers: Answers = [()] * len(asked)
        for start in range(0, len(asked), rows):
            batch = by_length[start : start + rows]
            filled = batch + batch[-1:] * (rows - len(batch) if library.name == "static" else 0)
            inputs = pad_left([asked[i].prompt_ids for i in filled], pad_id=pad_id, device=loaded.device)
            # Without a mask, transformers makes one by looking for the padding token, which may be in a prompt.
            given = inputs.attention_mask
            mask = inputs.input_ids.new_ones(inputs.input_ids.shape) if given is None else given
            found = model.generate(inputs.input_ids, attention_mask=mask, generation_config=settings)
            written = found[:, inputs.input_ids.shape[1] :].tolist()
            for i, tokens in zip(batch, written[: len(batch)], strict=True):
                answers[i] = tuple(tokens)
        return answers

    yield answer


@contextmanager
def _by_the_manager(loaded: LoadedModel, library: Library, prompts: Sequence[EncodedPrompt]) -> Iterator[_Answer]:
    """What `generate_batch` does, with one manager for the warm-up and for the clock."""
    from transformers.generation.continuous_batching.utils import WorkloadHints

    model: Any = loaded.model
    new_tokens = _new_tokens(prompts)
    settings = _settings(max_new_tokens=new_tokens, do_sample=False, eos_token_id=NO_EOS)
    batching = _batching(library, prompts, host=loaded.device.type == "cpu")
    if library.attention != AS_LOADED:
        model.set_attn_implementation(_paged(library.attention, batching))
    hints = WorkloadHints(
        max_prompt_length=max(len(prompt.prompt_ids) for prompt in prompts),
        max_generated_length=new_tokens,
        num_requests=len(prompts),
    )
    with model.continuous_batching_context_manager(
        generation_config=settings,
        continuous_batching_config=batching,
        workload_hints=hints,
        block=True,
        timeout=STOP_SECONDS,
    ) as manager:
        yield lambda asked: _collected(manager, asked, new_tokens)


def _collected(manager: Any, prompts: Sequence[EncodedPrompt], new_tokens: int) -> Answers:
    """Waits for all, failed ones too: what is still under way would run on into the next library's time.

    Raises:
        LibraryFailure: a request failed, or nothing comes any more.
    """
    ids = manager.add_requests([list(prompt.prompt_ids) for prompt in prompts], max_new_tokens=new_tokens)
    found: dict[str, tuple[int, ...]] = {}
    errors: list[str] = []
    since = time.perf_counter()
    while len(found) < len(ids):
        result = manager.get_result(timeout=POLL_SECONDS)
        if result is not None and result.is_finished():
            since = time.perf_counter()
            found[result.request_id] = tuple(result.generated_tokens)
            errors += [result.error] if result.error is not None else []
        elif not manager.is_running():
            cause = getattr(manager.background_thread_status, "fatal_error", None)
            raise LibraryFailure(f"its thread ended after {len(found)} of {len(ids)} answers: {cause or 'no reason'}")
        elif time.perf_counter() - since > STALL_SECONDS:
            raise LibraryFailure(f"{len(found)} of {len(ids)} answers, and none for {STALL_SECONDS:.0f} s")
    if errors:
        raise LibraryFailure(f"{len(errors)} of {len(ids)} requests failed: {errors[0]}")
    return [found[id_] for id_ in ids]


def _batching(library: Library, prompts: Sequence[EncodedPrompt], *, host: bool) -> Any:
    """The library's own settings; on the CPU a cache that holds all prompts, instead of 60 % of the host's memory."""
    from transformers.generation.configuration_utils import ContinuousBatchingConfig

    batching: Any = ContinuousBatchingConfig()
    if library.name == "generate_batch_compiled":
        batching.default_compile_level = COMPILE_LEVEL
    if library.attention != AS_LOADED and _may_switch(batching):
        batching.auto_switch_to_flash = False
    if host:
        page = batching.page_size if hasattr(batching, "page_size") else batching.block_size  # until 5.17
        lengths = (len(prompt.prompt_ids) + prompt.max_new_tokens for prompt in prompts)
        batching.num_blocks = sum(math.ceil(length / page) + 1 for length in lengths)
        batching.max_batch_tokens = HOST_BATCH_TOKENS
    return batching


def _paged(attention: str, batching: Any) -> str:
    """An attention by the name under which this transformers leaves it as it is.

    Until it had a switch for that, it replaced by a flash kernel whatever was not called paged.
    """
    return attention if _may_switch(batching) or attention.startswith("flash") else f"paged|{attention}"


def _may_switch(batching: Any) -> bool:
    return "auto_switch_to_flash" in {field.name for field in dataclasses.fields(batching)}


@contextmanager
def _as_the_library_has_it(model: Any) -> Iterator[None]:
    """Within, no settings of the model's files and nothing of evalsuite's; afterwards the model is as it was."""
    from evalsuite.loading.fusing import decoder_layers

    attention, settings, known = model.config._attn_implementation, model.generation_config, set(vars(model))
    if attention.startswith("evalsuite") or any("forward" in vars(layer) for layer in [model, *decoder_layers(model)]):
        raise ConfigError("the model runs evalsuite's attention or compiled layers: a library is measured without them")
    model.generation_config = _settings()
    try:
        yield
    finally:
        for name in set(vars(model)) - known:  # its compiled call, the longest static cache so far
            delattr(model, name)
        model.generation_config = settings
        if model.config._attn_implementation != attention:
            model.set_attn_implementation(attention)


class _Limits(logging.Handler):
    """Keeps what dynamo says where it gives up compiling: code then runs on as it is, and nothing raises."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if "recompile_limit" in (message := record.getMessage()):
            self.lines.append(message.splitlines()[0])


@contextmanager
def _compiler_limits() -> Iterator[list[str]]:
    """Within, what the compiler gave up on gathers. Its limits are left alone: they are part of what a library gives,
    and settings are a thread's own, where the library has its own thread."""
    handler, logger = _Limits(), logging.getLogger("torch._dynamo.convert_frame")
    logger.addHandler(handler)
    try:
        yield handler.lines
    finally:
        logger.removeHandler(handler)


def _settings(**asked: Any) -> Any:
    """A `GenerationConfig` of what is asked alone: without an end of sequence."""
    import transformers

    library: Any = transformers  # untyped
    return library.GenerationConfig(**asked)


def _new_tokens(prompts: Sequence[EncodedPrompt]) -> int:
    """Of every prompt."""
    counts = {prompt.max_new_tokens for prompt in prompts}
    if len(counts) != 1:
        raise ConfigError(f"prompts of one number of new tokens, not of {sorted(counts)}: a batch ends as one")
    return counts.pop()


def _graphs_compiled() -> int:
    from torch._dynamo.utils import counters

    return int(counters["stats"]["unique_graphs"])


def _release(loaded: LoadedModel) -> None:
    """Nothing of another run's: what it left in the allocator's cache counts as taken when a library sizes its own,
    and graphs that it compiled count towards the compiler's limit."""
    import gc

    import torch

    torch._dynamo.reset()
    gc.collect()
    if loaded.device.type == "cuda":
        torch.cuda.empty_cache()
