"""`deterministic` is a promise: what cannot keep it is refused with the reason, never run all the same."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from transformers import MixtralConfig

from evalsuite.config import ExecutionOptions
from evalsuite.determinism import NotDeterministic, has_experts, why_not
from evalsuite.engines.transformers import TransformersEngine
from evalsuite.planning.rows import shared_rows
from evalsuite.scoring._packing import PackForward, Plan
from evalsuite.types import EncodedChoices, EncodedPrompt
from tests.tiny import make_model, tiny_loaded, wrap

DETERMINISTIC = ExecutionOptions(deterministic=True)
QUESTIONS = [EncodedChoices(id=str(i), context_ids=(2, 3, 4 + i), continuation_ids=((9,), (11,))) for i in range(3)]


@pytest.mark.parametrize("strategy", ["unbatched", "per_question"])
def test_what_runs_a_request_by_itself_is_deterministic_anywhere(strategy: str) -> None:
    with TransformersEngine(tiny_loaded("qwen3"), DETERMINISTIC) as engine:
        together = {o.id: o.logprobs for o in engine.score(QUESTIONS, strategy)}
        alone = {o.id: o.logprobs for question in QUESTIONS for o in engine.score([question], strategy)}
    assert together == alone


@pytest.mark.parametrize(
    ("strategy", "reason"), [("padded", "depends on the others"), ("packed", "kernels of cpu round by the shape")]
)
def test_what_cannot_promise_it_is_refused(strategy: str, reason: str) -> None:
    with TransformersEngine(tiny_loaded("qwen3"), DETERMINISTIC) as engine:
        with pytest.raises(NotDeterministic, match=reason):
            list(engine.score(QUESTIONS, strategy))
        assert engine.counters.forward_passes == 0


def test_padded_generation_is_refused() -> None:
    prompt = EncodedPrompt(id="0", prompt_ids=(2, 3), max_new_tokens=2)
    with TransformersEngine(tiny_loaded("qwen3"), DETERMINISTIC) as engine, pytest.raises(NotDeterministic):
        list(engine.generate([prompt], "padded"))


def test_packed_is_deterministic_on_cuda() -> None:
    assert why_not("packed", "cuda:1") is None


def test_a_pack_is_not_made_smaller_behind_the_promises_back() -> None:
    rows = [(n, row) for n, question in enumerate(QUESTIONS) for row in shared_rows(question)]
    plan = Plan(rows, token_budget=64, max_sites=None, resizable=False)
    with pytest.raises(NotDeterministic, match="does not fit into memory; use a smaller --token-budget"):
        plan.smaller(next(iter(plan)))


def test_a_model_that_cannot_run_on_a_tree_is_not_padded_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(tiny_loaded("llama").model), "_supports_attention_backend", False)
    monkeypatch.setattr("evalsuite.engines.transformers.why_not", lambda *_: None)  # as on CUDA
    with (
        TransformersEngine(tiny_loaded("llama"), DETERMINISTIC) as engine,
        pytest.raises(NotDeterministic, match="Llama"),
    ):
        list(engine.score(QUESTIONS, "packed"))


def test_layers_that_fail_to_compile_do_not_run_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(deterministic: bool) -> PackForward:
        loaded = wrap(make_model("qwen3"))
        with TransformersEngine(loaded, ExecutionOptions(deterministic=deterministic)) as engine:
            packs = PackForward(engine._runner)
        monkeypatch.setattr(packs, "_fused_layers", True)
        return packs

    with pytest.raises(NotDeterministic, match="the compiled layers failed: no compiler"):
        forward(True).drop_compiled("no compiler")
    assert forward(False).drop_compiled("no compiler")


def test_a_compiled_forward_that_fails_is_not_replaced_by_the_plain_one() -> None:
    def broken_backend(graph: object, inputs: object) -> object:
        raise RuntimeError("no compiler here")

    loaded = wrap(make_model("qwen3"))
    loaded.model.forward = torch.compile(loaded.model.forward, backend=broken_backend)
    loaded.report = replace(loaded.report, got={**loaded.report.got, "torch_compile": "on"})
    failed = pytest.raises(NotDeterministic, match=r"the compiled forward failed: .*no compiler here")
    with TransformersEngine(loaded, DETERMINISTIC) as engine, failed:
        list(engine.score(QUESTIONS, "per_question"))


def test_a_mixture_of_experts_is_promised_nothing() -> None:
    assert has_experts(MixtralConfig(num_local_experts=2))
    assert not has_experts(tiny_loaded("qwen3").model.config)
