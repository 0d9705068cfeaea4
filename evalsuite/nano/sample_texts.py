"""The samples of UIT-ViQuAD 2.0 (SQuAD 2.0 nesting) and VietNews (word-segmented JSON lines)."""

from __future__ import annotations

import json
import random
from typing import Any

from evalsuite.nano.news import Story, draw_story
from evalsuite.nano.passages import Passage, draw_passage
from evalsuite.nano.sample_mmlu import Files

ARTICLES = 14
PARAGRAPHS = 2
QUESTIONS = 3
STORIES = 24


def viquad_files(rng: random.Random) -> Files:
    articles: list[dict[str, Any]] = []
    held_out: list[str] = []
    number = 0
    for _ in range(ARTICLES):
        paragraphs = []
        title = ""
        for _ in range(PARAGRAPHS):
            side = len(held_out) <= 0.6 * number
            passage = draw_passage(rng, held_out=side)
            title = title or passage.title
            questions = _questions(rng, passage, number)
            number += len(questions)
            if side:
                held_out += [f"viquad/sample/{q['id']}" for q in questions]
            paragraphs.append({"context": passage.context, "qas": questions})
        articles.append({"title": title, "paragraphs": paragraphs})
    _shift_one_span(articles)
    text = json.dumps({"version": "2.0", "data": articles}, ensure_ascii=False, indent=1) + "\n"
    return {"sample.json": text}, held_out


def _questions(rng: random.Random, passage: Passage, number: int) -> list[dict[str, object]]:
    """Three questions of one passage, one of them unanswerable in three passages of four."""
    refused = rng.random() < 0.75
    asked: list[dict[str, object]] = []
    for question, golds in rng.sample(passage.answerable, QUESTIONS - refused):
        answers = [{"text": gold, "answer_start": passage.context.index(gold)} for gold in golds]
        asked.append({"question": question, "answers": answers, "is_impossible": False})
    if refused:
        question = rng.choice(passage.unanswerable)
        asked.insert(rng.randrange(QUESTIONS), {"question": question, "answers": [], "is_impossible": True})
    return [q | {"id": f"nano_{number + i:04d}"} for i, q in enumerate(asked)]


def _shift_one_span(articles: list[dict[str, Any]]) -> None:
    """Move the first answer's start by one, as a few released spans are off."""
    answer = next(q["answers"][0] for p in articles[0]["paragraphs"] for q in p["qas"] if q["answers"])
    answer["answer_start"] += 1


def vietnews_files(rng: random.Random) -> Files:
    rows: list[dict[str, object]] = []
    held_out: list[str] = []
    for row in range(1, STORIES + 1):
        side = row % 5 in (0, 2, 4)
        story = draw_story(rng, held_out=side)
        while row in (4, 6) and "https://" not in story.article:
            story = draw_story(rng, held_out=side)
        rows.append({"guid": row, "title": story.title, "abstract": story.abstract, "article": _marked(story, row)})
        if side:
            held_out.append(f"vietnews/test/{row}")
    rows[2] = rows[2] | {"title": None}
    rows.append({"guid": STORIES + 1, "title": "Bài trống", "abstract": "Không có nội_dung .", "article": ""})
    return {"test.jsonl": "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)}, held_out


def _marked(story: Story, row: int) -> str:
    """The article; rows 7 and 8 with a zero-width space and a line separator, as some released articles have."""
    if row == 7:
        return story.article.replace(" ", " \u200b", 1)
    return story.article.replace(" ", "\u2028", 1) if row == 8 else story.article
