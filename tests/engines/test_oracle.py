"""An independent oracle: lm-evaluation-harness on the same in-memory model gives the same log-probabilities."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from evalsuite import encoding
from evalsuite.config import ExecutionOptions
from evalsuite.engines.transformers import TransformersEngine
from evalsuite.loading import LoadedModel
from evalsuite.scoring import STRATEGIES
from evalsuite.types import ChoiceRequest
from tests.tiny import ARCHITECTURES, tiny_loaded

REQUESTS = [
    ChoiceRequest(
        id=str(i),
        context="The following are multiple choice questions (with answers) about rivers.\n\n" * (i % 2)
        + question
        + "\nA. x\nB. y\nAnswer:",
        continuations=continuations,
    )
    for i, (question, continuations) in enumerate(
        [
            ("Which river is the longest?", (" A", " B", " C", " D")),
            ("Thủ đô của Việt Nam?", (" Hà Nội", " Huế", " Đà Nẵng")),
            ("?", (" A", " the river of many tokens")),
            ("rivers " * 60, (" A", " B")),  # longer than the model's window
        ]
    )
]


@pytest.fixture(scope="module")
def hflm() -> Any:
    return pytest.importorskip("lm_eval.models.huggingface", reason="the oracle needs lm_eval (evalsuite[dev])").HFLM


@pytest.mark.filterwarnings("ignore")  # the harness's own deprecations are not ours
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_log_probabilities_agree_with_lm_evaluation_harness(hflm: Any, architecture: str) -> None:
    expected = by_the_harness(hflm, tiny_loaded(architecture))
    for strategy in STRATEGIES:
        assert by_us(architecture, strategy) == {id_: pytest.approx(lps, abs=1e-4) for id_, lps in expected.items()}


@pytest.mark.filterwarnings("ignore")
def test_a_choice_scored_without_its_space_goes_red(hflm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault that reference and path share, since both score one encoding: only an oracle can see it."""
    expected = by_the_harness(hflm, tiny_loaded("qwen3"))
    real = encoding._move_trailing_space

    def stripped(request: ChoiceRequest) -> tuple[str, tuple[str, ...]]:
        context, continuations = real(request)
        return context, tuple(continuation.strip() for continuation in continuations)

    monkeypatch.setattr(encoding, "_move_trailing_space", stripped)
    got = by_us("qwen3", "padded")
    assert all(got[id_] != pytest.approx(logprobs, abs=1e-2) for id_, logprobs in expected.items())


def by_the_harness(hflm: Any, loaded: LoadedModel) -> dict[str, list[float]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        oracle = hflm(pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=4)
    pairs = [oracle._encode_pair(r.context, c) for r in REQUESTS for c in r.continuations]
    scored = oracle._loglikelihood_tokens([(("", ""), *pair) for pair in pairs], disable_tqdm=True)
    logprobs = iter([logprob for logprob, _ in scored])
    return {r.id: [next(logprobs) for _ in r.continuations] for r in REQUESTS}


def by_us(architecture: str, strategy: str) -> dict[str, list[float]]:
    with TransformersEngine(tiny_loaded(architecture), ExecutionOptions(token_budget=256)) as engine:
        return {o.id: list(o.logprobs) for o in engine.score(engine.encode_choices(REQUESTS), strategy)}
