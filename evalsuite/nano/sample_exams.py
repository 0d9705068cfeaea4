"""The samples of VMLU (lettered choices, three to five of them) and VNHSGE-V (choices inside the question)."""

from __future__ import annotations

import json
import random

from evalsuite.nano.documents import VMLU_TOPICS, VNHSGE_TOPICS, exam_text
from evalsuite.nano.questions import Question, draw_question
from evalsuite.nano.sample_mmlu import Files

VMLU_ROWS = {"01": 14, "02": 12, "08": 14, "25": 14, "35": 14, "49": 10, "71": 3}
"""71 has fewer rows than a five-shot prompt wants."""
VMLU_TEST_ROWS = 10
EXAM_ROWS = 14
EXAMS = {
    ("English", 2021): {6: "out of order", 12: "out of order"},
    ("English", 2022): {6: "tab and line", 12: "tabs"},
    ("Geography", 2022): {6: "no-break space", 12: "tabs"},
    ("Geography", 2023): {6: "one line", 12: "one line"},
    ("History", 2021): {6: "out of order", 12: "out of order"},
    ("History", 2022): {6: "no-break space", 12: "tabs"},
}
"""Which rows of which paper are set unusually."""
CODES = {"English": "Eng", "Geography": "Geo", "History": "His"}


def vmlu_files(rng: random.Random) -> Files:
    dev: list[dict[str, object]] = []
    held_out: list[str] = []
    for prefix, count in VMLU_ROWS.items():
        for row in range(1, count + 1):
            side = row % 5 in (0, 2, 4)
            question = _with_choices(rng, prefix, (4, 4, 5, 4, 3, 4, 4)[row % 7], side)
            dev.append({"id": f"{prefix}-{row:04d}", **_vmlu_row(question), "answer": question.letter})
            if side:
                held_out.append(f"vmlu/dev/{prefix}-{row:04d}")
    prefixes = tuple(VMLU_ROWS)
    test = []
    for row in range(VMLU_TEST_ROWS):
        prefix = prefixes[row % len(prefixes)]
        question = draw_question(rng, VMLU_TOPICS[prefix], held_out=True)
        test.append({"id": f"{prefix}-{100 + row:04d}", **_vmlu_row(question)})
    return {"dev.jsonl": _jsonl(dev), "test.jsonl": _jsonl(test)}, held_out


def _with_choices(rng: random.Random, prefix: str, choices: int, held_out: bool) -> Question:
    """A question with that many choices; of five, the last one is right every other time."""
    question = draw_question(rng, VMLU_TOPICS[prefix], held_out=held_out, choices=choices)
    wants_last = choices == 5 and rng.random() < 0.5
    while len(question.choices) != choices or (wants_last and question.letter != "E"):
        question = draw_question(rng, VMLU_TOPICS[prefix], held_out=held_out, choices=choices)
    return question


def _vmlu_row(question: Question) -> dict[str, object]:
    return {"question": question.stem, "choices": list(question.lettered)}


def vnhsge_files(rng: random.Random) -> Files:
    files = {"Literature/MET_Lit_IE_2022.json": _json(_ESSAYS)}
    held_out: list[str] = []
    for (subject, year), layouts in EXAMS.items():
        stem = f"MET_{CODES[subject]}_IE_{year}"
        rows = []
        for row in range(1, EXAM_ROWS + 1):
            side = row % 5 in (0, 2, 4)
            question = draw_question(rng, VNHSGE_TOPICS[subject], held_out=side)
            rows.append(_exam_row(rng, f"{stem}_{row}", subject, question, layouts.get(row, "plain"), row))
            if side:
                held_out.append(f"vnhsge/{subject}/{stem}/{row}")
        rows.append(_image_row(rng, stem, subject))
        files[f"{subject}/{stem}.json"] = _json(rows)
    return files, held_out


def _exam_row(
    rng: random.Random, identifier: str, subject: str, question: Question, layout: str, number: int
) -> dict[str, str]:
    reason = f"Giải thích:\nĐáp án đúng là {question.choices[question.answer]}.\nChọn {question.letter}"
    return {
        "ID": identifier,
        "Image_Question": "",
        "Question": exam_text(rng, subject, question, layout, number),
        "Choice": question.letter,
        "Image_Answer": "",
        "Explanation": reason,
    }


def _image_row(rng: random.Random, stem: str, subject: str) -> dict[str, str]:
    """A question that cannot be answered without its picture."""
    question = draw_question(rng, VNHSGE_TOPICS[subject], held_out=True)
    row = _exam_row(rng, f"{stem}_{EXAM_ROWS + 1}", subject, question, "plain", EXAM_ROWS + 1)
    return row | {"Image_Question": f"{stem}_{EXAM_ROWS + 1}.png", "Image_Answer": f"{stem}_{EXAM_ROWS + 1}_answer.png"}


_ESSAYS = [
    {
        "ID": "MET_Lit_IE_2022_1",
        "Passage": "Con đường làng chạy giữa hai hàng cau. Buổi sáng, bà tôi gánh rau ra chợ.",
        "Question": "Anh/chị hãy nêu cảm nhận về hình ảnh con đường làng.",
        "Answer": "Thí sinh trình bày theo cảm nhận riêng.",
    }
]


def _json(rows: object) -> str:
    return json.dumps(rows, ensure_ascii=False, indent=4) + "\n"


def _jsonl(rows: list[dict[str, object]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
