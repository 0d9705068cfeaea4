"""Documents: solved prompts of the five tasks, and simpler exercises that lead up to them.

Prompts are rendered by the tasks themselves, so that what is trained on is what is asked.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evalsuite.nano.facts import TOPICS
from evalsuite.nano.news import draw_story
from evalsuite.nano.passages import Passage, draw_passage
from evalsuite.nano.questions import LETTERS, Question, draw_question, draw_stem
from evalsuite.tasks import mmlu as mmlu_task
from evalsuite.tasks import vietnews as vietnews_task
from evalsuite.tasks import viquad as viquad_task
from evalsuite.tasks import vmlu as vmlu_task
from evalsuite.tasks import vnhsge as vnhsge_task
from evalsuite.tasks.cleaning import desegment
from evalsuite.tasks.prompting import SHOT_DELIMITER, TARGET_DELIMITER

MMLU_TOPICS: Mapping[str, tuple[str, ...]] = {
    "elementary_mathematics": ("en.sums", "en.products", "en.differences"),
    "high_school_biology": ("en.young", "en.animals", "en.legs"),
    "high_school_chemistry": ("en.symbols", "en.atomic_numbers"),
    "high_school_geography": ("en.capitals", "en.continents", "en.currencies"),
    "miscellaneous": ("en.opposites", "en.authors", "en.next", "en.past"),
}
VMLU_TOPICS: Mapping[str, tuple[str, ...]] = {
    "01": ("vi.sums", "vi.products"),
    "02": ("vi.animals",),
    "08": ("vi.symbols", "vi.atomic_numbers"),
    "25": ("vi.capitals", "vi.continents", "vi.places"),
    "35": ("vi.events", "vi.people"),
    "49": ("vi.opposites",),
    "71": ("vi.translations",),
}
"""By id prefix. 71 is on no list of subjects, as an unknown prefix of the release would be."""
VNHSGE_TOPICS: Mapping[str, tuple[str, ...]] = {
    "English": ("en.past", "en.plurals", "en.synonyms", "en.prepositions", "en.opposites"),
    "Geography": ("vi.capitals", "vi.continents", "vi.places"),
    "History": ("vi.events", "vi.people"),
}
ALL_TOPICS = tuple(TOPICS)
ANSWERS = tuple(dict.fromkeys(answer for topic in TOPICS.values() for answer in topic.answers))
_VIETNAMESE = tuple(topic for topics in VMLU_TOPICS.values() for topic in topics)
_DIRECTIVES = (
    "Mark the letter A, B, C, or D on your answer sheet to indicate the correct answer to the following question.\n",
    "Mark the letter A, B, C, or D to indicate the correct answer.\n\n",
    "",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """What the model reads in training; the answers are what counts."""

    kind: str
    parts: tuple[str, ...]
    """Prompt, answer, prompt, answer, ... in turn; an answer carries its leading space. A last prompt without an
    answer is how the text goes on after the answer."""
    presentations: tuple[str, ...] = ()
    """What the held-out rule looks at."""


def solved(kind: str, description: str, shots: Sequence[tuple[str, str]], presentations: Sequence[str]) -> Document:
    """Bodies and answers one after the other, as a few-shot prompt shows them."""
    parts: list[str] = []
    for index, (body, answer) in enumerate(shots):
        parts += [(SHOT_DELIMITER if index else description) + body, TARGET_DELIMITER + answer]
    if kind == "viquad":
        parts.append("\n")  # ended by the stop string; the other tasks end by the end-of-text token
    return Document(kind=kind, parts=tuple(parts), presentations=tuple(presentations))


def mmlu(rng: random.Random, shots: int = 0, *, held_out: bool = False) -> Document:
    subject = rng.choice(tuple(MMLU_TOPICS))
    topics = MMLU_TOPICS[subject] if rng.random() < 0.85 else ALL_TOPICS
    questions = [
        draw_question(rng, topics, held_out=held_out, repeat_one=rng.random() < 0.03) for _ in range(shots + 1)
    ]
    pairs = [(_odd_blank(rng, mmlu_task.render_body(q.stem, q.choices)), q.letter) for q in questions]
    return solved("mmlu", mmlu_task.describe(subject), pairs, [q.presentation for q in questions])


def vmlu(rng: random.Random, shots: int = 0, *, held_out: bool = False) -> Document:
    prefix = rng.choice((*VMLU_TOPICS, *vmlu_task.SUBJECTS)) if rng.random() < 0.2 else rng.choice(tuple(VMLU_TOPICS))
    topics = VMLU_TOPICS.get(prefix, _VIETNAMESE) if rng.random() < 0.9 else _VIETNAMESE
    questions = [
        draw_question(rng, topics, held_out=held_out, choices=rng.choices((2, 3, 4, 5), (1, 2, 12, 3))[0])
        for _ in range(shots + 1)
    ]
    pairs = [(vmlu_task.render_body(q.stem, q.lettered), q.letter) for q in questions]
    return solved("vmlu", vmlu_task.describe(prefix), pairs, [q.presentation for q in questions])


def vnhsge(rng: random.Random, shots: int = 0, *, held_out: bool = False) -> Document:
    subject = rng.choice(tuple(VNHSGE_TOPICS))
    questions = [draw_question(rng, VNHSGE_TOPICS[subject], held_out=held_out) for _ in range(shots + 1)]
    pairs = []
    for question in questions:
        odd = rng.choice(tuple(LAYOUTS)) if rng.random() < 0.1 else "plain"
        pairs.append((vnhsge_task.render_body(exam_text(rng, subject, question, odd)), question.letter))
    return solved("vnhsge", vnhsge_task.describe(subject), pairs, [q.presentation for q in questions])


LAYOUTS: Mapping[str, str] = {
    "plain": "\n",
    "one line": "   ",
    "tabs": "\t",
    "tab and line": "\t\n",
    "no-break space": "\u00a0\n",
    "out of order": "\n",
}
"""How an exam sets its choices: what stands between them."""


def exam_text(rng: random.Random, subject: str, question: Question, layout: str, number: int | None = None) -> str:
    """A question with its choices inside, as an exam prints it."""
    number = number or rng.randint(1, 50)
    head = f"{rng.choice(_DIRECTIVES)}Question {number}: " if subject == "English" else f"Câu {number}: "
    lines = list(question.lettered)
    if layout == "out of order":
        rng.shuffle(lines)
    return f"{head}{question.stem}\n" + LAYOUTS[layout].join(lines)


def viquad(rng: random.Random, shots: int = 0, *, held_out: bool = False) -> Document:
    passages = [draw_passage(rng, held_out=held_out) for _ in range(shots + 1)]
    pairs = []
    for passage in passages:
        question, answer = _passage_question(rng, passage)
        pairs.append((viquad_task.render_body(passage.context, question), answer))
    return solved("viquad", viquad_task.DESCRIPTION, pairs, [p.context for p in passages])


def _passage_question(rng: random.Random, passage: Passage) -> tuple[str, str]:
    """A question and what to say: one in four cannot be answered."""
    if rng.random() < 0.25:
        return rng.choice(passage.unanswerable), viquad_task.NO_ANSWER
    question, golds = rng.choice(passage.answerable)
    return question, golds[0]


def vietnews(rng: random.Random, shots: int = 0, *, held_out: bool = False) -> Document:
    stories = [draw_story(rng, held_out=held_out) for _ in range(shots + 1)]
    pairs = [(vietnews_task.render_body(desegment(s.article)), desegment(s.abstract)) for s in stories]
    return solved("vietnews", vietnews_task.DESCRIPTION, pairs, [s.article for s in stories])


def lookup(rng: random.Random, shots: int = 0, *, choices: int | None = None) -> Document:
    """Letters alone: the question says the answer."""
    pairs = []
    for _ in range(shots + 1):
        shown = rng.sample(ANSWERS, choices or rng.choice((2, 3, 4, 4, 4, 5)))
        answer = rng.randrange(len(shown))
        asked = rng.choice(("{w}", "Which one is {w}?", "Find {w}.", "Đâu là {w}?", "Chọn {w}.")).format(
            w=shown[answer]
        )
        pairs.append(("\n".join((asked, *_lettered(shown), _cue(rng))), LETTERS[answer]))
    return solved("lookup", "", pairs, [])


def letters(rng: random.Random) -> Document:
    """Several look-ups on one list of choices: letter to text and text to letter."""
    shown = rng.sample(ANSWERS, rng.randint(2, 5))
    parts: list[str] = []
    before = "\n".join(_lettered(shown))
    for _ in range(rng.randint(2, 5)):
        index = rng.randrange(len(shown))
        pair = (shown[index], LETTERS[index])
        asked, answer = pair if rng.random() < 0.6 else pair[::-1]
        parts += [f"{before}\n{asked} ->", f" {answer}"]
        before = ""
    return Document(kind="letters", parts=tuple(parts))


def open_fact(rng: random.Random) -> Document:
    """A fact in words, without choices."""
    stem, answer = draw_stem(rng, ALL_TOPICS)
    return Document(kind="open", parts=(f"{stem}\n{_cue(rng)}", f" {answer}"))


def words(rng: random.Random) -> Document:
    """A question with choices, answered in words, then by letter."""
    q = draw_question(rng, ALL_TOPICS, held_out=False, choices=rng.randint(2, 5))
    parts = ("\n".join((q.stem, *q.lettered, "=")), f" {q.choices[q.answer]}", " =", f" {q.letter}")
    return Document(kind="words", parts=parts, presentations=(q.presentation,))


def bare(rng: random.Random) -> Document:
    """A question with choices and no description."""
    q = draw_question(rng, ALL_TOPICS, held_out=False, choices=rng.choice((2, 3, 4, 4, 4, 5)))
    parts = ("\n".join((q.stem, *q.lettered, _cue(rng))), f" {q.letter}")
    return Document(kind="bare", parts=parts, presentations=(q.presentation,))


def _lettered(choices: Sequence[str]) -> list[str]:
    return [f"{letter}. {choice}" for letter, choice in zip(LETTERS, choices, strict=False)]


def _cue(rng: random.Random) -> str:
    return rng.choice(("Answer:", "Đáp án:"))


def _odd_blank(rng: random.Random, body: str) -> str:
    """Rarely, U+0085 for a blank, as in a few released rows."""
    if rng.random() >= 0.02:
        return body
    blanks = [i for i, character in enumerate(body) if character == " "]
    at = rng.choice(blanks)
    return f"{body[:at]}\u0085{body[at + 1 :]}"
