"""The sample data: bitwise from its seed, small, in the releases' layout, with the releases' quirks."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from evalsuite.nano import DATA_DIR, MODEL_DIR
from evalsuite.nano.samples import held_out_ids, sample_files
from evalsuite.tasks import TASKS, DataSource, Example

MEBIBYTE = 1 << 20
SOURCE = DataSource(kind="directory", path=str(DATA_DIR))


def examples(task: str) -> tuple[Example, ...]:
    return TASKS[task].read(SOURCE).examples


def mmlu_cells(split: str, subject: str) -> list[list[str]]:
    with (DATA_DIR / "mmlu" / split / f"{subject}_{split}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_the_seed_gives_every_file_byte_for_byte() -> None:
    files = sample_files()
    on_disk = {p.relative_to(DATA_DIR).as_posix() for p in DATA_DIR.rglob("*") if p.is_file()}
    assert on_disk == set(files)
    assert [path for path, content in files.items() if (DATA_DIR / path).read_bytes() != content] == []


def test_another_seed_gives_other_questions_under_the_same_ids() -> None:
    ours, others = sample_files(), sample_files(seed=1)
    same = {path for path in ours if ours[path] == others.get(path)}
    assert same == {"held_out.json", "vnhsge/Literature/MET_Lit_IE_2022.json"}


def test_model_and_data_stay_below_eight_mebibytes() -> None:
    folder = MODEL_DIR.parent
    sizes = [p.stat().st_size for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    assert (MODEL_DIR / "model.safetensors").stat().st_size > MEBIBYTE
    assert sum(sizes) <= 8 * MEBIBYTE


@pytest.mark.parametrize("task", TASKS)
def test_more_than_half_of_every_sample_is_held_out(task: str) -> None:
    ids = {e.id for e in examples(task)}
    unseen = ids & held_out_ids(DATA_DIR)
    assert len(ids) / 2 <= len(unseen) < len(ids)


def test_held_out_ids_are_ids_of_scored_examples() -> None:
    assert held_out_ids(DATA_DIR) <= {e.id for task in TASKS for e in examples(task)}


def test_every_letter_is_an_answer_about_as_often() -> None:
    golds = Counter(e.gold[0] for task in ("mmlu", "vmlu", "vnhsge") for e in examples(task) if e.gold)
    assert min(golds[letter] for letter in "ABCD") > 0.15 * golds.total()


def test_mmlu_has_five_dev_rows_a_subject_and_the_oddities_of_the_release() -> None:
    subjects = {p.stem.removesuffix("_test") for p in (DATA_DIR / "mmlu" / "test").iterdir()}
    assert all(len(mmlu_cells("dev", subject)) == 5 for subject in subjects)
    rows = [cells for subject in subjects for cells in mmlu_cells("test", subject)]
    assert any("None" in cells[1:5] for cells in rows)
    assert any(all(choice.isdigit() for choice in cells[1:5]) for cells in rows)
    assert any("\n" in cells[0] for cells in rows)
    assert any("\u0085" in cells[0] for cells in rows)
    assert any(len(set(cells[1:5])) < 4 for cells in rows)
    assert max(Counter(map(tuple, rows)).values()) == 2
    assert b"\r\n" in (DATA_DIR / "mmlu/test/miscellaneous_test.csv").read_bytes()


def test_vmlu_has_three_to_five_lettered_choices_and_a_test_split_without_answers() -> None:
    rows = [json.loads(line) for line in (DATA_DIR / "vmlu/dev.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {len(row["choices"]) for row in rows} == {3, 4, 5}
    assert any(row["answer"] == "E" for row in rows)
    assert all(row["choices"][0].startswith("A. ") for row in rows)
    assert any("\\times" in row["question"] for row in rows)
    assert min(Counter(row["id"][:2] for row in rows).values()) < 5
    blind = TASKS["vmlu"].read(SOURCE, split="test").examples
    assert len(blind) == 10 and all(e.gold is None for e in blind)


def test_vnhsge_has_images_odd_labels_prefixes_and_an_essay() -> None:
    data = TASKS["vnhsge"].read(SOURCE)
    assert data.excluded == {"needs an image": 6, "literature: essays of another schema": 1}
    assert set(data.notes) == {"choice labels out of order", "choices share a line"}
    text = "".join(p.read_text(encoding="utf-8") for p in sorted((DATA_DIR / "vnhsge").rglob("*.json")))
    assert all(mark in text for mark in ("Câu 1: ", "\\t", "\u00a0"))
    assert len({e.group for e in data.examples}) == 6


def test_viquad_is_nested_with_unanswerable_questions_several_golds_and_one_shifted_span() -> None:
    document = json.loads((DATA_DIR / "viquad/sample.json").read_text(encoding="utf-8"))
    paragraphs = [p for article in document["data"] for p in article["paragraphs"]]
    spans = [(p["context"], a) for p in paragraphs for q in p["qas"] for a in q["answers"]]
    shifted = [a for context, a in spans if context[a["answer_start"] :][: len(a["text"])] != a["text"]]
    assert len(shifted) == 1
    golds = [e.gold for e in examples("viquad")]
    assert 0.2 < golds.count(("",)) / len(golds) < 0.35
    assert any(gold and len(gold) > 1 for gold in golds)


def test_vietnews_is_segmented_and_holds_an_address_an_empty_article_and_odd_characters() -> None:
    path = DATA_DIR / "vietnews/test.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    articles = [row["article"] for row in rows]
    assert all("_" in article and " ." in article for article in articles if article)
    assert "" in articles
    assert any(row["title"] is None for row in rows)
    assert all(any(mark in article for article in articles) for mark in ("\u200b", "\u2028", "https://tin_nhanh."))
    assert max(len(e.answer.split()) for e in examples("vietnews") if e.answer) <= 25


def test_importing_the_package_does_not_import_torch() -> None:
    code = "import sys, evalsuite.nano, evalsuite.nano.samples; print('torch' in sys.modules)"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout.strip() == "False"
