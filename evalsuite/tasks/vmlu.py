"""VMLU (Zalo AI and JAIST), files as released: DIR/vmlu/{dev,valid,test}.jsonl.

Ids are `SS-NNNN`, the subject first. A question has 3, 4 or 5 choices that already carry their letters.
The test split has no answers: it is predicted and not scored. Shots come from dev, of the same subject.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from evalsuite.errors import ConfigError
from evalsuite.tasks.base import DataSource, Example, Task, TaskData
from evalsuite.tasks.grading import LETTERS, grade_choice, summarise_choices
from evalsuite.tasks.reading import Row, distinct_ids, existing_file, read_jsonl

FILES = {"dev": ("dev.jsonl",), "valid": ("valid.jsonl", "val.jsonl"), "test": ("test.jsonl",)}
SHOT_SPLIT = "dev"
PUBLISHED = ("dev", "valid")
"""Splits whose answers are published."""

SUBJECTS = {
    "01": "Toán tiểu học",
    "02": "Khoa học tiểu học",
    "03": "Sinh học trung học cơ sở",
    "04": "Hóa học trung học cơ sở",
    "05": "Toán trung học cơ sở",
    "06": "Vật lí trung học cơ sở",
    "07": "Sinh học trung học phổ thông",
    "08": "Hóa học trung học phổ thông",
    "09": "Toán trung học phổ thông",
    "10": "Vật lí trung học phổ thông",
    "11": "Tin học ứng dụng",
    "12": "Kiến trúc máy tính",
    "13": "Mạng máy tính",
    "14": "Toán rời rạc",
    "15": "Kỹ thuật điện",
    "16": "Hóa học đại cương",
    "17": "Vật lí đại cương",
    "18": "Nhập môn lập trình",
    "19": "Kỹ thuật đo lường",
    "20": "Hệ điều hành",
    "21": "Xác suất thống kê",
    "22": "Giáo dục công dân trung học cơ sở",
    "23": "Địa lí trung học cơ sở",
    "24": "Giáo dục công dân trung học phổ thông",
    "25": "Địa lí trung học phổ thông",
    "26": "Quản trị kinh doanh",
    "27": "Tư tưởng Hồ Chí Minh",
    "28": "Kinh tế vĩ mô",
    "29": "Kinh tế vi mô",
    "30": "Nguyên lý chủ nghĩa Mác - Lênin",
    "31": "Xã hội học",
    "32": "Lịch sử tiểu học",
    "33": "Lịch sử trung học cơ sở",
    "34": "Ngữ văn trung học cơ sở",
    "35": "Lịch sử trung học phổ thông",
    "36": "Ngữ văn trung học phổ thông",
    "37": "Luật hành chính",
    "38": "Luật kinh doanh",
    "39": "Luật dân sự",
    "40": "Luật hình sự",
    "41": "Luật kinh tế",
    "42": "Luật giáo dục",
    "43": "Lịch sử văn minh thế giới",
    "44": "Tu dưỡng tư tưởng và đạo đức",
    "45": "Pháp luật đại cương",
    "46": "Cơ sở văn hóa Việt Nam",
    "47": "Logic học",
    "48": "Đường lối cách mạng của Đảng Cộng sản Việt Nam",
    "49": "Tiếng Việt và văn học Việt Nam",
    "50": "Kế toán",
    "51": "Dược lâm sàng",
    "52": "Kỹ thuật môi trường",
    "53": "Nội khoa cơ sở",
    "54": "Sư phạm mầm non",
    "55": "Kế toán thuế",
    "56": "Công chức thuế",
    "57": "Công chức",
    "58": "Giấy phép lái xe",
}
"""Prefix of the id to the subject's name, after the English list in the dataset's README."""

_LABEL = re.compile(r"\s*([A-E])\s*[.:)]")


def subject_name(prefix: str) -> str:
    """The Vietnamese name of a subject; `môn số SS` for a prefix that is not on the list."""
    return SUBJECTS.get(prefix, f"môn số {prefix}")


def describe(prefix: str | None) -> str:
    """The opening line of a subject's prompts; None names no subject."""
    about = f" về {subject_name(prefix)}" if prefix else ""
    return f"Sau đây là các câu hỏi trắc nghiệm (kèm đáp án){about}.\n\n"


def render_body(question: str, choices: tuple[str, ...]) -> str:
    """The question, its lettered choices, one a line, and the cue."""
    return "\n".join((question.strip(), *choices, "Đáp án:"))


def read_vmlu(source: DataSource, split: str | None, shots: int = 0) -> TaskData:
    """One split, with the dev rows of each subject as its shots."""
    split = split or "dev"
    if split not in FILES:
        raise ConfigError(f"vmlu: expected split {', '.join(FILES)}; got {split!r}")
    folder = source.folder("vmlu")
    return _read(existing_file(folder, FILES[split], "vmlu"), split, folder, shots)


def read_vmlu_file(path: Path, shots: int = 0) -> TaskData:
    """One file of any name in the released format; shots come from the `dev.jsonl` beside it."""
    return _read(path, path.stem, path.parent, shots)


def _read(path: Path, split: str, folder: Path, shots: int) -> TaskData:
    examples = _read_rows(path, split)
    pool: dict[str, list[Example]] = {}
    shots_path = existing_file(folder, FILES[SHOT_SPLIT], "vmlu") if shots else None
    for shot in _read_rows(shots_path, SHOT_SPLIT) if shots_path else ():
        pool.setdefault(shot.shot_key, []).append(shot)
    notes = {
        "no published answer: predicted, not scored": sum(example.gold is None for example in examples),
        "with the id of an earlier row: scored all the same": sum("#" in example.id for example in examples),
    }
    return TaskData(
        task="vmlu",
        split=split,
        examples=tuple(examples),
        shots={subject: tuple(rows) for subject, rows in pool.items()},
        source=str(folder),
        shots_source=(str(shots_path),) if shots_path else (),
        notes={note: count for note, count in notes.items() if count},
    )


def _read_rows(path: Path, split: str) -> list[Example]:
    rows = list(read_jsonl(path))
    _refuse_lost_answers(rows, published=split in PUBLISHED)
    ids = distinct_ids([f"vmlu/{split}/{row.text('id')}" for row in rows])
    return [_example(identifier, row) for identifier, row in zip(ids, rows, strict=True)]


def _refuse_lost_answers(rows: Sequence[Row], *, published: bool) -> None:
    """A split publishes its answers or does not: a row without the field among rows with it is malformed."""
    if published or any(row.has("answer") for row in rows):
        for row in rows:
            if not row.has("answer"):
                raise row.error("answer", f"expected a letter, got {row.got('answer')}")


def _example(identifier: str, row: Row) -> Example:
    prefix = row.text("id").partition("-")[0]
    choices = lettered_choices(row)
    letters = LETTERS[: len(choices)]
    gold = row.text("answer", missing="").strip()
    if gold and gold not in letters:
        raise row.error("answer", f"expected a letter {letters[0]}-{letters[-1]}, got {gold!r}")
    return Example(
        id=identifier,
        group=prefix,
        description=describe(prefix),
        body=render_body(row.text("question"), choices),
        answer=gold or None,
        gold=(gold,) if gold else None,
        choices=letters,
        shot_key=prefix,
        fields={"question": row.text("question"), "subject": subject_name(prefix)},
    )


def lettered_choices(row: Row) -> tuple[str, ...]:
    """The choices, each with its letter: those that carry one as they are, `B. ` put before the others.

    Raises `DataError` for fewer than 2 or more than 5, and for labels in another order than A, B, C, ...
    """
    choices = row.items("choices")
    if not 2 <= len(choices) <= len(LETTERS) or not all(isinstance(choice, str) for choice in choices):
        raise row.error("choices", f"expected 2 to {len(LETTERS)} texts, got {choices!r:.200}")
    found = [label(choice) for choice in choices]
    if None not in found and found != list(LETTERS[: len(choices)]):
        raise row.error("choices", f"expected labels in order A, B, C, ...; got {', '.join(map(str, found))}")
    return tuple(
        choice.strip() if carried == letter else f"{letter}. {choice.strip()}"
        for letter, carried, choice in zip(LETTERS, found, choices, strict=False)
    )


def label(choice: str) -> str | None:
    """What a choice begins with, if it is a letter A to E and a mark after it: its own label, or a name's initial."""
    return match.group(1) if (match := _LABEL.match(choice)) else None


VMLU = Task(
    name="vmlu",
    kind="choice",
    title="VMLU",
    main_metric="accuracy",
    default_split="dev",
    reader=read_vmlu,
    grader=grade_choice,
    summariser=summarise_choices,
)
