"""Grades on disk: appended one by one, found again by what they depend on, safe from a torn end."""

import json
import logging
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalsuite.errors import ConfigError
from evalsuite.judge.store import GradeStore, KeptGrade, prompt_key, store_file

ABOUT = {"kind": "endpoint", "model": "Qwen/Qwen2.5-7B-Instruct", "prompt": "viquad-1", "prompt_hash": "abc"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return store_file(tmp_path / "grades", "judge-viquad-1", ABOUT)


def filled(path: Path, *keys: str) -> GradeStore:
    store = GradeStore(path, ABOUT)
    for key in keys:
        store.add(key, KeptGrade(value=0.5, reply="0,5"))
    return store


def test_a_grade_is_in_the_file_as_soon_as_it_is_given_and_found_by_the_next_run(path: Path) -> None:
    filled(path, "a", "b")
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"about": ABOUT},
        {"key": "a", "value": 0.5, "reply": "0,5"},
        {"key": "b", "value": 0.5, "reply": "0,5"},
    ]
    again = GradeStore(path, ABOUT)
    assert (len(again), again.get("a"), again.get("c")) == (2, KeptGrade(value=0.5, reply="0,5"), None)


def test_a_torn_last_line_costs_that_grade_alone_and_is_told(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    filled(path, "a", "b")
    path.write_bytes(path.read_bytes()[:-12])
    with caplog.at_level(logging.WARNING, logger="evalsuite"):
        store = filled(path, "c")
    assert "1 damaged lines are left out" in caplog.text
    assert (store.get("a") is not None, store.get("b")) == (True, None)
    caplog.clear()
    again = GradeStore(path, ABOUT)  # the damage stays, and nothing that was appended after it is lost
    assert (len(again), again.get("c") is not None) == (2, True)


@pytest.mark.parametrize(
    "line",
    [
        '{"key": "x", "value": null, "reply": ""}',
        '{"key": "x", "value": 1.5, "reply": "1.5"}',
        '{"key": "x", "value": NaN, "reply": "nan"}',
        '{"key": "x", "value": true, "reply": ""}',
        '{"key": 1, "value": 1, "reply": ""}',
        "[]",
        "not JSON",
    ],
    ids=["null", "above", "nan", "bool", "key", "list", "text"],
)
def test_a_line_that_is_no_grade_is_never_read_as_one(path: Path, line: str, caplog: pytest.LogCaptureFixture) -> None:
    filled(path, "a")
    with path.open("a") as file:
        file.write(line + "\n")
    assert len(GradeStore(path, ABOUT)) == 1
    assert "damaged" in caplog.text


@pytest.mark.parametrize("changed", ABOUT)
def test_another_judge_or_wording_has_another_file(tmp_path: Path, changed: str) -> None:
    other = ABOUT | {changed: ABOUT[changed] + "x"}
    assert store_file(tmp_path, "judge", ABOUT) != store_file(tmp_path, "judge", other)


def test_several_writers_of_one_file_lose_nothing(tmp_path: Path) -> None:
    for repeat in range(20):  # what they begin with, too: the first lines are a race
        path = tmp_path / f"{repeat}.jsonl"
        together = threading.Barrier(4)

        def write(start: int, path: Path = path, together: threading.Barrier = together) -> None:
            together.wait()
            filled(path, *(f"{start}/{n}" for n in range(5)))

        threads = [threading.Thread(target=write, args=(start,)) for start in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(GradeStore(path, ABOUT)) == 20


def test_without_a_folder_grades_are_kept_in_memory() -> None:
    store = GradeStore(None, ABOUT)
    store.add("a", KeptGrade(value=1.0, reply="1"))
    assert store.get("a") == KeptGrade(value=1.0, reply="1")


def test_a_folder_that_cannot_be_made_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "grades").write_text("in the way")
    with pytest.raises(ConfigError, match=r"expected a folder that can be written to.*choose another place"):
        GradeStore(tmp_path / "grades" / "x.jsonl", ABOUT)


@given(st.text(), st.floats(0, 1), st.text(alphabet=st.characters(), max_size=50))
def test_every_grade_comes_back_as_it_was(tmp_path_factory, key: str, value: float, reply: str) -> None:
    path = tmp_path_factory.mktemp("grades") / "x.jsonl"
    key = prompt_key(key)
    GradeStore(path, ABOUT).add(key, KeptGrade(value=value, reply=reply))
    kept = GradeStore(path, ABOUT).get(key)
    assert kept == KeptGrade(value=value, reply=reply.encode("utf-8", "replace").decode())
