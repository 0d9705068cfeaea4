"""VNHSGE-V's reader: choices inside the question, images, odd labels, essays, shots from a file."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalsuite.errors import ConfigError, DataError
from evalsuite.tasks import DataSource, Prompting, get_task
from evalsuite.tasks.vnhsge import label_state, normalise_question, read_vnhsge
from tests.tasks.samples import directory, vnhsge_row, write_json

VNHSGE = get_task("vnhsge")


def write(root: Path, subject: str, year: int, rows: list[dict[str, str]]) -> DataSource:
    write_json(root / "vnhsge" / subject / f"MET_{subject[:3]}_IE_{year}.json", rows)
    return directory(root)


def test_the_prompt_holds_the_question_without_its_number_and_with_tidy_blanks(tmp_path: Path) -> None:
    question = "Câu 7 :\u00a0Năm 1921,\tĐảng  quyết định \r\nA. một. \t\r\nB. hai.\r\n\r\n\r\n\r\nC. ba.\nD. bốn."
    source = write(tmp_path, "History", 2019, [vnhsge_row(7, question=question)])
    (request,) = VNHSGE.requests(VNHSGE.read(source), Prompting())
    assert request.id == "vnhsge/History/MET_His_IE_2019/1"
    assert request.context == (
        "Sau đây là các câu hỏi trắc nghiệm (kèm đáp án) trong đề thi tốt nghiệp trung học phổ thông môn Lịch sử.\n\n"
        "Năm 1921, Đảng quyết định\nA. một.\nB. hai.\n\nC. ba.\nD. bốn.\nĐáp án:"
    )
    assert request.continuations == (" A", " B", " C", " D")


def test_the_number_of_a_cloze_question_stays_for_its_passage_refers_to_it() -> None:
    text = "In (26) ... life.\nQuestion 26:\nA. a\nB. b\nC. c\nD. d"
    assert normalise_question(text) == text


def test_a_number_after_a_shared_text_stays() -> None:
    assert "\nCâu 41: " in normalise_question("Cho bảng số liệu.\nCâu 41: Nhận xét?\nA. a")


@given(st.text(alphabet="ab1. :\n\t\r\u00a0\u200b\u2028", max_size=30))
def test_normalising_a_question_leaves_single_blanks_and_is_idempotent(text: str) -> None:
    once = normalise_question(text)
    assert normalise_question(once) == once
    assert not {"\t", "\r", "\u00a0", "\u200b", "\u2028"} & set(once)
    assert "  " not in once and "\n\n\n" not in once


@pytest.mark.parametrize(
    ("text", "state"),
    [
        pytest.param("x\nA. a\nB. b\nC. c\nD. d", None, id="plain"),
        pytest.param("Vi khuẩn E. coli, ông A. và bà B.\nA) a\nB) b\nC) c\nD) d", None, id="letters-in-the-stem"),
        pytest.param("x\nA. a\nC. c\nB. b\nD. d", "choice labels out of order", id="order"),
        pytest.param("x\nA. a\nB. b\nC. c\nC. d", "choice labels doubled", id="doubled"),
        pytest.param("x\nA. a. B. b. C. c. D. d.", "choices share a line", id="one-line"),
        pytest.param("x\nA. a.B. b\nC. c\nD. d", "choices share a line", id="glued"),
        pytest.param("x\nA. a\nB. b\nC c\nD. d", "choice label missing", id="missing"),
        pytest.param("x", "no labelled choice", id="none"),
    ],
)
def test_an_odd_row_is_scored_as_it_stands_and_counted(tmp_path: Path, text: str, state: str | None) -> None:
    assert label_state(text) == state
    data = VNHSGE.read(write(tmp_path, "History", 2019, [vnhsge_row(1, question=text, choice="C")]))
    assert data.notes == ({state: 1} if state else {})
    assert data.examples[0].body == f"{text}\nĐáp án:"
    assert data.examples[0].choices == ("A", "B", "C", "D") and data.examples[0].gold == ("C",)


def test_image_questions_and_golds_that_are_no_letter_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = [vnhsge_row(1), vnhsge_row(2, image="Geo_1/1.png"), vnhsge_row(3, choice=""), vnhsge_row(4, choice="r")]
    source = write(tmp_path, "Geography", 2020, rows)
    data = VNHSGE.read(source)
    assert [e.id for e in data.examples] == ["vnhsge/Geography/MET_Geo_IE_2020/1"]
    assert data.excluded == {"needs an image": 1, "gold is not a letter A-D": 2}
    assert len(read_vnhsge(source, None, with_images=True).examples) == 2


@pytest.mark.parametrize("lost", ["Question", "Choice", "Image_Question"])
def test_a_row_without_a_field_that_others_have_is_named(tmp_path: Path, lost: str) -> None:
    odd = {key: value for key, value in vnhsge_row(2).items() if key != lost}
    with pytest.raises(DataError, match=rf"2020.json, row 2, field '{lost}': expected .*, got no such field"):
        VNHSGE.read(write(tmp_path, "Geography", 2020, [vnhsge_row(1), odd]))


def test_literature_is_left_out_by_name_and_counted(tmp_path: Path) -> None:
    write_json(tmp_path / "vnhsge" / "Literature" / "MET_Lit_OE_2019.json", [{"Câu hỏi": "x", "Đáp án": "y"}] * 3)
    data = VNHSGE.read(write(tmp_path, "History", 2019, [vnhsge_row(1)]))
    assert data.excluded == {"literature: essays of another schema": 3}
    assert len(data.examples) == 1


def test_another_schema_under_another_name_is_an_error_that_names_it(tmp_path: Path) -> None:
    write_json(tmp_path / "vnhsge" / "Music" / "MET_2019.json", [{"Câu hỏi": "x"}])
    with pytest.raises(DataError, match=r"MET_2019.json, row 1, field 'Question': .*no such field \(fields: Câu hỏi\)"):
        VNHSGE.read(directory(tmp_path))


def test_groups_are_subject_and_year(tmp_path: Path) -> None:
    write(tmp_path, "History", 2019, [vnhsge_row(1)])
    source = write(tmp_path, "English", 2021, [vnhsge_row(1)])
    assert [e.group for e in VNHSGE.read(source).examples] == ["English/2021", "History/2019"]


def test_shots_come_from_the_earliest_file_of_the_subject_which_is_then_not_scored(tmp_path: Path) -> None:
    for year in (2020, 2019, 2021):
        rows = [vnhsge_row(n, question=f"{year} hỏi {n}\nA. a\nB. b\nC. c\nD. d") for n in (1, 2)]
        source = write(tmp_path, "History", year, rows)
    data = VNHSGE.read(source, shots=2)
    assert {e.group for e in data.examples} == {"History/2020", "History/2021"}
    assert data.excluded == {"held out for few-shot prompts": 2}
    assert data.shots_source == (str(tmp_path / "vnhsge" / "History" / "MET_His_IE_2019.json"),)
    for request in VNHSGE.requests(data, Prompting(shots=2)):
        assert [part.split("\n")[0] for part in request.context.split("\n\n")[1:3]] == ["2019 hỏi 1", "2019 hỏi 2"]
    assert len(VNHSGE.read(source).examples) == 6


def test_another_file_can_be_named_for_the_shots(tmp_path: Path) -> None:
    for year in (2019, 2020):
        source = write(tmp_path, "History", year, [vnhsge_row(1)])
    data = read_vnhsge(source, None, 1, shots_file=lambda paths: paths[-1])
    assert [e.group for e in data.examples] == ["History/2019"]


def test_shots_that_leave_nothing_to_score_are_refused(tmp_path: Path) -> None:
    source = write(tmp_path, "History", 2019, [vnhsge_row(1)])
    with pytest.raises(DataError, match="with shots it takes 2 files a subject"):
        VNHSGE.read(source, shots=1)


def test_splits_of_the_full_release_are_folders(tmp_path: Path) -> None:
    write_json(tmp_path / "vnhsge" / "eval" / "History" / "MET_2019.json", [vnhsge_row(1)])
    write_json(tmp_path / "vnhsge" / "train" / "Civic Education" / "Civ_1.json", [vnhsge_row(1), vnhsge_row(2)])
    assert len(VNHSGE.read(directory(tmp_path)).examples) == 1
    train = VNHSGE.read(directory(tmp_path), split="train")
    assert train.examples[0].description.endswith("môn Giáo dục công dân.\n\n")
    with pytest.raises(DataError, match="no such directory"):
        VNHSGE.read(directory(tmp_path), split="test")
    with pytest.raises(ConfigError, match="expected split eval, test, train"):
        VNHSGE.read(directory(tmp_path), split="dev")


def test_the_hub_is_refused_with_the_remedy() -> None:
    with pytest.raises(DataError, match=r"pass --data DIR \(in Python data=DIR\)"):
        VNHSGE.read(DataSource(kind="hub"))
