"""An independent oracle: lm-evaluation-harness on the same in-memory model gives the same log-probabilities."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from evalsuite.config import ExecutionOptions
from evalsuite.engines.transformers import TransformersEngine
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
    loaded = tiny_loaded(architecture)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        oracle = hflm(pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=4)
    pairs = [oracle._encode_pair(r.context, c) for r in REQUESTS for c in r.continuations]
    expected = iter(
        logprob
        for logprob, _ in oracle._loglikelihood_tokens(
            [(("", ""), context, continuation) for context, continuation in pairs], disable_tqdm=True
        )
    )
    by_request = {r.id: [next(expected) for _ in r.continuations] for r in REQUESTS}
    for strategy in STRATEGIES:
        with TransformersEngine(loaded, ExecutionOptions(token_budget=256)) as engine:
            outcomes = list(engine.score(engine.encode_choices(REQUESTS), strategy))
        assert len(outcomes) == len(REQUESTS)
        for outcome in outcomes:
            assert outcome.logprobs == pytest.approx(by_request[outcome.id], abs=1e-4), (strategy, outcome.id)
