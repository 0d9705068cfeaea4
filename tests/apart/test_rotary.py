"""Where rotary embeddings depend on the longest sequence of a forward, a request is answered as it is alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest
import torch
from transformers import GPT2Config, LlamaConfig, Phi3Config
from transformers.models.phi3.modeling_phi3 import Phi3RotaryEmbedding

from evalsuite.apart import forget_lengths, prompt_too_long
from evalsuite.config import ExecutionOptions
from evalsuite.determinism import NotDeterministic
from evalsuite.engines.transformers import TransformersEngine
from evalsuite.types import EncodedChoices, EncodedPrompt, Fallback
from tests.apart.models import ORIGINAL, ROTARY, by_length
from tests.tiny import wrap


def question(id_: str, fed: int, *, longest: int = 1) -> EncodedChoices:
    """Of two choices, the longer of which feeds `fed` tokens."""
    context = tuple(range(20, 20 + fed - longest + 1))
    return EncodedChoices(id=id_, context_ids=context, continuation_ids=((9,), tuple(range(10, 10 + longest))))


def prompt(id_: str, fed: int, *, new: int) -> EncodedPrompt:
    """With its new tokens but the last it feeds `fed` tokens."""
    return EncodedPrompt(id=id_, prompt_ids=tuple(range(20, 20 + fed - new + 1)), max_new_tokens=new)


def too_long(config: object, fed: int) -> str | None:
    return prompt_too_long(config)(prompt("asked", fed, new=fed))


SHORT = [question("short", 5), question("full", ORIGINAL, longest=3)]
LONG = [question("over", ORIGINAL + 1), question("one choice over", ORIGINAL + 2, longest=5), question("long", 40)]
SHORT_PROMPTS = [prompt("short", 5, new=2), prompt("near", ORIGINAL - 2, new=9), prompt("read", ORIGINAL - 2, new=1)]
FULL_PROMPT = prompt("full", ORIGINAL, new=6)
LONG_PROMPTS = [prompt("goes over", ORIGINAL + 3, new=8), prompt("long", 40, new=6), prompt("less long", 30, new=4)]


def score(name: str, batch: Sequence[EncodedChoices], strategy: str) -> tuple[dict[str, object], list[Fallback]]:
    with TransformersEngine(wrap(by_length(name)), ExecutionOptions()) as engine:
        found = {o.id: pytest.approx(o.logprobs, abs=1e-4) for o in engine.score(batch, strategy)}
        return found, engine.fallbacks


def generate(
    name: str, batch: Sequence[EncodedPrompt], strategy: str, **options: bool
) -> tuple[object, list[Fallback]]:
    with TransformersEngine(wrap(by_length(name)), ExecutionOptions(**options)) as engine:
        outcomes = list(engine.generate(batch, strategy))
        found = {o.id: (o.token_ids, pytest.approx(o.logprobs, abs=1e-4)) for o in outcomes}
        return found, engine.fallbacks


def scored_alone(name: str, batch: Iterable[EncodedChoices]) -> dict[str, object]:
    """Each on a model that has seen nothing else, each choice too."""
    found: dict[str, object] = {}
    for request in batch:
        logprobs: list[float] = []
        for choice in request.continuation_ids:
            one = EncodedChoices(id="", context_ids=request.context_ids, continuation_ids=(choice,))
            with TransformersEngine(wrap(by_length(name)), ExecutionOptions()) as engine:
                logprobs += next(engine.score([one], "unbatched")).logprobs
        found[request.id] = tuple(logprobs)
    return found


def generated_alone(name: str, batch: Iterable[EncodedPrompt]) -> dict[str, object]:
    found: dict[str, object] = {}
    for request in batch:
        with TransformersEngine(wrap(by_length(name)), ExecutionOptions()) as engine:
            (outcome,) = engine.generate([request], "unbatched")
        found[request.id] = (outcome.token_ids, outcome.logprobs)
    return found


def assert_went_alone(fallbacks: list[Fallback], strategy: str) -> None:
    assert [(f.what, f.asked, f.got) for f in fallbacks] == [("strategy", strategy, "unbatched")]
    assert f"requests of more than {ORIGINAL} tokens cannot share a forward" in fallbacks[0].reason


@pytest.mark.parametrize("strategy", ["unbatched", "per_question", "padded", "packed"])
@pytest.mark.parametrize("name", ROTARY)
class TestScoring:
    def test_up_to_the_original_length_all_are_batched(self, name: str, strategy: str) -> None:
        found, fallbacks = score(name, SHORT, strategy)
        assert found == scored_alone(name, SHORT)
        assert not fallbacks

    def test_longer_ones_are_scored_alone(self, name: str, strategy: str) -> None:
        batch = [*LONG, *SHORT, *reversed(LONG)]  # of those that come twice, the last answer is looked at
        found, fallbacks = score(name, batch, strategy)
        assert found == scored_alone(name, [*SHORT, *LONG])
        if strategy != "unbatched":
            assert_went_alone(fallbacks, strategy)


@pytest.mark.parametrize("strategy", ["padded", "continuous"])
@pytest.mark.parametrize("name", ROTARY)
class TestGeneration:
    def test_up_to_the_original_length_all_are_batched(self, name: str, strategy: str) -> None:
        batch = SHORT_PROMPTS if strategy == "continuous" else [*SHORT_PROMPTS, FULL_PROMPT]
        found, fallbacks = generate(name, batch, strategy)
        assert found == generated_alone(name, batch)
        assert not fallbacks

    def test_those_that_get_longer_are_answered_alone(self, name: str, strategy: str) -> None:
        batch = [*LONG_PROMPTS, *SHORT_PROMPTS, FULL_PROMPT]
        found, fallbacks = generate(name, batch, strategy)
        assert found == generated_alone(name, batch)
        assert_went_alone(fallbacks, strategy)


def test_a_row_that_waits_for_the_end_of_a_round_lengthens_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on CUDA, where rounds are longer: its positions stay where frequencies are fixed."""
    monkeypatch.setattr("evalsuite.generation._pooled.STEPS_ON_CPU", 8)
    longest = []
    forward = Phi3RotaryEmbedding.forward

    def watched(self: object, x: torch.Tensor, position_ids: torch.Tensor) -> object:
        longest.append(int(position_ids.max()) + 1)
        return forward(self, x, position_ids)

    monkeypatch.setattr(Phi3RotaryEmbedding, "forward", watched)
    near = [prompt("ends", ORIGINAL - 2, new=2), prompt("ends nearer", ORIGINAL - 1, new=2)]
    batch = [*near, prompt("goes on", ORIGINAL - 2, new=9)]
    found, fallbacks = generate("longrope", batch, "continuous")
    assert max(longest) == ORIGINAL
    assert_went_alone(fallbacks, "continuous")
    assert found == generated_alone("longrope", batch)


def test_without_a_cache_it_is_the_same() -> None:
    found, fallbacks = generate("longrope", [*LONG_PROMPTS, *SHORT_PROMPTS], "padded", kv_cache=False)
    assert found == generated_alone("longrope", [*LONG_PROMPTS, *SHORT_PROMPTS])
    assert_went_alone(fallbacks, "padded")


@pytest.mark.parametrize("name", ROTARY)
def test_in_one_forward_a_longer_row_does_change_the_others(name: str) -> None:
    """What all of this is for; where transformers mends it, it can go."""
    model = by_length(name)
    short = torch.arange(20, 28)[None]
    with torch.inference_mode():
        alone = model(short).logits
        beside = model(torch.cat([torch.nn.functional.pad(short, (0, 32)), torch.arange(100, 140)[None]])).logits
    assert (alone[0] - beside[0, :8]).abs().max() > 1e-2


@pytest.mark.parametrize("name", ROTARY)
def test_what_a_forward_leaves_behind_is_forgotten(name: str) -> None:
    model, middle = by_length(name), torch.arange(20, 20 + ORIGINAL + 4)[None]
    with torch.inference_mode():
        before = model(middle).logits
        model(torch.arange(20, 80)[None])
        forget_lengths(model)
        assert torch.equal(model(middle).logits, before)


@pytest.mark.parametrize("strategy", ["per_question", "padded", "packed"])
def test_what_an_earlier_call_leaves_behind_is_forgotten(strategy: str) -> None:
    """A forward of just the original length is none that transformers takes frequencies back in."""
    with TransformersEngine(wrap(by_length("dynamic")), ExecutionOptions()) as engine:
        list(engine.score(LONG, strategy))
        found = {o.id: pytest.approx(o.logprobs, abs=1e-4) for o in engine.score([SHORT[1]], strategy)}
    assert found == scored_alone("dynamic", [SHORT[1]])


@pytest.mark.parametrize("strategy", ["per_question", "packed"])
def test_deterministic_scoring_refuses_longer_ones(strategy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evalsuite.engines.transformers.why_not", lambda *_: None)  # as on CUDA
    with TransformersEngine(wrap(by_length("longrope")), ExecutionOptions(deterministic=True)) as engine:
        assert len(list(engine.score(SHORT, strategy))) == len(SHORT)
        with pytest.raises(NotDeterministic, match=f"more than {ORIGINAL} tokens .* of type longrope"):
            next(engine.score([*SHORT, *LONG], strategy))


def test_deterministic_generation_refuses_longer_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evalsuite.engines.transformers.why_not", lambda *_: None)  # as on CUDA
    with TransformersEngine(wrap(by_length("dynamic")), ExecutionOptions(deterministic=True)) as engine:
        assert len(list(engine.generate(SHORT_PROMPTS, "continuous"))) == len(SHORT_PROMPTS)
        with pytest.raises(NotDeterministic, match=f"more than {ORIGINAL} tokens .* of type dynamic"):
            next(engine.generate([*SHORT_PROMPTS, *LONG_PROMPTS], "continuous"))


def test_the_bound_is_the_original_length() -> None:
    phi3 = by_length("longrope").config
    assert too_long(phi3, ORIGINAL) is None
    assert too_long(phi3, ORIGINAL + 1) is not None


@pytest.mark.parametrize("kind", ["default", "linear", "yarn"])
def test_frequencies_that_are_fixed_know_no_bound(kind: str) -> None:
    assert too_long(LlamaConfig(rope_parameters={"rope_type": kind, "rope_theta": 1e4, "factor": 2.0}), 10**9) is None


@pytest.mark.parametrize("config", [Phi3Config(), GPT2Config()], ids=["phi3", "gpt2"])
def test_without_scaling_there_is_no_bound(config: object) -> None:
    assert too_long(config, 10**9) is None
