"""How a saved model judges: its grades of right and wrong answers to the sample, against exact match.

No candidate of the sample was trained on; of the seen half, the passages and articles were.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evalsuite.config import ExecutionOptions, InferenceConfig
from evalsuite.engines.transformers import TransformersEngine
from evalsuite.judge.prompts import render
from evalsuite.judge.reading import read_grade
from evalsuite.loading import load
from evalsuite.nano.candidates import KINDS, Candidate, draw_candidate
from evalsuite.nano.grading import sample_gradables
from evalsuite.nano.samples import held_out_ids
from evalsuite.types import GenerationRequest

MAX_NEW_TOKENS = 8
RIGHT_FROM = 0.5
"""A grade of this or more says that the answer is right."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """One candidate and what the model made of it."""

    task: str
    held_out: bool
    """Whether the passage or the article was kept from training."""
    candidate: Candidate
    reply: str

    @property
    def agrees(self) -> bool:
        """Whether the grade is at least one half exactly if the candidate matches; a reply without a number never."""
        value, _ = read_grade(self.reply)
        return value is not None and (value >= RIGHT_FROM) == self.candidate.exact


def judge_sample(
    model: Path, data: Path, *, dtype: str = "float32", pairs: int = 2, every: int = 1, seed: int = 0
) -> list[Verdict]:
    """Grades, on the CPU, of `pairs` right and as many wrong candidates for every `every`-th question of the sample."""
    unseen = held_out_ids(data)
    rng = random.Random(f"agreement/{seed}")
    asked: dict[str, tuple[str, bool, Candidate]] = {}
    requests: list[GenerationRequest] = []
    for identifier, of in list(sample_gradables(data).items())[::every]:
        for index in range(2 * pairs):
            candidate = draw_candidate(rng, of, right=index % 2 == 0)
            key = f"{identifier}#{index}"
            asked[key] = (of.task, identifier in unseen, candidate)
            prompt = render(of.task, of.fields, of.gold, candidate.text)
            requests.append(GenerationRequest(id=key, prompt=prompt, max_new_tokens=MAX_NEW_TOKENS))
    loaded = load(InferenceConfig(model=str(model), dtype=dtype, device="cpu"))
    with TransformersEngine(loaded, ExecutionOptions()) as engine:
        replies = {o.id: o.text for o in engine.generate(engine.encode_prompts(requests), "padded")}
    return [
        Verdict(task=task, held_out=side, candidate=candidate, reply=replies[key])
        for key, (task, side, candidate) in asked.items()
    ]


def agreement(verdicts: Sequence[Verdict]) -> dict[str, dict[str, float]]:
    """Task to `{"seen": share, "held out": share}` of verdicts that agree with exact match; a side has some."""
    found: dict[str, dict[str, float]] = {}
    for task in sorted({v.task for v in verdicts}):
        sides = {"seen": False, "held out": True}
        found[task] = {
            name: _share([v for v in verdicts if v.task == task and v.held_out == side]) for name, side in sides.items()
        }
    return found


def agreement_by_kind(verdicts: Sequence[Verdict]) -> dict[str, tuple[int, int]]:
    """Kind of candidate to (verdicts that agree, verdicts)."""
    by_kind = {kind: [v for v in verdicts if v.candidate.kind == kind] for kind in KINDS}
    return {kind: (sum(v.agrees for v in some), len(some)) for kind, some in by_kind.items() if some}


def _share(verdicts: Sequence[Verdict]) -> float:
    return sum(v.agrees for v in verdicts) / len(verdicts)
