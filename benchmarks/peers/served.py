"""vLLM on the same token ids: asks `vllm_process`, which has the GPU to itself meanwhile."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers.questions import Result
from evalsuite.errors import EvalsuiteError
from evalsuite.types import EncodedChoices, EncodedPrompt

ROOM = 8
"""Positions beyond the longest prompt."""


def score_by_vllm(model: str, load_format: str, sets: Sequence[Sequence[EncodedChoices]]) -> list[Result]:
    """One result a set of questions, all by one engine.

    Raises:
        EvalsuiteError: a choice of several tokens, which cannot be asked as one letter; or vLLM failed.
    """
    answer = _ask(model, load_format, [[_question(question) for question in questions] for questions in sets])
    same_weights = load_format != "dummy"
    return [
        Result(
            peer=f"vLLM {answer['version']}, one request a question, prefix caching",
            questions=len(questions),
            seconds=found["seconds"],
            first_seconds=answer["ready_seconds"],
            predictions=dict(zip((q.id for q in questions), found["labels"], strict=True)) if same_weights else None,
            details={"settings": answer["settings"]},
        )
        for questions, found in zip(sets, answer["sets"], strict=True)
    ]


@dataclass(frozen=True, kw_only=True, slots=True)
class Served:
    """What vLLM took to generate."""

    version: str
    settings: dict[str, Any]
    ready_seconds: float
    seconds: list[float]
    """Of each set of prompts."""


def generate_by_vllm(model: str, load_format: str, sets: Sequence[Sequence[EncodedPrompt]]) -> Served:
    """Every prompt at its full length.

    Raises:
        EvalsuiteError: vLLM failed.
    """
    asked = [
        [{"context": list(prompt.prompt_ids), "new_tokens": prompt.max_new_tokens} for prompt in prompts]
        for prompts in sets
    ]
    answer = _ask(model, load_format, asked)
    return Served(
        version=answer["version"],
        settings=answer["settings"],
        ready_seconds=answer["ready_seconds"],
        seconds=[found["seconds"] for found in answer["sets"]],
    )


def _ask(model: str, load_format: str, sets: Sequence[Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    longest = max(len(asked["context"]) + asked.get("new_tokens", 1) for requests in sets for asked in requests)
    with tempfile.TemporaryDirectory() as folder:
        given, answered = Path(folder) / "in.json", Path(folder) / "out.json"
        settings = {"model": model, "load_format": load_format, "max_model_len": longest + ROOM}
        given.write_text(json.dumps(settings | {"sets": sets}))
        command = [sys.executable, "-m", "benchmarks.peers.vllm_process", str(given), str(answered)]
        if subprocess.run(command, check=False).returncode:
            raise EvalsuiteError("vLLM failed; its own output above says why")
        found: dict[str, Any] = json.loads(answered.read_text())
        return found


def _question(question: EncodedChoices) -> dict[str, Any]:
    if any(len(continuation) != 1 for continuation in question.continuation_ids):
        raise EvalsuiteError(f"{question.id}: vLLM is asked for one token, and a choice has several")
    return {
        "context": list(question.context_ids),
        "letters": [continuation[0] for continuation in question.continuation_ids],
    }
