"""Models whose layers keep a state are batched in generation where padding leaves it alone, and only there."""

from __future__ import annotations

import pytest
from transformers import CONFIG_MAPPING

from evalsuite.apart import PASS_OVER_PADDING
from evalsuite.attention.interface import refusal
from evalsuite.config import ExecutionOptions
from evalsuite.engines.transformers import TransformersEngine
from evalsuite.types import EncodedPrompt, Fallback
from tests.apart.models import STATES, with_state
from tests.tiny import make_model, wrap

RAGGED = [
    EncodedPrompt(id=str(i), prompt_ids=tuple(range(5 + 2 * i, 7 + 5 * i)), max_new_tokens=1 + 2 * i) for i in range(4)
]
"""Of unlike lengths, and the rows end at different steps."""

known = [name for name in STATES if name in CONFIG_MAPPING]


def generate(model: object, strategy: str, **options: bool) -> tuple[dict[str, object], list[Fallback], int]:
    """Answers by id, what was stepped down from, and how many forwards there were."""
    with TransformersEngine(wrap(model), ExecutionOptions(**options)) as engine:
        found = {o.id: (o.token_ids, pytest.approx(o.logprobs, abs=1e-4)) for o in engine.generate(RAGGED, strategy)}
        return found, engine.fallbacks, engine.counters.forward_passes


def reference(model: object, **options: bool) -> dict[str, object]:
    """With and without a cache transformers itself may differ by more than rounding: Zamba 2 by 2e-3 nats."""
    with TransformersEngine(wrap(model), ExecutionOptions(**options)) as engine:
        return {o.id: (o.token_ids, o.logprobs) for o in engine.generate(RAGGED, "unbatched")}


@pytest.mark.parametrize("name", [name for name in known if name in PASS_OVER_PADDING])
def test_rows_that_end_leave_a_batch_of_states(name: str) -> None:
    model = with_state(name)
    found, fallbacks, forwards = generate(model, "continuous")
    assert found == reference(model)
    assert [(f.asked, f.got) for f in fallbacks] == [("continuous", "padded")]
    assert forwards == max(request.max_new_tokens for request in RAGGED)
    found, fallbacks, _ = generate(model, "padded", kv_cache=False)
    assert found == reference(model, kv_cache=False)
    assert not fallbacks


@pytest.mark.parametrize("strategy", ["padded", "continuous"])
@pytest.mark.parametrize("name", [name for name in known if name not in PASS_OVER_PADDING])
def test_states_that_padding_may_change_are_answered_alone(name: str, strategy: str) -> None:
    model = with_state(name)
    found, fallbacks, _ = generate(model, strategy)
    assert found == reference(model)
    assert [(f.what, f.asked, f.got) for f in fallbacks] == [("strategy", strategy, "unbatched")]
    assert "layers of linear_attention in" in fallbacks[0].reason


def test_every_model_type_that_is_batched_is_tried() -> None:
    assert STATES.keys() >= PASS_OVER_PADDING


@pytest.mark.parametrize("name", known)
def test_no_model_with_a_state_runs_on_a_tree(name: str) -> None:
    assert refusal(with_state(name)) is not None


def test_a_state_that_no_layer_type_tells_of_is_answered_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model("llama")
    monkeypatch.setattr(type(model), "_is_stateful", True)
    found, fallbacks, _ = generate(model, "continuous")
    assert found == reference(model)
    assert [(f.asked, f.got) for f in fallbacks] == [("continuous", "unbatched")]
    assert fallbacks[0].reason.startswith("LlamaForCausalLM keeps a state beside keys and values; the state that")


def test_a_row_that_is_done_stays_within_the_window() -> None:
    """GPT-2 has no position after its last: a row that waits for others must not be fed there."""
    ends = EncodedPrompt(id="ends", prompt_ids=tuple(range(2, 92)), max_new_tokens=1)
    others = [EncodedPrompt(id=str(i), prompt_ids=(5, 6 + i), max_new_tokens=12) for i in range(5)]
    found = {}
    for strategy in ("unbatched", "padded"):
        with TransformersEngine(wrap(make_model("gpt2")), ExecutionOptions()) as engine:
            found[strategy] = {o.id: o.token_ids for o in engine.generate([ends, *others], strategy)}
    assert found["padded"] == found["unbatched"]
