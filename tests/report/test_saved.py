"""Which runs are read, and which of their cases are shown."""

from __future__ import annotations

import json

import pytest

from evalsuite.errors import DataError
from evalsuite.report.saved import read_saved, shown
from tests.report.making import record, write_run

OLD, NEW = "20260101-000000-nano-1", "20260102-000000-nano-2"


def test_runs_are_in_the_order_in_which_they_began_and_each_is_there_once(tmp_path):
    new = write_run(tmp_path, {"test_mmlu[padded]": record("test_mmlu[padded]")}, name=NEW)
    write_run(tmp_path, {}, name=OLD)
    runs = read_saved([new, tmp_path, new / "summary.json"])
    assert [saved.run.name for saved in runs.runs] == [OLD, NEW]


def test_of_records_with_as_many_questions_the_newest_is_shown_and_all_are_history(tmp_path):
    for name, passes in ((OLD, 1), (NEW, 2)):
        counters = record("")["counters"] | {"forward_passes": passes}
        write_run(tmp_path, {"test_mmlu[padded]": record("test_mmlu[padded]", counters=counters)}, name=name)
    write_run(
        tmp_path, {"test_viquad[padded]": record("test_viquad[padded]", task="viquad")}, name="20251231-000000-x-1"
    )
    page = shown(read_saved([tmp_path]))
    assert {case.label: case.record["counters"]["forward_passes"] for case in page.cases} == {
        "test_viquad[padded]": 1,
        "test_mmlu[padded]": 2,
    }
    history = page.history["test_mmlu[padded]"]
    assert {index: made["counters"]["forward_passes"] for index, made in history.items()} == {1: 1, 2: 2}
    assert page.older == []


def test_a_trial_with_fewer_questions_takes_no_full_run_s_place_and_is_history(tmp_path):
    full = {name: record(name, questions=120) for name in ("test_mmlu[padded]", "test_mmlu[packed]")}
    trial = record("test_mmlu[padded]", questions=10, left_out=110)
    write_run(tmp_path, full, name=OLD)
    write_run(tmp_path, {"test_mmlu[padded]": trial}, name=NEW)
    page = shown(read_saved([tmp_path]))
    assert {case.label: case.record["questions"] for case in page.cases} == {
        "test_mmlu[padded]": 120,
        "test_mmlu[packed]": 120,
    }
    assert {index: made["questions"] for index, made in page.history["test_mmlu[padded]"].items()} == {0: 120, 1: 10}
    assert page.older == ["test_mmlu[padded]"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ""),
        ({"left_out": 116}, "4 of 120 (--limit)"),
        ({"questions_in_data": 1200}, "4 of 1,200 (--reference-limit)"),
        ({"questions_in_data": 10, "left_out": 110}, "4 of 120 (--limit, --reference-limit)"),
    ],
)
def test_a_case_says_by_which_option_it_was_narrowed(tmp_path, changes, words):
    run = write_run(tmp_path, {"test_mmlu[padded]": record("test_mmlu[padded]", **changes)})
    (case,) = shown(read_saved([run])).cases
    assert case.narrowed == words


def test_runs_without_answers_are_not_counted_but_named(tmp_path):
    write_run(tmp_path, {}, name=OLD)
    write_run(tmp_path, {"test_mmlu[padded]": record("test_mmlu[padded]")}, name=NEW)
    page = shown(read_saved([tmp_path]))
    assert [saved.run.name for saved in page.runs] == [NEW]
    assert [saved.run.name for saved in page.unanswered] == [OLD]
    assert page.in_words == "1 run"


def test_folders_of_the_workers_of_one_call_are_one_run(tmp_path):
    for number, session in enumerate(("a", "a", "b", None, None)):
        write_run(tmp_path, {"x": record("x")}, name=f"2026010{number + 1}-000000-nano-1", session=session)
    assert shown(read_saved([tmp_path])).in_words == "4 runs in 5 folders"


def test_the_same_case_of_two_models_is_two(tmp_path):
    for name, changes in ((OLD, {}), (NEW, {"config": {"checkpoint": "step_500"}})):
        write_run(tmp_path, {"test_mmlu[padded]": record("test_mmlu[padded]", **changes)}, name=name)
    labels = [case.label for case in shown(read_saved([tmp_path])).cases]
    assert labels == ["test_mmlu[padded] · nano", "test_mmlu[padded] · nano (step_500)"]


def test_what_evaluates_no_task_is_named_and_not_shown(tmp_path):
    write_run(tmp_path, {"test_loading": {"seconds": [1.0]}, "test_mmlu[padded]": record("test_mmlu[padded]")})
    page = shown(read_saved([tmp_path]))
    assert [case.label for case in page.cases] == ["test_mmlu[padded]"]
    assert page.others == ["test_loading"]


def test_what_pytest_benchmark_saved_is_a_run_too(tmp_path):
    saved = tmp_path / "0001_run.json"
    rows = [{"name": "test_mmlu[padded]", "extra_info": record("test_mmlu[padded]")}]
    saved.write_text(json.dumps({"datetime": "2026-01-01T00:00:00+00:00", "benchmarks": rows}))
    (run,) = read_saved([saved]).runs
    assert (run.run.name, run.began.year, list(run.run.cases)) == ("0001_run", 2026, ["test_mmlu[padded]"])


@pytest.mark.parametrize("content", [None, "", "{}", '{"benchmarks": [{}]}'])
def test_another_file_is_an_error_that_names_it(tmp_path, content):
    path = tmp_path / "other.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=r"other\.json"):
        read_saved([path])


def test_a_folder_without_runs_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"summary\.json"):
        read_saved([tmp_path])
