"""Every scoring strategy gives the reference's log-probabilities, on any batch, for three architectures."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from evalsuite.config import REFERENCE_STRATEGY, SCORING_STRATEGIES, ExecutionOptions
from evalsuite.engines.transformers import TransformersEngine
from evalsuite.errors import ConfigError, RequestError
from evalsuite.faithful import NOISE_FLOOR, compare_choices
from evalsuite.scoring import STRATEGIES
from evalsuite.types import ChoiceRequest, ChoiceScores, EncodedChoices
from tests.tiny import ARCHITECTURES, make_model, tiny_loaded, tiny_tokenizer, wrap

OPTIMISED = [name for name in STRATEGIES if name != REFERENCE_STRATEGY]
SMALL_BATCHES = ExecutionOptions(token_budget=48)

token = st.integers(2, len(tiny_tokenizer()) - 1)
tokens = st.lists(token, min_size=1, max_size=12).map(tuple)
continuations = st.lists(st.lists(token, min_size=1, max_size=3).map(tuple), min_size=2, max_size=10).map(tuple)


@st.composite
def requests(draw: st.DrawFn) -> list[EncodedChoices]:
    """Ragged questions: one-token prompts, equal prefixes, duplicates, two to ten choices of one to three tokens."""
    prefix = draw(st.just(()) | tokens)
    bodies = draw(st.lists(st.tuples(tokens, continuations), min_size=1, max_size=5))
    bodies += draw(st.lists(st.sampled_from(bodies), max_size=2))
    return [
        EncodedChoices(id=str(i), context_ids=prefix + context, continuation_ids=choices)
        for i, (context, choices) in enumerate(bodies)
    ]


def question(number: int, *, length: int) -> EncodedChoices:
    """A context of one repeated token, and two choices of one token."""
    return EncodedChoices(id=str(number), context_ids=(2 + number,) * length, continuation_ids=((9,), (11,)))


def score(
    architecture: str, strategy: str, batch: list[EncodedChoices], options: ExecutionOptions = SMALL_BATCHES
) -> dict[str, ChoiceScores]:
    with TransformersEngine(tiny_loaded(architecture), options) as engine:
        outcomes = list(engine.score(batch, strategy))
    assert len(outcomes) == len(batch)
    return {outcome.id: outcome for outcome in outcomes}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("strategy", OPTIMISED)
@given(batch=requests())
@example(batch=[question(0, length=1), question(1, length=2)])
def test_log_probabilities_are_the_references(architecture: str, strategy: str, batch: list[EncodedChoices]) -> None:
    reference, path = score(architecture, REFERENCE_STRATEGY, batch), score(architecture, strategy, batch)
    assert reference.keys() == path.keys()
    for id_, expected in reference.items():
        assert path[id_].logprobs == pytest.approx(expected.logprobs, abs=1e-4)


@pytest.mark.parametrize("strategy", OPTIMISED)
@given(
    texts=st.lists(st.text(max_size=60), min_size=1, max_size=4),
    choices=st.lists(st.text(min_size=1, max_size=6).filter(str.strip), min_size=2, max_size=4),
)
def test_any_text_and_over_long_ones_agree(strategy: str, texts: list[str], choices: list[str]) -> None:
    asked = [
        ChoiceRequest(id=str(i), context=text * 5 + "?", continuations=tuple(" " + c for c in choices))
        for i, text in enumerate(texts)
    ]
    with TransformersEngine(tiny_loaded("gpt2"), SMALL_BATCHES) as engine:
        encoded = engine.encode_choices(asked)
        reference = {o.id: o.logprobs for o in engine.score(encoded, REFERENCE_STRATEGY)}
        for outcome in engine.score(encoded, strategy):
            assert outcome.logprobs == pytest.approx(reference[outcome.id], abs=1e-4)


@pytest.mark.parametrize("batch_size", [1, 2, 3, None])
def test_batch_size_changes_no_label(batch_size: int | None) -> None:
    batch = [question(n, length=1 + n) for n in range(7)]
    reference = score("qwen3", REFERENCE_STRATEGY, batch)
    path = score("qwen3", "padded", batch, ExecutionOptions(batch_size=batch_size))
    assert {i: s.prediction for i, s in path.items()} == {i: s.prediction for i, s in reference.items()}


def test_counters_are_exact() -> None:
    """Two questions of 3 and 5 context tokens and four one-token choices each."""
    batch = [
        EncodedChoices(id="a", context_ids=(2, 3, 4), continuation_ids=((5,), (6,), (7,), (8,))),
        EncodedChoices(id="b", context_ids=(2, 3, 4, 5, 6), continuation_ids=((5,), (6,), (7,), (8,))),
    ]
    counted = {}
    for strategy in STRATEGIES:
        with TransformersEngine(tiny_loaded("qwen3"), ExecutionOptions()) as engine:
            list(engine.score(batch, strategy))
            c = engine.counters
            counted[strategy] = (c.forward_passes, c.tokens_computed, c.padding_tokens, c.logit_rows)
            assert (c.distinct_tokens, c.attended_pairs) == (5, 15)
    assert counted == {
        "unbatched": (8, 4 * 8, 0, 4 * 8),
        "per_question": (2, 4 * 8, 0, 8),
        "padded": (1, 10, 2, 2),
        "packed": (1, 5, 0, 2),
    }


@pytest.mark.parametrize("strategy", OPTIMISED)
def test_a_model_that_projects_everything_all_the_same_is_read_at_the_right_places(
    strategy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As models do that apply their output embedding by a function, out of a hook's reach."""
    batch = [question(i, length=1 + i) for i in range(4)]
    expected = score("gpt2", REFERENCE_STRATEGY, batch)
    monkeypatch.setattr(type(tiny_loaded("gpt2").model), "get_output_embeddings", lambda self: None)
    got = score("gpt2", strategy, batch)
    for id_, outcome in expected.items():
        assert got[id_].logprobs == pytest.approx(outcome.logprobs, abs=1e-4)


def test_required_flops_follow_the_formula() -> None:
    batch = [EncodedChoices(id="a", context_ids=(2, 3, 4), continuation_ids=((5,), (6,)))]
    with TransformersEngine(tiny_loaded("qwen3"), ExecutionOptions()) as engine:
        list(engine.score(batch, "padded"))
        flops = engine.counters.flops
    model = tiny_loaded("qwen3").model
    vocab, hidden = len(tiny_tokenizer()), 32
    body = sum(p.numel() for p in model.parameters()) - vocab * hidden
    assert flops == 2 * body * 3 + 4 * 4 * 8 * 2 * 6 + 2 * 1 * vocab * hidden


def out_of_memory_above(engine: TransformersEngine, tokens: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Make the model fail like a full device on inputs of more than `tokens`; returns the sizes that were tried."""
    model, tried = engine.loaded.model, []
    real = type(model).forward

    def forward(self, input_ids, **kwargs):  # type: ignore[no-untyped-def]
        tried.append(input_ids.numel())
        if input_ids.numel() > tokens:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return real(self, input_ids=input_ids, **kwargs)

    monkeypatch.setattr(type(model), "forward", forward)
    return tried


def test_out_of_memory_halves_the_batch_says_so_once_and_loses_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    batch = [question(i, length=8) for i in range(16)]
    expected = score("qwen3", "padded", batch, ExecutionOptions(token_budget=64))
    with TransformersEngine(tiny_loaded("qwen3"), ExecutionOptions(token_budget=64)) as engine:
        tried = out_of_memory_above(engine, 20, monkeypatch)
        outcomes = {o.id: o.logprobs for o in engine.score(batch, "padded")}
        fallbacks = engine.fallbacks
    assert outcomes.keys() == expected.keys()
    for id_, logprobs in outcomes.items():
        assert logprobs == pytest.approx(expected[id_].logprobs, abs=1e-5)
    assert [size for size in tried if size > 20] == [64, 32], "a size that failed is not tried again"
    assert [f.what for f in fallbacks] == ["batch"]
    assert "out of memory" in fallbacks[0].reason
    assert len([r for r in caplog.records if "out of memory" in r.message]) == 1


def test_a_single_request_that_does_not_fit_is_an_error_that_names_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    with TransformersEngine(tiny_loaded("llama"), ExecutionOptions()) as engine:
        out_of_memory_above(engine, 4, monkeypatch)
        with pytest.raises(RequestError, match="single request of 8 tokens"):
            list(engine.score([question(0, length=8)], "padded"))


def test_another_error_is_not_taken_for_a_full_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    with TransformersEngine(tiny_loaded("qwen3"), ExecutionOptions()) as engine:
        monkeypatch.setattr(type(engine.loaded.model), "forward", lambda self, **_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            list(engine.score([question(0, length=1)], "padded"))


def test_a_compiled_forward_that_fails_is_replaced_by_the_eager_one_and_recorded() -> None:
    def broken_backend(graph: object, inputs: object) -> object:
        raise RuntimeError("no compiler here")

    loaded = wrap(make_model("qwen3"))
    loaded.model.forward = torch.compile(loaded.model.forward, backend=broken_backend)
    loaded.report = replace(loaded.report, got={**loaded.report.got, "torch_compile": "on"})
    batch = [question(i, length=4) for i in range(3)]
    with TransformersEngine(loaded, ExecutionOptions()) as engine:
        outcomes = {o.id: o.logprobs for o in engine.score(batch, "padded")}
    assert outcomes.keys() == {"0", "1", "2"}
    assert loaded.report.got["torch_compile"] == "off"
    assert "no compiler here" in loaded.report.fallbacks[-1].reason


def test_outcomes_stream_before_the_last_batch_runs() -> None:
    batch = [question(i, length=8) for i in range(8)]
    with TransformersEngine(tiny_loaded("qwen3"), ExecutionOptions(token_budget=16)) as engine:
        next(engine.score(batch, "padded"))
        assert engine.counters.forward_passes == 1


def test_closing_the_engine_takes_its_hooks_off_the_model() -> None:
    loaded = tiny_loaded("qwen3")
    before = len(loaded.model._forward_hooks)
    with TransformersEngine(loaded, ExecutionOptions()):
        assert len(loaded.model._forward_hooks) == before + 1
    assert len(loaded.model._forward_hooks) == before
    assert not loaded.model.get_output_embeddings()._forward_pre_hooks


def test_the_names_that_cases_are_listed_by_are_the_strategies_there_are() -> None:
    assert tuple(STRATEGIES) == SCORING_STRATEGIES


def test_an_unknown_strategy_is_refused_with_the_known_ones() -> None:
    engine = TransformersEngine(tiny_loaded("qwen3"), ExecutionOptions())
    with engine, pytest.raises(ConfigError, match="unbatched, per_question, padded"):
        list(engine.score([], "fastest"))


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("strategy", OPTIMISED)
def test_the_tokenizers_padding_side_has_no_say(strategy: str, side: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [
        ChoiceRequest(id=str(i), context="river " * (1 + 3 * i) + "?", continuations=(" A", " B")) for i in range(4)
    ]
    monkeypatch.setattr(tiny_tokenizer(), "padding_side", side)
    with TransformersEngine(tiny_loaded("gpt2"), ExecutionOptions()) as engine:
        encoded = engine.encode_choices(asked)
        reference = {o.id: o.logprobs for o in engine.score(encoded, REFERENCE_STRATEGY)}
        for outcome in engine.score(encoded, strategy):
            assert outcome.logprobs == pytest.approx(reference[outcome.id], abs=1e-4)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("strategy", OPTIMISED)
def test_in_bf16_every_strategy_is_faithful_within_the_references_own_noise(architecture: str, strategy: str) -> None:
    batch = [question(i, length=1 + i) for i in range(40)]
    fp32 = score(architecture, REFERENCE_STRATEGY, batch)
    with TransformersEngine(tiny_loaded(architecture, dtype=torch.bfloat16), SMALL_BATCHES) as engine:
        reference = {o.id: o for o in engine.score(batch, REFERENCE_STRATEGY)}
        path = {o.id: o for o in engine.score(batch, strategy)}
    verdict = compare_choices(reference=reference, path=path, reference_fp32=fp32)
    assert verdict.faithful, verdict.summary()
    assert verdict.noise > NOISE_FLOOR
