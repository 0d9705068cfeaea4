"""Small files of our own in the released formats, written into a test's directory."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from evalsuite.tasks import DataSource


def directory(path: Path) -> DataSource:
    return DataSource(kind="directory", path=str(path))


def write_mmlu(root: Path, split: str, subject: str, rows: Iterable[Sequence[str]], terminator: str = "\n") -> Path:
    """A headerless CSV of question, four choices, letter."""
    path = root / "mmlu" / split / f"{subject}_{split}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    csv.writer(text, lineterminator=terminator).writerows(rows)
    path.write_bytes(text.getvalue().encode())
    return path


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """One object a line, characters such as U+2028 unescaped, as in the releases."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())
    return path


def write_json(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(json.dumps(value, ensure_ascii=False).encode())
    return path


def vmlu_row(number: int, *, subject: str = "58", answer: str | None = "A", **changes: Any) -> dict[str, Any]:
    row = {"id": f"{subject}-{number:04d}", "question": f"Câu hỏi {subject} số {number}?"}
    row |= {"choices": ["A. một", "B. hai", "C. ba", "D. bốn"]}
    return row | ({} if answer is None else {"answer": answer}) | changes


def vnhsge_row(number: int, *, choice: str = "A", question: str | None = None, image: str = "") -> dict[str, str]:
    return {
        "ID": f"X_{number}",
        "Image_Question": image,
        "Question": question or f"Câu {number}: Điều nào đúng?\nA. một\t\nB. hai\nC. ba\nD. bốn",
        "Choice": choice,
        "Image_Answer": "",
        "Explanation": "",
    }


def viquad_document(*articles: Mapping[str, Any]) -> dict[str, Any]:
    return {"version": "2.0", "data": list(articles)}


def viquad_article(context: str, *questions: Mapping[str, Any], title: str = "Huế") -> dict[str, Any]:
    return {"title": title, "paragraphs": [{"context": context, "qas": list(questions)}]}


def viquad_question(identifier: str, *answers: str, impossible: bool = False) -> dict[str, Any]:
    return {
        "id": identifier,
        "question": f"Hỏi {identifier}?",
        "answers": [{"text": text, "answer_start": 0} for text in answers],
        "is_impossible": impossible,
    }


def write_hub(root: Path, repository: str, configs: Mapping[str, Mapping[str, list[dict[str, Any]]]]) -> None:
    """A dataset in the hub's layout: parquet files, and a README whose header maps configurations to them."""
    from datasets import Dataset

    folder = root / repository
    lines = ["---", "configs:"]
    for config, splits in configs.items():
        lines += [f"- config_name: {config}", "  data_files:"]
        for split, rows in splits.items():
            lines += [f"  - split: {split}", f"    path: {config}/{split}.parquet"]
            (folder / config).mkdir(parents=True, exist_ok=True)
            Dataset.from_list(rows).to_parquet(folder / config / f"{split}.parquet")
    (folder / "README.md").write_text("\n".join([*lines, "---", ""]))
