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
from evalsuite.nano.candidates import KINDS, RETOLD, Candidate, Gradable, assess, draw_candidate
from evalsuite.nano.grading import sample_gradables
from evalsuite.nano.samples import held_out_ids
from evalsuite.types import GenerationRequest

MAX_NEW_TOKENS = 8
RIGHT_FROM = 0.5
"""A grade of this or more says that the answer is right."""
SHIFTS = (1, 2, 3, 5, 8, 13)
"""How many places later the stories come whose summaries are offered as another story's."""


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
    rng = random.Random(f"agreement/{seed}")
    asked = [
        (identifier, of, draw_candidate(rng, of, right=index % 2 == 0))
        for identifier, of in list(sample_gradables(data).items())[::every]
        for index in range(2 * pairs)
    ]
    return _judge(model, data, dtype, asked)


def judge_summaries(
    model: Path, data: Path, *, dtype: str = "float32", shifts: Sequence[int] = SHIFTS, seed: int = 0
) -> list[Verdict]:
    """Grades, on the CPU, of summaries that read alike but for their facts, for every story of the sample.

    Its gold; the golds of the stories that come `shifts` places later, of kind `other story`; and the gold with some
    and with one of its details drawn afresh.
    """
    rng = random.Random(f"summaries/{seed}")
    stories = [(i, of) for i, of in sample_gradables(data).items() if of.task == "vietnews"]
    asked: list[tuple[str, Gradable, Candidate]] = []
    for index, (identifier, of) in enumerate(stories):
        later = (stories[(index + shift) % len(stories)][1].gold[0] for shift in shifts)
        told = [assess("gold", of.gold[0], of), *(assess("other story", gold, of) for gold in later)]
        told += [draw_candidate(rng, of, right=False, among=(kind,)) for kind in RETOLD[1:]]
        asked += [(identifier, of, candidate) for candidate in told]
    return _judge(model, data, dtype, asked)


def _judge(model: Path, data: Path, dtype: str, asked: Sequence[tuple[str, Gradable, Candidate]]) -> list[Verdict]:
    """The model's replies, in the order of `asked`: example id, question or story, candidate."""
    unseen = held_out_ids(data)
    requests = [
        GenerationRequest(
            id=f"{identifier}#{index}",
            prompt=render(of.task, of.fields, of.gold, candidate.text),
            max_new_tokens=MAX_NEW_TOKENS,
        )
        for index, (identifier, of, candidate) in enumerate(asked)
    ]
    loaded = load(InferenceConfig(model=str(model), dtype=dtype, device="cpu"))
    with TransformersEngine(loaded, ExecutionOptions()) as engine:
        replies = {o.id: o.text for o in engine.generate(engine.encode_prompts(requests), "continuous")}
    return [
        Verdict(task=of.task, held_out=identifier in unseen, candidate=candidate, reply=replies[request.id])
        for request, (identifier, of, candidate) in zip(requests, asked, strict=True)
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
