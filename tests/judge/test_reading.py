"""One number in [0, 1], or a missing grade with its reason."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalsuite.judge.reading import NO_NUMBER, read_grade

READ = {
    "0": 0, "1": 1, "0.8": 0.8, "0,8": 0.8, "1.0": 1, "1,00": 1, ".5": 0.5, "0.8.": 0.8, "0,125": 0.125,
    "**1**.": 1, " 0.25\n": 0.25,
    "**0.8**": 0.8, "*0,5*.": 0.5, "`1`": 1, '"0.3"': 0.3, "Điểm: 0,8": 0.8, "điểm số: 0.8": 0.8, "Điểm = 1": 1,
    "Điểm là 0.5": 0.5, "**Điểm:** 0.75": 0.75, "**Điểm: 0.75**": 0.75, "Score: 0.6.": 0.6,
    "<think>8/10?\n1.5?</think>\n\n0.9": 0.9, "hay là 1?</think>0.4": 0.4,
    "Đi\u1ec3m: 1": 1, "Đie\u0302\u0309m: 1": 1,
}  # fmt: skip
MISSING = [
    "", "   ", "8/10", "0.8/1", "1.5", "2", "-0.5", "-1", "80%", "0.8 0.9", "0.8\n0.9", "0.8 - 0.9", "0.8 điểm",
    "Tôi cho 0.8", "đúng", "Điểm:", "Điểm: cao", "nan", "inf", "1e-1", "0.8.1", "0,8,1", "٠", "½", "0x1", "1_0",
    "<think>0.8", "<think>0.8</think>", "0.8<think>0.9</think>0.7", "1000",
    "0.", "1.", "**0.**", "Điểm: 0.", "0,", "1,000", "0,8000", ",500", "00,125",
]  # fmt: skip


@pytest.mark.parametrize("reply", READ, ids=ascii)
def test_a_number_in_its_usual_dress_is_read(reply: str) -> None:
    assert read_grade(reply) == (pytest.approx(READ[reply]), "")


@pytest.mark.parametrize("reply", MISSING, ids=ascii)
def test_anything_that_would_have_to_be_guessed_at_is_missing(reply: str) -> None:
    value, problem = read_grade(reply)
    assert value is None
    assert problem.startswith(f"{NO_NUMBER}: ")


def test_a_train_of_thought_that_was_cut_off_is_named_with_its_remedy() -> None:
    assert "thinking switched off" in read_grade("<think>Câu trả lời này")[1]


@given(st.text())
def test_whatever_a_judge_says_becomes_a_grade_or_a_short_reason(reply: str) -> None:
    value, problem = read_grade(reply)
    assert (value is None) != (problem == "")
    assert value is None or 0 <= value <= 1
    assert len(problem) < 120


@given(
    st.integers(0, 1000).map(lambda n: n / 1000),
    st.sampled_from(["{}", "**{}**", "Điểm: {}", "<think>\n0.1 hay 2?</think>\n{}", "{}.", "\n\n {} \n"]),
    st.booleans(),
)
def test_dress_and_decimal_comma_change_no_grade(grade: float, dress: str, comma: bool) -> None:
    written = str(grade).replace(".", ",") if comma else str(grade)
    assert read_grade(dress.format(written)) == (grade, "")


@given(st.floats(min_value=1.001, max_value=1e6), st.booleans())
def test_numbers_out_of_range_are_missing(number: float, negative: bool) -> None:
    assert read_grade(f"{'-' if negative else ''}{number:.3f}")[0] is None


@given(st.text(alphabet=string.ascii_letters + " ăâđêôơư/%", min_size=1))
def test_words_are_missing(words: str) -> None:
    assert read_grade(words)[0] is None
    assert read_grade(f"0.8 {words}!")[0] is None
