"""A path with a fault planted in it, and the verdict that the real rule gives. Without a fault: the sound path."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from evalsuite.config import REFERENCE_STRATEGY, ExecutionOptions
from evalsuite.engines.transformers import TransformersEngine
from evalsuite.faithful import Verdict, compare_choices, compare_generations
from evalsuite.loading import LoadedModel
from evalsuite.types import ChoiceRequest, GenerationRequest

TEXTS = ["Hà Nội?", "Which of these rivers is the longest of all?", "a", "Thủ đô của Việt Nam là gì, và vì sao?"] * 2

Plant = Callable[[pytest.MonkeyPatch], None]


def choice_requests(texts: Sequence[str]) -> list[ChoiceRequest]:
    return [
        ChoiceRequest(id=str(i), context=f"{text} {i}\nAnswer:", continuations=(" A", " B", " C", " D"))
        for i, text in enumerate(texts)
    ]


def prompt_requests(texts: Sequence[str]) -> list[GenerationRequest]:
    return [GenerationRequest(id=str(i), prompt=f"{text} {i}", max_new_tokens=6) for i, text in enumerate(texts)]


def scoring_verdict(
    loaded: LoadedModel,
    strategy: str,
    plant: Plant | None = None,
    *,
    texts: Sequence[str] = TEXTS,
    options: ExecutionOptions | None = None,
) -> Verdict:
    """The reference answers soundly; then the fault is planted, and the path encodes and scores with it."""
    requests = choice_requests(texts)
    with TransformersEngine(loaded, options or ExecutionOptions()) as engine, pytest.MonkeyPatch.context() as patch:
        reference = {o.id: o for o in engine.score(engine.encode_choices(requests), REFERENCE_STRATEGY)}
        if plant:
            plant(patch)
        path = {o.id: o for o in engine.score(engine.encode_choices(requests), strategy)}
    return compare_choices(reference=reference, path=path, reference_fp32=reference)


def generation_verdict(
    loaded: LoadedModel,
    strategy: str,
    plant: Plant | None = None,
    *,
    texts: Sequence[str] = TEXTS,
    options: ExecutionOptions | None = None,
) -> Verdict:
    """As `scoring_verdict`, for six new tokens after each text."""
    requests = prompt_requests(texts)
    with TransformersEngine(loaded, options or ExecutionOptions()) as engine, pytest.MonkeyPatch.context() as patch:
        prompts = engine.encode_prompts(requests)
        answers = list(engine.generate(prompts, REFERENCE_STRATEGY))
        fp32 = {o.id: o for o in engine.teacher_force(prompts, answers)}
        if plant:
            plant(patch)
        path = {o.id: o for o in engine.generate(engine.encode_prompts(requests), strategy)}
    return compare_generations(reference={o.id: o for o in answers}, path=path, reference_fp32=fp32)
