"""MMLU's sample: `{dev,val,test}/SUBJECT_SPLIT.csv` without a header, and the oddities of the released files."""

from __future__ import annotations

import csv
import dataclasses
import io
import random
from collections.abc import Callable, Sequence

from evalsuite.nano.documents import MMLU_TOPICS
from evalsuite.nano.questions import Question, draw_question

ROWS = {"dev": 5, "val": 4, "test": 24}
CRLF_SUBJECT = "miscellaneous"

Files = tuple[dict[str, str], list[str]]
"""Path to text, and the ids of the held-out examples."""


def mmlu_files(rng: random.Random) -> Files:
    files: dict[str, str] = {}
    held_out: list[str] = []
    for subject, topics in MMLU_TOPICS.items():
        for split, count in ROWS.items():
            sides = [split == "test" and row % 5 in (0, 2, 4) for row in range(count)]
            questions = [draw_question(rng, topics, held_out=side) for side in sides]
            if split == "test":
                _plant(rng, subject, questions, sides)
                held_out += [f"mmlu/test/{subject}/{row}" for row, side in enumerate(sides, start=1) if side]
            end = "\r\n" if subject == CRLF_SUBJECT else "\n"
            files[f"{split}/{subject}_{split}.csv"] = _csv(questions, end)
    return files, held_out


def _plant(rng: random.Random, subject: str, questions: list[Question], sides: Sequence[bool]) -> None:
    """Replace rows by ones that carry an oddity, on the same side of the held-out rule."""

    def put(row: int, topic: str, wanted: Callable[[Question], bool], *, repeat_one: bool = False) -> None:
        question = draw_question(rng, (topic,), held_out=sides[row], repeat_one=repeat_one)
        while not wanted(question):
            question = draw_question(rng, (topic,), held_out=sides[row], repeat_one=repeat_one)
        questions[row] = question

    if subject == "high_school_biology":
        put(2, "en.legs", lambda q: q.choices[q.answer] == "None")
        put(3, "en.legs", lambda q: "None" in q.choices and q.choices[q.answer] != "None")
    if subject == "high_school_geography":
        put(4, "en.capitals", lambda q: "\n" in q.stem)
        put(6, "en.capitals", lambda q: "\n" in q.stem)
        stem = questions[7].stem.replace(" ", "\u0085", 1)
        questions[7] = dataclasses.replace(questions[7], stem=stem)
    if subject == "high_school_chemistry":
        put(5, "en.symbols", lambda q: True, repeat_one=True)
        put(8, "en.atomic_numbers", lambda q: True, repeat_one=True)
    if subject == "miscellaneous":
        duplicate = next(row for row in range(1, len(sides) - 1) if sides[row] == sides[-1])
        questions[-1] = questions[duplicate]


def _csv(questions: Sequence[Question], line_end: str) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator=line_end)
    writer.writerows([q.stem, *q.choices, q.letter] for q in questions)
    return text.getvalue()
