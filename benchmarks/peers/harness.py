"""lm-evaluation-harness's HFLM, on the same model in memory."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmarks.peers.questions import Result
from evalsuite.types import EncodedChoices

if TYPE_CHECKING:
    from evalsuite.loading import LoadedModel

BATCH_SIZE = 32
FEW = 16


def score_by_lm_eval(loaded: LoadedModel, questions: Sequence[EncodedChoices]) -> Result:
    """Every choice as a log-likelihood request, as the harness asks them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from lm_eval.models.huggingface import HFLM

        model = HFLM(pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=BATCH_SIZE)
        start = time.perf_counter()
        model._loglikelihood_tokens(_requests(questions[:FEW]), disable_tqdm=True)
        first = time.perf_counter() - start
        start = time.perf_counter()
        scored = model._loglikelihood_tokens(_requests(questions), disable_tqdm=True)
        seconds = time.perf_counter() - start
    logprobs = iter(logprob for logprob, _ in scored)
    predictions = {}
    for question in questions:
        own = [next(logprobs) for _ in question.continuation_ids]
        predictions[question.id] = own.index(max(own))
    return Result(
        peer=f"lm-evaluation-harness, HFLM, batch {BATCH_SIZE}",
        questions=len(questions),
        seconds=seconds,
        first_seconds=first,
        predictions=predictions,
    )


def _requests(questions: Sequence[EncodedChoices]) -> list[tuple[tuple[str, str], list[int], list[int]]]:
    return [
        # The pair of strings is the key of its cache: one that no other request has.
        ((question.id, str(index)), list(question.context_ids), list(continuation))
        for question in questions
        for index, continuation in enumerate(question.continuation_ids)
    ]
