"""VietNews: word segmentation undone, odd characters, empty articles, ROUGE."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalsuite.errors import DataError
from evalsuite.tasks import DataSource, Prompting, get_task
from evalsuite.tasks.cleaning import desegment
from evalsuite.types import Generation
from tests.tasks.samples import directory, write_hub, write_jsonl

VIETNEWS = get_task("vietnews")


def row(number: int, article: str | None = "Mưa to ở Huế .", abstract: str = "Mưa to .", **more: Any) -> dict[str, Any]:
    return {"guid": number, "title": "Tin", "abstract": abstract, "article": article} | more


def write(root: Path, *rows: dict[str, Any]) -> DataSource:
    write_jsonl(root / "vietnews" / "test.jsonl", rows)
    return directory(root)


def test_the_prompt_is_running_text(tmp_path: Path) -> None:
    source = write(tmp_path, row(1, "Ngày 25/2 , TAND TP. Đà_Nẵng tuyên_phạt ông H. ( SN 1994 ) “ nổ ” ."))
    (request,) = VIETNEWS.requests(VIETNEWS.read(source), Prompting())
    assert request.id == "vietnews/test/1"
    assert request.prompt == (
        "Tóm tắt bài báo sau trong một hoặc hai câu.\n\n"
        "Bài báo: Ngày 25/2, TAND TP. Đà Nẵng tuyên phạt ông H. (SN 1994) “nổ”.\nTóm tắt:"
    )
    assert (request.max_new_tokens, request.stop) == (128, ("\n",))


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        pytest.param("công_an xã_hội", "công an xã hội", id="underscore"),
        pytest.param("xem https://a.vn/x_y?b_c=1 , trang_chủ", "xem https://a.vn/x_y?b_c=1, trang chủ", id="url"),
        pytest.param("( www.a_b.com ) tin_tức", "(www.a_b.com) tin tức", id="www"),
        pytest.param("gửi_tới toa_soan@bao_moi.vn .", "gửi tới toa_soan@bao_moi.vn.", id="email"),
        pytest.param("báo_điện_tử tin_nhanh.com.vn/the_gioi", "báo điện tử tin_nhanh.com.vn/the_gioi", id="domain"),
        pytest.param("a , b . c ; d : e ! f ? g … h %", "a, b. c; d: e! f? g… h%", id="punctuation"),
        pytest.param('anh " làm gì " , rồi " đi "', 'anh "làm gì", rồi "đi"', id="straight-quotes"),
        pytest.param('một " dấu lẻ', 'một " dấu lẻ', id="odd-quote"),
        pytest.param("ma\u200btuý\ufeff\u00ad \u0007x", "matuý x", id="invisible"),
        pytest.param("một\u2028hai\u0085ba\u2029bốn\tnăm\nsáu\u00a0bảy", "một hai ba bốn năm sáu bảy", id="separators"),
        pytest.param(" _ ", "", id="nothing"),
    ],
)
def test_cleaning(raw: str, clean: str) -> None:
    assert desegment(raw) == clean


PIECES = st.sampled_from(
    [
        "công_an",
        ",",
        ".",
        "(",
        ")",
        '"',
        "“",
        "”",
        "_",
        "…",
        "\u200b",
        "\u2028",
        "http://a_b.vn/c_d",
        "www.x_y",
        "e_f@g.vn",
    ]
)
TEXTS = st.lists(PIECES, max_size=12).flatmap(
    lambda parts: st.sampled_from([" ", "", "  "]).map(lambda blank: blank.join(parts))
)


@given(TEXTS)
def test_cleaning_is_idempotent(text: str) -> None:
    assert desegment(desegment(text)) == desegment(text)


@given(st.text(alphabet='a_ .,:()"“”@/wvn\u200b\u2028', max_size=40))
def test_cleaning_is_idempotent_on_any_text_and_leaves_one_line(text: str) -> None:
    clean = desegment(text)
    assert desegment(clean) == clean
    assert "  " not in clean and clean == clean.strip() and len(clean.splitlines()) <= 1


@given(TEXTS, st.from_regex(r"(https?://|www\.)[a-z_]+\.[a-z_]+(/[a-zA-Z0-9_=?&-]*)?", fullmatch=True), TEXTS)
def test_an_address_keeps_every_character(before: str, url: str, after: str) -> None:
    assert url in desegment(f"{before} {url} {after}")


@given(st.text(alphabet="aăâbđê_ ,.", max_size=40))
def test_cleaning_changes_nothing_but_blanks_and_underscores(text: str) -> None:
    assert re.sub(r"[\s_]", "", desegment(text)) == re.sub(r"[\s_]", "", text)


def test_rows_without_an_article_or_an_abstract_are_left_out_and_counted(tmp_path: Path) -> None:
    source = write(tmp_path, row(1), row(2, ""), row(3, " \u200b "), row(4, None), row(5, abstract=""))
    data = VIETNEWS.read(source)
    assert [e.id for e in data.examples] == ["vietnews/test/1"]
    assert data.excluded == {"empty article": 3, "empty abstract": 1}


@pytest.mark.parametrize("field", ["article", "abstract"])
@pytest.mark.parametrize("others", [0, 2], ids=["all rows", "one row"])
def test_a_field_that_is_missing_is_named_and_counts_as_no_empty_text(tmp_path: Path, field: str, others: int) -> None:
    odd = {("summary" if key == field else key): value for key, value in row(9).items()}
    said = rf"test.jsonl, row {others + 1}, field '{field}': expected text, got no such field \(fields: guid, .*summary"
    with pytest.raises(DataError, match=said):
        VIETNEWS.read(write(tmp_path, *(row(n) for n in range(others)), odd))


def test_rows_of_which_none_can_be_scored_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"vietnews: expected questions to score in .*jsonl, got none: 2 rows: empty"):
        VIETNEWS.read(write(tmp_path, row(1, abstract=""), row(2, abstract="")))


def test_a_missing_title_is_fine(tmp_path: Path) -> None:
    untitled = {key: value for key, value in row(2).items() if key != "title"}
    data = VIETNEWS.read(write(tmp_path, row(1, title=None), untitled))
    assert [e.fields["title"] for e in data.examples] == ["", ""]


def test_u2028_inside_a_row_does_not_end_it(tmp_path: Path) -> None:
    (example,) = VIETNEWS.read(write(tmp_path, row(1, "Mưa to .\u2028Gió lớn ."))).examples
    assert example.fields["article"] == "Mưa to. Gió lớn."


def test_a_field_of_another_type_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"test.jsonl, row 2, field 'article': expected text, got 7"):
        VIETNEWS.read(write(tmp_path, row(1), row(2, article=7)))


def test_shots_are_the_first_rows_and_are_not_scored(tmp_path: Path) -> None:
    data = VIETNEWS.read(write(tmp_path, *(row(n, f"Bài {n} .", f"Ý {n} .") for n in (1, 2, 3))), shots=2)
    (request,) = VIETNEWS.requests(data, Prompting(shots=2))
    assert request.id == "vietnews/test/3"
    assert request.prompt.endswith(
        "\n\nBài báo: Bài 1.\nTóm tắt: Ý 1.\n\nBài báo: Bài 2.\nTóm tắt: Ý 2.\n\nBài báo: Bài 3.\nTóm tắt:"
    )
    assert data.excluded == {"held out for few-shot prompts": 2}
    assert data.shots_source == ("vietnews/test/1", "vietnews/test/2")


def test_a_summary_is_graded_without_its_think_block(tmp_path: Path) -> None:
    data = VIETNEWS.read(write(tmp_path, row(1)))
    example = data.examples[0]
    text = "<think>mưa gì?</think> mưa TO"
    graded = VIETNEWS.grade(
        example, Generation(id=example.id, text=text, token_ids=(), logprobs=(), finish_reason="eos")
    )
    assert graded.prediction == "mưa TO"
    assert graded.scores == {"rouge1": 1.0, "rouge2": 1.0, "rougeL": 1.0}
    metrics = VIETNEWS.summarise([graded])
    assert [(m.name, m.group, m.value, m.stderr, m.count) for m in metrics] == [
        (name, "overall", 1.0, None, 1) for name in ("rouge1", "rouge2", "rougeL")
    ]


def test_the_hub_schema_gives_the_same_examples_as_the_file(tmp_path: Path, datasets_cache: Path) -> None:
    rows = [row(1), row(2, ""), row(3, "Nắng_nóng .")]
    write_hub(tmp_path, "nam194/vietnews", {"default": {"test": rows}})
    hub, file = VIETNEWS.read(DataSource(kind="hub", path=str(tmp_path))), VIETNEWS.read(write(tmp_path, *rows))
    assert hub.examples == file.examples and hub.excluded == file.excluded
