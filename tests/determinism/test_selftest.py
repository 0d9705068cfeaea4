"""The self-test finds what it looks for: nothing where a request runs by itself, and a planted last bit."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from evalsuite.cli import main
from evalsuite.commands.selftest import run
from evalsuite.config import ExecutionOptions, InferenceConfig
from evalsuite.engines.transformers import TransformersEngine
from evalsuite.errors import ModelLoadError
from evalsuite.loading import LoadedModel
from evalsuite.selftest import companies, compare, draw_prompts, draw_requests, fingerprint, summary_rows
from evalsuite.types import ChoiceScores, EncodedChoices, EncodedPrompt, Generation
from tests.tiny import WINDOW, tiny_loaded, tiny_tokenizer

REQUESTS = draw_requests(40, vocabulary=len(tiny_tokenizer()), seed=0, window=WINDOW - 10)
ASKED = companies([request.id for request in REQUESTS], seed=0, alone=5)


class Alone:
    """Scores each request by itself, under the name of the strategy that is tried out."""

    def __init__(self, engine: TransformersEngine) -> None:
        self._engine = engine

    def score(self, requests: Sequence[EncodedChoices], strategy: str) -> Iterator[ChoiceScores]:
        return self._engine.score(requests, "per_question")

    def generate(self, requests: Sequence[EncodedPrompt], strategy: str) -> Iterator[Generation]:
        return self._engine.generate(requests, "unbatched")


class Company(Alone):
    """The same with a last bit that depends on how many requests there are."""

    def score(self, requests: Sequence[EncodedChoices], strategy: str) -> Iterator[ChoiceScores]:
        for outcome in super().score(requests, strategy):
            shifted = tuple(logprob * (1 + 2.0**-52 * (len(requests) % 2)) for logprob in outcome.logprobs)
            yield ChoiceScores(id=outcome.id, logprobs=shifted)

    def generate(self, requests: Sequence[EncodedPrompt], strategy: str) -> Iterator[Generation]:
        for outcome in super().generate(requests, strategy):
            yield replace(outcome, token_ids=(outcome.token_ids[0] ^ (len(requests) % 2), *outcome.token_ids[1:]))


def test_requests_share_beginnings_and_some_are_twins() -> None:
    contexts = [request.context_ids for request in REQUESTS]
    assert len(set(contexts)) < len(contexts)
    assert len({context[:3] for context in contexts}) < len(set(contexts))
    assert {len(choice) for request in REQUESTS for choice in request.continuation_ids} >= {1, 2}
    assert max(map(len, contexts)) < WINDOW
    assert draw_requests(40, vocabulary=len(tiny_tokenizer()), seed=0, window=WINDOW - 10) == REQUESTS


def test_nothing_differs_where_every_request_runs_by_itself() -> None:
    with TransformersEngine(tiny_loaded("qwen3"), ExecutionOptions()) as engine:
        found = list(compare(Alone(engine), REQUESTS, ASKED))
    assert [comparison.differing for comparison in found] == [()] * len(ASKED)
    assert ("alone", "5", "0", "0") in summary_rows(found)
    assert ("all backwards", "40", "0", "0") in summary_rows(found)


def test_one_bit_that_depends_on_the_company_is_found() -> None:
    with TransformersEngine(tiny_loaded("qwen3"), ExecutionOptions()) as engine:
        found = list(compare(Company(engine), REQUESTS, ASKED))
    differing = {comparison.company.name: len(comparison.differing) for comparison in found}
    assert differing["all again"] == 0
    assert differing["alone"] == 1
    assert differing["a group of 3"] == 3


def test_other_tokens_are_found_and_no_distance_can_be_told() -> None:
    prompts = draw_prompts(12, vocabulary=len(tiny_tokenizer()), seed=0, new_tokens=4, window=WINDOW - 10)
    assert {prompt.max_new_tokens for prompt in prompts} == {1, 2, 3, 4}
    asked = companies([prompt.id for prompt in prompts], seed=0, alone=2)
    with TransformersEngine(tiny_loaded("qwen3"), ExecutionOptions()) as engine:
        assert [found.differing for found in compare(Alone(engine), prompts, asked)] == [()] * len(asked)
        rows = summary_rows(list(compare(Company(engine), prompts, asked)))
    assert ("alone", "2", "2", "inf") in rows


@pytest.mark.parametrize("device", ["cpu", "auto", "cuda"])
@pytest.mark.parametrize("generate", [(), ("--generate", "3")], ids=["questions", "prompts"])
def test_on_a_machine_that_cannot_promise_it_the_command_says_so_and_loads_nothing(
    device: str, generate: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def load(_: InferenceConfig) -> LoadedModel:
        pytest.fail("a model was loaded")

    monkeypatch.setattr("evalsuite.loading.load", load)
    monkeypatch.setattr("evalsuite.capability.device_reason", lambda name: None if name == "cpu" else "none here")
    assert main(["selftest", "--model", "nano", "--device", device, "--requests", "3", *generate]) == 2
    assert capsys.readouterr().err == (
        "evalsuite selftest: deterministic: expected numbers that do not depend on the batch, but kernels of cpu round "
        "by the shape of their input\n"
    )


def test_on_a_device_that_can_promise_it_the_model_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(config: InferenceConfig) -> LoadedModel:
        raise ModelLoadError(f"asked for {config.model} on {config.device}")

    monkeypatch.setattr("evalsuite.loading.load", load)
    monkeypatch.setattr("evalsuite.capability.device_reason", lambda _: None)
    selftest = Namespace(model="nano", dtype="float32", device="cuda:0", generate=None, token_budget=512)
    with pytest.raises(ModelLoadError, match="asked for nano on cuda:0"):
        run(selftest)


def test_any_bit_of_any_request_changes_the_fingerprint() -> None:
    numbers = {"a": (-1.0, -2.0), "b": (-3.0,)}
    others = [
        {"a": (-1.0, -2.0000000000000004), "b": (-3.0,)},
        {"a": (-1.0,), "b": (-2.0, -3.0)},
        {"a": (-1.0, -2.0), "c": (-3.0,)},
        {"a": (-1.0, -2.0)},
    ]
    assert fingerprint(dict(reversed(numbers.items()))) == fingerprint(numbers)
    assert len({fingerprint(each) for each in (numbers, *others)}) == 1 + len(others)
    assert len(fingerprint(numbers)) == 12


class OnAnyDevice(Alone):
    """An engine whose answers are the same bits in any company, as on CUDA."""

    def __init__(self, loaded: LoadedModel, _: ExecutionOptions) -> None:
        super().__init__(TransformersEngine(loaded, ExecutionOptions()))

    def __enter__(self) -> OnAnyDevice:
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.close()


@pytest.mark.parametrize("generate", [(), ("--generate", "3")], ids=["questions", "prompts"])
def test_the_command_holds_digits_to_those_of_another_process(
    generate: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("evalsuite.engines.transformers.TransformersEngine", OnAnyDevice)
    monkeypatch.setattr("evalsuite.commands.selftest.why_not", lambda *_: None)
    monkeypatch.setattr("evalsuite.commands.selftest.MOST_TOKENS", 60)
    asked = ["selftest", "--model=nano", "--dtype=float32", "--device=cpu", "--requests=4", "--alone=1", *generate]
    assert main(asked) == 0
    digits = capsys.readouterr().out.splitlines()[-1].removeprefix("digits over all numbers: ")
    assert main([*asked, "--expect", digits]) == 0
    assert "expected" not in capsys.readouterr().out
    assert main([*asked, "--expect", digits, "--seed=1"]) == 1
    assert f"expected {digits}: other arguments" in capsys.readouterr().out
