"""MMLU's reader: the released CSV files, their quirks, and the hub's schema."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from evalsuite.errors import ConfigError, DataError
from evalsuite.tasks import DataSource, Prompting, get_task, reading
from tests.tasks.samples import directory, write_hub, write_mmlu

MMLU = get_task("mmlu")
ROW = ("Which is red?", "sky", "blood", "grass", "snow", "B")


def choices_in(body: str) -> list[str]:
    return [line[3:] for line in body.split("\n")[-5:-1]]


def test_the_prompt_is_question_lettered_choices_and_cue(tmp_path: Path) -> None:
    write_mmlu(tmp_path, "test", "high_school_physics", [ROW])
    (request,) = MMLU.requests(MMLU.read(directory(tmp_path)), Prompting())
    assert request.id == "mmlu/test/high_school_physics/1"
    assert request.context == (
        "The following are multiple choice questions (with answers) about high school physics.\n\n"
        "Which is red?\nA. sky\nB. blood\nC. grass\nD. snow\nAnswer:"
    )
    assert request.continuations == (" A", " B", " C", " D")
    assert request.add_special_tokens


def test_shots_are_the_first_dev_rows_of_the_subject_only(tmp_path: Path) -> None:
    write_mmlu(tmp_path, "test", "law", [ROW])
    write_mmlu(tmp_path, "dev", "law", [(f"law {n}", "a", "b", "c", "d", "C") for n in range(5)])
    write_mmlu(tmp_path, "dev", "art", [("art", "a", "b", "c", "d", "C")])
    (request,) = MMLU.requests(MMLU.read(directory(tmp_path), shots=2), Prompting(shots=2))
    body = "\nA. a\nB. b\nC. c\nD. d\nAnswer:"
    _, *shots, question = request.context.split("\n\n")
    assert shots == [f"law 0{body} C", f"law 1{body} C"]
    assert question.startswith("Which is red?") and question.endswith("Answer:")


def test_none_and_bare_numbers_are_text(tmp_path: Path) -> None:
    write_mmlu(tmp_path, "test", "law", [("How many?", "None", "4", "1e5", "", "A")])
    (example,) = MMLU.read(directory(tmp_path)).examples
    assert choices_in(example.body) == ["None", "4", "1e5", ""]


@pytest.mark.parametrize("terminator", ["\n", "\r\n"], ids=["lf", "crlf"])
def test_quoted_cells_span_lines_and_either_line_end_ends_a_row(tmp_path: Path, terminator: str) -> None:
    rows = [('One\ntwo, "three"?', "a", "b", "c", "d", "A"), ROW]
    write_mmlu(tmp_path, "test", "law", rows, terminator)
    first, second = MMLU.read(directory(tmp_path)).examples
    assert first.body.startswith('One\ntwo, "three"?\nA. a')
    assert second.gold == ("B",)


def test_a_line_break_inside_a_cell_stays_as_released(tmp_path: Path) -> None:
    write_mmlu(tmp_path, "test", "law", [("One\r\ntwo\rthree?", *ROW[1:])], "\r\n")
    (example,) = MMLU.read(directory(tmp_path)).examples
    assert example.body.startswith("One\r\ntwo\rthree?\nA. sky")


@pytest.mark.parametrize("separator", ["\u0085", "\u2028", "\u2029", "\x0b", "\x0c", "\x1c"], ids=ascii)
def test_unicode_line_separators_inside_text_end_nothing(tmp_path: Path, separator: str) -> None:
    write_mmlu(tmp_path, "test", "law", [(f"one{separator}two", f"a{separator}b", "b", "c", "d", "A")])
    (example,) = MMLU.read(directory(tmp_path)).examples
    assert example.body.startswith(f"one{separator}two\nA. a{separator}b\nB. b")


def test_duplicate_rows_and_repeated_choices_are_kept_with_distinct_ids(tmp_path: Path) -> None:
    row = ("Same?", "x", "x", "c", "d", "B")
    write_mmlu(tmp_path, "test", "law", [row, row])
    data = MMLU.read(directory(tmp_path))
    assert [e.id for e in data.examples] == ["mmlu/test/law/1", "mmlu/test/law/2"]
    assert data.examples[0].body == data.examples[1].body


def test_the_task_folder_itself_is_accepted(tmp_path: Path) -> None:
    write_mmlu(tmp_path, "test", "law", [ROW])
    assert MMLU.read(directory(tmp_path / "mmlu")).examples == MMLU.read(directory(tmp_path)).examples


@pytest.mark.parametrize(
    ("row", "said"),
    [
        pytest.param(
            ("q", "a", "b", "c", "d", "E"), "row 2, field 'answer': expected a letter A-D, got 'E'", id="gold"
        ),
        pytest.param(("q", "a", "b", "c", "B"), "row 2: expected 6 fields", id="columns"),
    ],
)
def test_a_malformed_row_is_named_by_file_and_row(tmp_path: Path, row: tuple[str, ...], said: str) -> None:
    write_mmlu(tmp_path, "test", "law", [("a\nb\nc", *ROW[1:]), row])
    with pytest.raises(DataError, match="law_test.csv, " + said):
        MMLU.read(directory(tmp_path))


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    write_mmlu(tmp_path, "test", "law", [ROW]).write_bytes(b"caf\xe9,a,b,c,d,A\n")
    with pytest.raises(DataError, match="expected UTF-8"):
        MMLU.read(directory(tmp_path))


def test_missing_files_and_splits_say_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected test/SUBJECT_test\.csv.*check --data \(in Python data=\)"):
        MMLU.read(directory(tmp_path))
    with pytest.raises(DataError, match=r"no such directory.*pass --data DIR \(in Python data=DIR\)"):
        MMLU.read(directory(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match="expected split test, val, dev"):
        MMLU.read(directory(tmp_path), split="train")


def test_five_shot_prompts_of_the_whole_test_set_take_under_two_seconds(tmp_path: Path) -> None:
    for number in range(57):
        write_mmlu(
            tmp_path, "test", f"s{number}", [(f"{n} " + "word " * 80, "a", "b", "c", "d", "A") for n in range(247)]
        )
        write_mmlu(
            tmp_path, "dev", f"s{number}", [(f"shot {n} " + "word " * 80, "a", "b", "c", "d", "A") for n in range(5)]
        )
    data = MMLU.read(directory(tmp_path), shots=5)
    start = time.perf_counter()
    requests = MMLU.requests(data, Prompting(shots=5))
    assert time.perf_counter() - start < 2.0
    assert len(requests) == 57 * 247


def test_shots_that_were_not_read_are_refused(tmp_path: Path) -> None:
    write_mmlu(tmp_path, "test", "law", [ROW])
    data = MMLU.read(directory(tmp_path))
    with pytest.raises(ConfigError, match="read the data with shots=5"):
        MMLU.requests(data, Prompting(shots=5))


def hub_row(question: str, subject: str, answer: int) -> dict[str, object]:
    return {"question": question, "subject": subject, "choices": ["None", "4", "c", "d"], "answer": answer}


def test_the_hub_schema_gives_the_same_examples_as_the_files(tmp_path: Path, datasets_cache: Path) -> None:
    rows = [("art one", "art", "A"), ("law one", "law", "D"), ("law two", "law", "B")]
    hub = [hub_row(q, s, "ABCD".index(a)) for q, s, a in rows]
    write_hub(tmp_path / "hub", "cais/mmlu", {"all": {"test": hub, "validation": hub[:2], "dev": hub[:1]}})
    for subject in ("art", "law"):
        write_mmlu(tmp_path, "test", subject, [(q, "None", "4", "c", "d", a) for q, s, a in rows if s == subject])
    write_mmlu(tmp_path, "dev", "art", [("art one", "None", "4", "c", "d", "A")])
    source = DataSource(kind="hub", path=str(tmp_path / "hub"))
    hub_data, file_data = MMLU.read(source, shots=1), MMLU.read(directory(tmp_path), shots=1)
    assert hub_data.examples == file_data.examples
    assert hub_data.shots["art"][0].body == file_data.shots["art"][0].body
    assert hub_data.fingerprint == file_data.fingerprint
    assert hub_data.shots_source == (f"{tmp_path / 'hub' / 'cais/mmlu'} (dev)",)
    assert file_data.shots_source == (str(tmp_path / "mmlu" / "dev"),)
    assert len(MMLU.read(source, split="val").examples) == 2


def test_a_hub_row_of_another_schema_is_named(tmp_path: Path, datasets_cache: Path) -> None:
    write_hub(tmp_path, "cais/mmlu", {"all": {"test": [hub_row("q", "law", 4)]}})
    with pytest.raises(DataError, match=r"row 1, field 'answer': expected an index 0-3, got 4"):
        MMLU.read(DataSource(kind="hub", path=str(tmp_path)))


@pytest.mark.parametrize("lost", ["question", "subject", "choices", "answer"])
def test_a_hub_row_without_a_field_is_named(tmp_path: Path, datasets_cache: Path, lost: str) -> None:
    row = {key: value for key, value in hub_row("q", "law", 1).items() if key != lost}
    write_hub(tmp_path, "cais/mmlu", {"all": {"test": [row]}})
    with pytest.raises(DataError, match=rf"row 1, field '{lost}': expected .*got no such field \(fields: "):
        MMLU.read(DataSource(kind="hub", path=str(tmp_path)))


@pytest.mark.parametrize("text", [b"", b"\xef\xbb\xbf", b"\n\r\n"], ids=["empty", "byte order mark", "blank lines"])
@pytest.mark.parametrize("split", ["test", "dev"])
def test_a_file_without_a_row_is_refused_and_not_passed_over(tmp_path: Path, split: str, text: bytes) -> None:
    write_mmlu(tmp_path, "test", "art", [ROW])
    write_mmlu(tmp_path, "dev", "art", [ROW])
    write_mmlu(tmp_path, split, "law", []).write_bytes(text)
    with pytest.raises(DataError, match=rf"law_{split}.csv: expected rows of question, .*remove it to leave out law"):
        MMLU.read(directory(tmp_path), shots=1)


def test_an_unreachable_hub_says_what_to_do_and_is_not_tried_for_long(
    tmp_path: Path, datasets_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the cache is looked into: `datasets` would try the hub for half a minute."""
    import datasets
    from huggingface_hub import constants

    def no_request(*_: object, **__: object) -> None:
        pytest.fail("the hub was asked again")

    monkeypatch.setattr(reading, "why_unreached", lambda: "no route to host")
    monkeypatch.setattr("huggingface_hub.file_download.get_hf_file_metadata", no_request)
    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", no_request)
    before = (constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE)
    said = r"cais/mmlu.*configuration all, split test.*not reached: no route to host\. "
    said += r"Pass --data DIR \(in Python data=DIR\).*--data sample \(data='sample'\).*HF_HUB_OFFLINE"
    with pytest.raises(DataError, match=said):
        MMLU.read(DataSource(kind="hub"))
    assert before == (constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE)


def test_the_hub_is_found_unreachable_by_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Session:
        def head(self, url: str, *, timeout: float) -> None:
            asked.append((url, timeout))
            raise ConnectionError("no route to host")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.get_session", Session)
    assert reading.why_unreached() == "no route to host"
    assert len(asked) == 1
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert reading.why_unreached() is None, "then only the cache is looked into anyway"


def test_a_hub_split_that_is_missing_is_a_data_error(tmp_path: Path, datasets_cache: Path) -> None:
    write_hub(tmp_path, "cais/mmlu", {"all": {"test": [hub_row("q", "law", 0)]}})
    with pytest.raises(DataError, match="split validation"):
        MMLU.read(DataSource(kind="hub", path=str(tmp_path)), split="val")
