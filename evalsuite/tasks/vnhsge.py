"""VNHSGE-V (Dao et al. 2023), files as released: DIR/vnhsge/SUBJECT/*.json, or DIR/vnhsge/{eval,test,train}/...

A row holds its choices inside `Question`. The text goes to the model as released but for white space and a
leading `Câu N:`; the letters A-D are scored. About one row in a hundred labels its choices oddly (out of
order, on one line, doubled, one missing). Such a row is scored all the same, for the exam had the same four
letters, and `TaskData.notes` counts it; its text is not repaired. Left out and counted in
`TaskData.excluded`: questions that need an image, rows whose gold is not a letter A-D, and Literature,
which has essays of another schema.

There is no few-shot split. With shots, one file of each subject (the earliest, unless named) gives them and
is not scored.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from evalsuite.errors import ConfigError, DataError
from evalsuite.tasks.base import SHOTS_HELD_OUT, DataSource, Example, Task, TaskData
from evalsuite.tasks.grading import grade_choice, summarise_choices
from evalsuite.tasks.reading import Row, read_json

LETTERS = ("A", "B", "C", "D")
SPLITS = ("eval", "test", "train")
ESSAY_SUBJECTS = ("Literature",)
SUBJECTS = {
    "Biology": "Sinh học",
    "Chemistry": "Hóa học",
    "CivicEducation": "Giáo dục công dân",
    "English": "Tiếng Anh",
    "Geography": "Địa lí",
    "History": "Lịch sử",
    "Mathematics": "Toán",
    "Physics": "Vật lí",
}
"""Folder name, without spaces, to the subject's name."""

IMAGE = "Image_Question"
"""The field that names the image a question needs."""
NEEDS_IMAGE = "needs an image"
GOLD_IS_NO_LETTER = "gold is not a letter A-D"
ESSAYS = "literature: essays of another schema"

_NUMBER_PREFIX = re.compile(r"\A\s*câu\s*\d+\s*[.:)]?\s*", re.IGNORECASE)
_BLANKS = re.compile(r"[^\S\n]+")
_INVISIBLE = re.compile("[\u200b-\u200f\u2060\ufeff]")
_LINE_LABEL = re.compile(r"^([A-D])\s*[.:)]", re.MULTILINE)
_ANY_LABEL = re.compile(r"(?<!\w)([A-D])\s*[.:)]|(?<=[.\w])([A-D])\.\s")


def describe(subject: str | None) -> str:
    """The opening line for a subject's folder name; None names no subject."""
    of = f" môn {SUBJECTS.get(subject.replace(' ', ''), subject)}" if subject else ""
    return f"Sau đây là các câu hỏi trắc nghiệm (kèm đáp án) trong đề thi tốt nghiệp trung học phổ thông{of}.\n\n"


def render_body(question: str) -> str:
    """The question with its choices inside, and the cue."""
    return f"{normalise_question(question)}\nĐáp án:"


def normalise_question(text: str) -> str:
    """Tabs, no-break and repeated blanks to one blank, lines stripped, one blank line at most, no `Câu N:`.

    `Question N:` stays: English cloze questions refer to the numbered gap. A `Câu N:` after a shared text stays
    too, for that text may name it.
    """
    text = _INVISIBLE.sub("", re.sub("\r\n?|[\u0085\u2028\u2029\v\f]", "\n", text))
    lines = [_BLANKS.sub(" ", line).strip() for line in text.split("\n")]
    return _NUMBER_PREFIX.sub("", re.sub("\n{3,}", "\n\n", "\n".join(lines))).strip()


def label_state(question: str) -> str | None:
    """What is odd about the labels of a normalised question; None for A, B, C, D, each on a line of its own."""
    lines = _LINE_LABEL.findall(question)
    if lines == list(LETTERS):
        return None
    if sorted(lines) == list(LETTERS):
        return "choice labels out of order"
    if len(set(lines)) < len(lines):
        return "choice labels doubled"
    anywhere = [a or b for a, b in _ANY_LABEL.findall(question)]
    if not anywhere:
        return "no labelled choice"
    return "choices share a line" if set(anywhere) >= set(LETTERS) else "choice label missing"


def read_vnhsge(
    source: DataSource,
    split: str | None,
    shots: int = 0,
    *,
    shots_file: Callable[[list[Path]], Path] = min,
    with_images: bool = False,
) -> TaskData:
    """Every subject of a split. `shots_file` picks a subject's shots from its sorted files: names end in the year.

    `with_images=True` scores the questions that need an image on their text alone.
    """
    split = split or "eval"
    folder = _split_folder(source, split)
    counts: Counter[str] = Counter()
    notes: Counter[str] = Counter()
    pools: dict[str, tuple[Example, ...]] = {}
    shots_source: list[str] = []
    examples: list[Example] = []
    for subject, paths in _subject_files(folder).items():
        if subject in ESSAY_SUBJECTS:
            counts[ESSAYS] += sum(len(_rows(path)) for path in paths)
            continue
        held_out = shots_file(paths) if shots else None
        for path in paths:
            found = _read_file(path, subject, counts, with_images)
            if path == held_out:
                pools[subject] = tuple(found)
                shots_source.append(str(path))
                counts[SHOTS_HELD_OUT] += len(found)
                continue
            examples += found
            notes.update(state for e in found if (state := label_state(e.body)))
    if not examples:
        raise DataError(
            f"vnhsge: no question left to score in {folder}: {dict(counts)}; with shots it takes 2 files a subject"
        )
    return TaskData(
        task="vnhsge",
        split=split,
        examples=tuple(examples),
        shots=pools,
        source=str(folder),
        shots_source=tuple(shots_source),
        excluded=dict(counts),
        notes=dict(notes),
    )


def _split_folder(source: DataSource, split: str) -> Path:
    if split not in SPLITS:
        raise ConfigError(f"vnhsge: expected split {', '.join(SPLITS)}; got {split!r}")
    folder = source.folder("vnhsge")
    if (folder / split).is_dir():
        return folder / split
    if split == "eval":
        return folder
    raise DataError(f"vnhsge: expected {folder / split}/SUBJECT/*.json; no such directory")


def _subject_files(folder: Path) -> dict[str, list[Path]]:
    subjects = {p.name: sorted(p.glob("*.json")) for p in sorted(folder.iterdir()) if p.is_dir()}
    found = {name: paths for name, paths in subjects.items() if paths}
    if not found:
        raise DataError(f"vnhsge: expected SUBJECT/*.json in {folder} and found none; check --data (in Python data=)")
    return found


def _rows(path: Path) -> list[Row]:
    rows = read_json(path)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{path}: expected a list of objects, got {type(rows).__name__}")
    return [Row(source=str(path), number=n, values=row) for n, row in enumerate(rows, start=1)]


def _read_file(path: Path, subject: str, counts: Counter[str], with_images: bool) -> list[Example]:
    examples = []
    rows = _rows(path)
    tells_images = any(row.has(IMAGE) for row in rows)
    for row in rows:
        if tells_images and not row.has(IMAGE):
            raise row.error(IMAGE, f"expected text, empty where no image is needed, got {row.got(IMAGE)}")
        question, gold = row.text("Question"), row.text("Choice").strip()
        if row.text(IMAGE, missing="").strip() and not with_images:
            counts[NEEDS_IMAGE] += 1
        elif gold not in LETTERS:
            counts[GOLD_IS_NO_LETTER] += 1
        elif not question.strip():
            raise row.error("Question", "expected a question, got an empty text")
        else:
            examples.append(_example(path, subject, row.number, question, gold))
    return examples


def _example(path: Path, subject: str, number: int, question: str, gold: str) -> Example:
    year = re.search(r"(?:19|20)\d\d", path.stem)
    return Example(
        id=f"vnhsge/{subject}/{path.stem}/{number}",
        group=f"{subject}/{year.group() if year else path.stem}",
        description=describe(subject),
        body=render_body(question),
        answer=gold,
        gold=(gold,),
        choices=LETTERS,
        shot_key=subject,
        fields={"question": question, "subject": subject},
    )


VNHSGE = Task(
    name="vnhsge",
    kind="choice",
    title="VNHSGE-V",
    main_metric="accuracy",
    default_split="eval",
    reader=read_vnhsge,
    grader=grade_choice,
    summariser=summarise_choices,
)
