"""What makes the first tier red, what narrows it, and what it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evalsuite.errors import DataError
from evalsuite.gate.compare import CaseRun
from evalsuite.gate.expected import answers_file, read_expected
from evalsuite.gate.findings import Finding, GateResult
from evalsuite.gate.report import result_lines
from evalsuite.gate.running import NOTHING, Ran, compare_run, update_expected
from tests.gate.facts_made import COUNTERS, MMLU, case, lines, ran, record, timing


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "expected.json"


def against(path: Path, before: Ran, now: Ran) -> GateResult:
    update_expected(before, path)
    return compare_run(now, path)


def only(result: GateResult) -> Finding:
    (finding,) = result.findings
    return finding


def test_the_same_run_is_green_and_says_how_much_was_compared(path: Path) -> None:
    result = against(path, ran(case("padded"), case("packed")), ran(case("packed"), case("padded")))
    assert not result.red
    assert result.compared == [f"{MMLU}[packed]", f"{MMLU}[padded]"]
    # counters, questions, three fingerprints, verdict, how it was loaded, answers
    assert result.facts == 2 * (len(COUNTERS) + 7)
    assert result_lines(result) == [
        f"green: 2 cases, 20 facts compared with {path}, nano on sample, cpu, bfloat16, 16384 tokens"
    ]


@pytest.mark.parametrize("counter", COUNTERS)
@pytest.mark.parametrize(("change", "note"), [(1, "more by "), (-1, "less by ")])
def test_a_counter_that_changed_by_one_is_red_for_better_or_worse(
    path: Path, counter: str, change: int, note: str
) -> None:
    counters = COUNTERS | {counter: COUNTERS[counter] + change}
    finding = only(against(path, ran(case()), ran(case(counters=counters))))
    assert finding.what == f"counters.{counter}"
    assert finding.note.startswith(note)


def test_a_counter_that_is_no_longer_counted_is_red(path: Path) -> None:
    fewer = {name: value for name, value in COUNTERS.items() if name != "padding_tokens"}
    finding = only(against(path, ran(case()), ran(case(counters=fewer))))
    assert (finding.what, finding.got) == ("counters.padding_tokens", "-")


def test_answers_that_changed_are_shown_both_ways_for_the_first_ten_questions(path: Path) -> None:
    before = {f"q{n:02}": "A" for n in range(14)}
    now = before | {f"q{n:02}": "B" for n in range(12)}
    finding = only(against(path, ran(case(said=lines(before))), ran(case(said=lines(now)))))
    assert (finding.what, finding.note) == ("answers", "12 of 14 answers changed")
    header, *rows, more = finding.details
    assert header.split() == ["question", "expected", "got"]
    assert [row.split() for row in rows] == [[f"q{n:02}", "'A'", "'B'"] for n in range(10)]
    assert more == "... and 2 more"


def test_one_changed_answer_is_red_although_the_verdict_is_faithful(path: Path) -> None:
    flipped = lines({"q1": "A", "q2": "B", "q3": "C", "q4": "A"})
    assert only(against(path, ran(case()), ran(case(said=flipped)))).note == "1 of 4 answers changed"


def test_without_the_answers_file_a_change_is_seen_by_its_digest(path: Path) -> None:
    update_expected(ran(case()), path)
    answers_file(path).unlink()
    assert not compare_run(ran(case()), path).red
    finding = only(compare_run(ran(case(said=lines({"q1": "A", "q2": "B", "q3": "C", "q4": "A"}))), path))
    assert finding.details == ("which ones is not known: the file of expected answers does not hold them",)


def test_of_a_large_set_the_groups_that_changed_are_told_without_the_answers_file(path: Path) -> None:
    def said(odd: str) -> list[dict[str, Any]]:
        rows = [
            {"id": f"q{n}", "prediction": "A", "logprobs": [0.0, -9.0], "group": f"set {n % 3}"} for n in range(1200)
        ]
        rows[4]["prediction"] = odd
        return rows

    update_expected(ran(case(said=said("A"))), path)
    answers_file(path).unlink()
    assert not compare_run(ran(case(said=said("A"))), path).red
    assert only(compare_run(ran(case(said=said("B"))), path)).details[1] == "groups with changed answers: set_1"


TIED = {"noise": 0.02, "margins": {"q2": 0.01}, "known": None, "problem": ""}


def test_a_near_tie_of_the_expected_run_is_listed_and_may_fall_either_way(path: Path) -> None:
    flipped = lines({"q1": "A", "q2": "C", "q3": "C", "q4": "D"})
    result = against(path, ran(case(ties=TIED)), ran(case(said=flipped, ties=TIED)))
    assert not result.red
    (facts,) = read_expected(path).settings.popitem()[1].values()
    assert facts["near_ties"] == ["q2"]


def test_a_near_tie_of_this_run_alone_excuses_nothing_and_is_named(path: Path) -> None:
    flipped = lines({"q1": "A", "q2": "C", "q3": "C", "q4": "D"})
    finding = only(against(path, ran(case()), ran(case(said=flipped, ties=TIED))))
    assert "a near tie now (margin 0.01)" in finding.details[1]
    assert not against(path, ran(case()), ran(case(ties=TIED))).red


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"verdict": {"faithful": False, "summary": "NOT FAITHFUL"}}, "verdict"),
        ({"verdict": {"faithful": None, "summary": "NOT JUDGED: no memory"}}, "verdict"),
        ({"fingerprints": {"data": "d" * 12, "prompts": "p" * 12, "model": "0" * 12}}, "weights"),
        ({"questions": 5}, "questions"),
        ({"fallbacks": [{"what": "dtype", "asked": "bfloat16", "got": "float32", "reason": "r"}]}, "steps_down"),
    ],
)
def test_what_else_changed_is_red(path: Path, change: dict[str, Any], what: str) -> None:
    assert only(against(path, ran(case()), ran(case(**change)))).what == what


def test_an_attention_that_auto_no_longer_takes_is_red_and_one_that_it_still_takes_is_no_step_down(path: Path) -> None:
    report = record()["load_report"]
    eager = {**report, "got": {**report["got"], "attention": "eager"}}
    finding = only(against(path, ran(case()), ran(case(load_report=eager))))
    assert (finding.what, finding.note) == ("loaded", "not loaded as expected")


@pytest.mark.parametrize("fingerprint", ["data", "prompts"])
def test_where_the_questions_changed_that_is_said_and_not_its_consequences(path: Path, fingerprint: str) -> None:
    other = record()["fingerprints"] | {fingerprint: "0" * 12}
    now = case(fingerprints=other, counters=COUNTERS | {"tokens_computed": 1}, said=lines({"q9": "A"}))
    result = against(path, ran(case()), ran(now))
    assert only(result).what == fingerprint
    assert result.notes == [f"{MMLU}[padded]: other questions than expected: work and answers were not compared"]


def slow(*ratios: float) -> CaseRun:
    return case(speed_up=timing(*ratios))


def test_a_floor_is_missed_by_the_lower_bound_and_not_by_the_mean(path: Path) -> None:
    update_expected(ran(slow(*[10.0] * 9)), path)  # the floor is 5
    steady, erratic = slow(*[5.5] * 9), slow(5.1, 9, 3, 9, 3, 9, 3, 9, 3)
    assert not compare_run(ran(steady), path).red
    finding = only(compare_run(ran(erratic), path))
    assert (finding.what, finding.expected) == ("speed-up", "5x at least")
    assert "over 9 rounds" in finding.note
    assert erratic.gain is not None and erratic.gain.ratio > 5 > erratic.gain.bound


def test_floors_that_nothing_was_timed_for_are_said_to_be_left_out(path: Path) -> None:
    result = against(path, ran(slow(*[10.0] * 9)), ran(case()))
    assert not result.red
    assert result.notes == ["speed-up: 1 of 1 floors not compared, since nothing was timed"]


def test_a_single_round_is_compared_as_it_is_and_said_to_be(path: Path) -> None:
    result = against(path, ran(slow(*[10.0] * 9)), ran(slow(4.0)))
    assert only(result).note == "a single round, without an interval"
    assert result.notes == [f"speed-up: without an interval, compared as it is: {MMLU}[padded]"]


def test_a_missing_case_is_red(path: Path) -> None:
    finding = only(against(path, ran(case("padded"), case("packed")), ran(case("padded"))))
    assert (finding.case, finding.what) == (f"{MMLU}[packed]", "missing")


def test_a_new_case_is_red(path: Path) -> None:
    finding = only(against(path, ran(case("padded")), ran(case("padded"), case("packed"))))
    assert (finding.case, finding.what) == (f"{MMLU}[packed]", "new")


def test_a_renamed_case_is_red_as_missing_and_new_and_guessed(path: Path) -> None:
    before, now = ran(case("padded"), case("packed")), ran(case("padded"), case("tree"))
    missing, new = against(path, before, now).findings
    assert (missing.what, missing.note, new.what) == ("missing", "renamed to test_mmlu[tree]?", "new")


def test_a_case_that_failed_or_did_not_run_is_red(path: Path) -> None:
    both = ran(case("padded"), case("packed"))
    failed = only(against(path, both, ran(case("padded"), failed={f"{MMLU}[packed]": "boom"})))
    assert (failed.what, failed.note) == ("not measured", "boom")
    stopped = ran(case("padded"))
    stopped.collected.kept.add(f"{MMLU}[packed]")
    assert only(compare_run(stopped, path)).note == "it was collected and did not run"


def test_a_case_that_this_machine_cannot_run_is_listed_and_not_missing(path: Path) -> None:
    skipped = {f"{MMLU}[packed]": "torch_compile True: no C++ compiler"}
    result = against(path, ran(case("padded"), case("packed")), ran(case("padded"), skipped=skipped))
    assert not result.red
    assert result.not_compared == {f"{MMLU}[packed]": "skipped: torch_compile True: no C++ compiler"}


def test_a_case_that_was_skipped_when_expected_is_listed_where_it_runs(path: Path) -> None:
    skipped = {f"{MMLU}[packed]": "torch_compile True: no C++ compiler"}
    result = against(path, ran(case("padded"), skipped=skipped), ran(case("padded"), case("packed")))
    assert not result.red
    assert result.not_compared == {f"{MMLU}[packed]": "skipped when this was expected: torch_compile True"}


def test_nothing_compared_is_red(path: Path) -> None:
    all_skipped = ran(skipped={f"{MMLU}[padded]": "no such thing: here"})
    assert only(against(path, ran(case()), all_skipped)).what == NOTHING
    assert NOTHING in [finding.what for finding in compare_run(ran(deselected=[f"{MMLU}[padded]"]), path).findings]


def test_a_setting_without_expectations_is_red_and_names_those_there_are(path: Path) -> None:
    update_expected(ran(case()), path)
    setting, nothing = compare_run(ran(case(), shots=5), path).findings
    assert setting.got == "nano on sample, cpu, bfloat16, 16384 tokens, 5 shots"
    assert setting.expected == "nano on sample, cpu, bfloat16, 16384 tokens"
    assert nothing.what == NOTHING


@pytest.mark.parametrize(
    ("narrowed", "said"),
    [
        ({"deselected": [f"{MMLU}[packed]"]}, "1 deselected"),
        ({"paths": [f"{MMLU}[padded]"]}, "1 outside of the given paths"),
    ],
)
def test_what_was_not_selected_is_not_missing_and_is_told(path: Path, narrowed: dict[str, Any], said: str) -> None:
    result = against(path, ran(case("padded"), case("packed")), ran(case("padded"), **narrowed))
    assert not result.red
    assert result.notes == [f"narrowed to 1 of 2 expected cases: {said}"]


def test_under_a_limit_answers_to_the_same_questions_are_compared_and_work_is_not(path: Path) -> None:
    update_expected(ran(case(speed_up=timing(*[10.0] * 9))), path)
    few = {"questions": 2, "counters": COUNTERS | {"tokens_computed": 9}, "speed_up": timing(*[2.0] * 9)}
    result = compare_run(ran(case(said=lines({"q1": "A", "q3": "C"}), **few), limit=2), path)
    assert not result.red
    assert result.notes[0].startswith("narrowed by a limit: ")
    finding = only(compare_run(ran(case(said=lines({"q1": "A", "q3": "B"}), **few), limit=2), path))
    assert (finding.what, finding.note) == ("answers", "1 of 2 answers changed")
    answers_file(path).unlink()
    nothing = only(compare_run(ran(case(said=lines({"q1": "A"}), **few), limit=2), path))
    assert (nothing.what, nothing.got) == ("answers", "none")


def test_a_limit_with_expectations_of_its_own_is_compared_whole(path: Path) -> None:
    update_expected(ran(case()), path)
    update_expected(ran(case(said=lines({"q1": "A"}), questions=1), limit=1), path)
    now = case(said=lines({"q1": "A"}), questions=1, counters=COUNTERS | {"forward_passes": 4})
    assert only(compare_run(ran(now, limit=1), path)).what == "counters.forward_passes"


@pytest.mark.parametrize("text", ["", "[]", '{"format": 2}', '{"format": 1, "s": []}', '{"format": 1, "s": {"x": 1}}'])
def test_a_file_that_cannot_be_what_was_written_is_refused(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(DataError, match="expected"):
        read_expected(path)


def test_no_file_says_how_to_make_one(path: Path) -> None:
    with pytest.raises(DataError, match="--update-expected"):
        compare_run(ran(case()), path)


def test_the_file_is_one_fact_a_line_sorted_and_the_same_when_written_again(path: Path) -> None:
    update_expected(ran(case("padded"), case("packed")), path)
    written = path.read_text()
    rows = [line for line in written.splitlines() if line.startswith("  ")]
    assert rows == sorted(rows)
    assert f'  "{MMLU}[packed] counters.tokens_computed": 600,' in rows
    assert len(rows) == 2 * (len(COUNTERS) + 7)
    assert json.loads(written)["format"] == 1
    update_expected(ran(case("packed"), case("padded")), path)
    assert path.read_text() == written
    assert list(json.loads(answers_file(path).read_text()).values()) == [{"q1": "A", "q2": "B", "q3": "C", "q4": "D"}]


def test_vietnamese_stays_readable_and_what_utf8_cannot_hold_survives(path: Path) -> None:
    said = {"q1": "Hà Nội", "q2": "\ud800", "q3": "a\u2028b"}
    update_expected(ran(case(said=lines(said))), path)
    assert "Hà Nội" in answers_file(path).read_text(encoding="utf-8")
    assert list(read_expected(path).answers.values()) == [said]
    assert not compare_run(ran(case(said=lines(said))), path).red


def test_updating_keeps_other_settings_and_unselected_cases_and_drops_what_is_gone(path: Path) -> None:
    update_expected(ran(case("padded"), case("packed")), path)
    update_expected(ran(case("padded"), shots=5), path)
    said = update_expected(ran(case("padded"), deselected=[f"{MMLU}[packed]"]), path)
    assert said[-1] == "2 cases expected; 0 added, 0 changed, 0 removed"
    said = update_expected(ran(case("padded", questions=3)), path)
    assert said[-3:-1] == [f"changed: {MMLU}[padded]", f"removed: {MMLU}[packed]"]
    assert [len(cases) for cases in read_expected(path).settings.values()] == [1, 1]


def test_updating_leaves_failed_and_skipped_cases_as_they_were_and_says_so(path: Path) -> None:
    update_expected(ran(case("padded"), case("packed")), path)
    before = path.read_text()
    said = update_expected(ran(failed={f"{MMLU}[padded]": "boom"}, skipped={f"{MMLU}[packed]": "x y: z"}), path)
    assert path.read_text() == before
    assert sum("left as it was" in line for line in said) == 2


def test_floors_are_half_the_gain_are_never_raised_and_are_lowered_aloud(path: Path) -> None:
    def floor() -> float | None:
        ((facts,),) = [cases.values() for cases in read_expected(path).settings.values()]
        return facts.get("floor")

    update_expected(ran(case()), path)
    assert floor() is None  # nothing was timed
    update_expected(ran(slow(*[14.19] * 9)), path)
    assert floor() == 7
    said = update_expected(ran(slow(*[30.0] * 9)), path)
    assert floor() == 7
    assert any("floor kept at 7x; by this run it would be 15x" in line for line in said)
    update_expected(ran(case()), path)
    assert floor() == 7
    said = update_expected(ran(slow(*[6.0] * 9)), path)
    assert floor() == 3
    assert any("floor LOWERED from 7x to 3x" in line for line in said)
