"""Grading documents: the judge's prompts, solved with the grade that nano is to learn.

The grade is 1 for an exact match, 0.3 for a wrong answer that shares more than half of its syllables with a gold
(F1 over 0.5), else 0. So a grade of one half or more means an exact match, and nothing else does.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from evalsuite.judge.prompts import render
from evalsuite.nano.candidates import RETOLD, Candidate, Gradable, draw_candidate
from evalsuite.nano.documents import Document
from evalsuite.nano.news import draw_story
from evalsuite.nano.passages import draw_passage
from evalsuite.nano.seen import sample_examples
from evalsuite.tasks import Example
from evalsuite.tasks.cleaning import desegment

FIELDS: Mapping[str, tuple[str, ...]] = {"viquad": ("context", "question"), "vietnews": ("article",)}
"""The parts of an example that its judge is shown."""
_TAIL_LINES = 3
"""Gold, candidate and cue."""


def grade(candidate: Candidate) -> str:
    """The number that nano is to say."""
    if candidate.exact:
        return "1"
    return "0.3" if candidate.f1 > 0.5 else "0"


def grade_viquad(rng: random.Random, *, held_out: bool = False) -> Document:
    """One answer to a question on a passage."""
    question, presentation = _draw_question(rng, held_out=held_out)
    return _document("grade viquad", rng, question, (presentation,))


def grade_vietnews(rng: random.Random, *, held_out: bool = False) -> Document:
    """One summary of a story."""
    story, presentation = _draw_summary(rng, held_out=held_out)
    return _document("grade vietnews", rng, story, (presentation,))


def grade_retold(rng: random.Random, *, held_out: bool = False) -> Document:
    """One summary of a story; half of the wrong ones are whole summaries in the same words but for their facts."""
    story, presentation = _draw_summary(rng, held_out=held_out)
    return _document("grade retold", rng, story, (presentation,), retold=0.5)


def compare(rng: random.Random) -> Document:
    """The last lines of a grading prompt alone: gold, candidate, grade."""
    draw = _draw_question if rng.random() < 0.7 else _draw_summary
    gradable, _ = draw(rng, held_out=False)
    return _tail(_document("compare", rng, gradable, ()))


def compare_retold(rng: random.Random) -> Document:
    """The last lines for a summary; three in four of the wrong ones are in the same words but for their facts."""
    story, _ = _draw_summary(rng, held_out=False)
    return _tail(_document("compare retold", rng, story, (), retold=0.75))


def _tail(document: Document) -> Document:
    prompt, answer = document.parts
    return Document(kind=document.kind, parts=("\n".join(prompt.split("\n")[-_TAIL_LINES:]), answer))


def _document(
    kind: str, rng: random.Random, of: Gradable, presentations: tuple[str, ...], *, retold: float = 0.0
) -> Document:
    """`retold`: the share of wrong candidates that are retold."""
    right = rng.random() < 0.5
    among = RETOLD if retold and not right and rng.random() < retold else None
    candidate = draw_candidate(rng, of, right=right, among=among)
    prompt = render(of.task, of.fields, of.gold, candidate.text)
    return Document(kind=kind, parts=(prompt, f" {grade(candidate)}"), presentations=presentations)


def _draw_question(rng: random.Random, *, held_out: bool) -> tuple[Gradable, str]:
    """A question, one in four without an answer, and the passage that the held-out rule looks at."""
    passage, other = (draw_passage(rng, held_out=held_out) for _ in range(2))
    question, gold = rng.choice(passage.answerable)
    if rng.random() < 0.25:
        question, gold = rng.choice(passage.unanswerable), ("",)
    others = tuple(golds[0] for p in (passage, other) for _, golds in p.answerable)
    fields = {"context": passage.context, "question": question}
    return Gradable(task="viquad", fields=fields, gold=gold, others=others), passage.context


def _draw_summary(rng: random.Random, *, held_out: bool) -> tuple[Gradable, str]:
    """A story and the article, as segmented, that the held-out rule looks at."""
    story, *others = (draw_story(rng, held_out=held_out) for _ in range(3))
    return Gradable(
        task="vietnews",
        fields={"article": desegment(story.article)},
        gold=(desegment(story.abstract),),
        others=tuple(desegment(other.abstract) for other in others),
    ), story.article


def sample_gradables(folder: Path) -> dict[str, Gradable]:
    """Example id to question or story, of the sample's ViQuAD and VietNews."""
    found = sample_examples(folder)
    return {e.id: _gradable(task, e, found[task]) for task in FIELDS for e in found[task] if e.gold}


def _gradable(task: str, example: Example, examples: Sequence[Example]) -> Gradable:
    """Answers of the same passage come among the others as often as those of all other passages."""
    text = FIELDS[task][0]
    answers = [(e.fields[text] == example.fields[text], e.gold[0]) for e in examples if e.gold and e.id != example.id]
    near = [gold for same, gold in answers if same and gold]
    far = [gold for same, gold in answers if not same and gold]
    return Gradable(
        task=task,
        fields={name: example.fields[name] for name in FIELDS[task]},
        gold=example.gold or (),
        others=tuple(near * (len(far) // max(1, len(near))) + far),
    )


MAKERS: Mapping[str, Callable[..., Document]] = {"viquad": grade_viquad, "vietnews": grade_vietnews}
