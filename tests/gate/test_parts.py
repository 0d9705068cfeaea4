"""The gate's pure parts: settings, margins, selection, saved runs, times, reports."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalsuite.config import ExecutionOptions, InferenceConfig
from evalsuite.errors import ConfigError
from evalsuite.gate.facts import digest, read_answers, setting, without_limits
from evalsuite.gate.findings import Finding, GateResult
from evalsuite.gate.floors import Gain, next_floor
from evalsuite.gate.margins import choice_margin, generation_margin
from evalsuite.gate.options import read_gate_options
from evalsuite.gate.report import junit, markdown, write_report
from evalsuite.gate.saved import SavedRuns, compare_findings, other_work_lines
from evalsuite.gate.selection import OUTSIDE, Collected, scope_of, why_not_expected
from evalsuite.gate.times import judge_times
from evalsuite.gate.work import differences, work_of
from evalsuite.generation.teacher_forcing import TeacherForced
from evalsuite.measure.stats import bootstrap_interval
from evalsuite.types import ChoiceScores, Generation
from tests.gate.facts_made import COUNTERS, MMLU, lines, options, record

ROOT = Path("/project")
ALL = scope_of(["benchmarks"], root=ROOT, called_from=ROOT)


def test_a_setting_names_what_changes_counters_and_leaves_out_what_is_at_its_default() -> None:
    assert setting(options(), "cpu") == "nano on sample, cpu, bfloat16, 16384 tokens"
    odd = options(
        config=InferenceConfig(model="Qwen/Qwen3-4B", dtype="float16", attention="sdpa", torch_compile=True),
        execution=ExecutionOptions(batch_size=8, token_budget=4096, kv_cache=False),
        data="hub",
        shots=5,
        limit=50,
        reference_limit=256,
    )
    assert setting(odd, "cuda:1") == (
        "Qwen/Qwen3-4B on hub, cuda, float16, 4096 tokens, attention sdpa, compiled, batch size 8, no kv cache, "
        "5 shots, limit 50"
    )


def test_a_setting_names_how_tokens_are_drawn_where_they_are() -> None:
    drawn = ExecutionOptions(temperature=0.8, top_p=0.9, top_k=50, sampling_seed=7, ignore_eos=True)
    assert setting(options(execution=drawn), "cpu").endswith(
        ", past the end of sequence, temperature 0.8, top p 0.9, top k 50, sampling seed 7"
    )
    kept = ExecutionOptions(top_p=0.9, memory_fraction=0.5, kv_cache_dtype="int8")
    assert setting(options(execution=kept), "cuda").endswith(" tokens, memory fraction 0.5, kv cache int8")


def test_the_wider_setting_has_no_limits() -> None:
    assert setting(without_limits(options(limit=3, reference_limit=2)), "cpu") == setting(options(), "cpu")


@given(st.dictionaries(st.text(), st.text(), max_size=5), st.randoms())
def test_a_digest_depends_on_every_answer_and_not_on_their_order(answers: dict[str, str], random: object) -> None:
    shuffled = list(answers.items())
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert digest(dict(shuffled)) == digest(answers)
    for id_ in answers:
        assert digest(answers | {id_: answers[id_] + "x"}) != digest(answers)


def test_the_margin_of_a_choice_is_to_the_next_best() -> None:
    assert choice_margin(ChoiceScores(id="q", logprobs=(-3.0, -1.0, -1.25))) == pytest.approx(0.25)
    assert choice_margin(ChoiceScores(id="q", logprobs=(-3.0,))) == math.inf


def test_the_margin_of_a_text_is_that_of_its_closest_token() -> None:
    answer = Generation(id="q", text="", token_ids=(5, 6), logprobs=(-0.1, -0.2), finish_reason="eos")
    forced = TeacherForced(id="q", logprobs=(-0.1, -0.9), best=({5: -0.1, 9: -4.0}, {7: -0.7, 6: -0.9}))
    assert generation_margin(answer, forced) == pytest.approx(0.2)


def test_the_margin_of_a_drawn_text_is_that_of_the_draw_closest_to_another_token() -> None:
    answer = Generation(id="q", text="", token_ids=(5, 6), logprobs=(-0.1, -0.2), finish_reason="eos")
    reach = ({5: 0.0, 9: 0.5}, {6: 0.25, 7: 0.125})  # fp32 draws neither 6 nor 7 there
    forced = TeacherForced(id="q", logprobs=(-0.1, -0.9), best=({5: -0.1}, {6: -0.9}), reach=reach)
    assert generation_margin(answer, forced) == 0.25


def test_beyond_the_reference_a_choice_is_tied_within_twice_the_noise_by_its_own_margin() -> None:
    ties = {"noise": 0.1, "margins": {"q1": 0.05}, "known": ["q1", "q2"], "problem": ""}
    answers = read_answers(lines(q1=[0, -9], q2=[0, -0.01], q3=[0, -0.19], q4=[0, "-inf"]), ties)
    assert answers.near_ties == {"q1": 0.05, "q3": pytest.approx(0.19)}
    assert answers.by_id.keys() == {"q2", "q4"}


def test_a_generated_answer_without_a_margin_is_counted_and_left_out() -> None:
    said = [{"id": id_, "group": "g", "prediction": "", "text": "t"} for id_ in ("q1", "q2")]
    answers = read_answers(said, {"noise": 0.1, "margins": {}, "known": ["q1"], "problem": ""})
    assert (answers.by_id, answers.unknown) == ({"q1": "t"}, 1)


@pytest.mark.parametrize(
    ("arguments", "covered"),
    [
        (["benchmarks"], True),
        (["."], True),
        (["benchmarks/test_mmlu.py"], True),
        (["benchmarks/test_mmlu.py::test_mmlu"], True),
        (["benchmarks/test_mmlu.py::test_mmlu[padded]"], True),
        (["benchmarks/test_mmlu.py::test_mmlu[packed]"], False),
        (["benchmarks/test_mmlu.py::test_mm"], False),
        (["benchmarks/test_vmlu.py"], False),
        (["bench"], False),
        (["tests", "benchmarks"], True),
    ],
)
def test_a_case_is_expected_where_the_arguments_reach_it(arguments: list[str], covered: bool) -> None:
    scope = scope_of(arguments, root=ROOT, called_from=ROOT)
    assert scope.covers(f"{MMLU}[padded]") is covered
    assert why_not_expected(f"{MMLU}[padded]", Collected(), scope) == (None if covered else OUTSIDE)


def test_ignored_files_are_not_expected_and_paths_count_from_where_pytest_was_called() -> None:
    below = ROOT / "benchmarks"
    assert scope_of(["test_mmlu.py"], root=ROOT, called_from=below).covers(f"{MMLU}[padded]")
    ignoring = scope_of(["benchmarks"], root=ROOT, called_from=ROOT, ignored=["benchmarks/test_mmlu.py"])
    assert not ignoring.covers(f"{MMLU}[padded]")
    globbed = scope_of(["benchmarks"], root=ROOT, called_from=ROOT, ignored_globs=["benchmarks/test_m*"])
    assert not globbed.covers(f"{MMLU}[padded]")


def saved(*cases: str, cpu: str = "one", node: str = "a", did: Mapping[str, Any] | None = None) -> SavedRuns:
    """A saved run of cases whose records are all `did`."""

    def machine(brand: str, name: str) -> dict[str, object]:
        return {"node": name, "system": "Linux", "machine": "x86_64", "cpu": {"brand_raw": brand, "count": 2}}

    runs = SavedRuns()
    benchmarks = [{"fullname": case, "extra_info": did or {}} for case in cases]
    runs.add(machine("one", "b"), {"machine_info": machine(cpu, node), "benchmarks": benchmarks})
    return runs


def timed(*cases: str, **changes: Any) -> dict[str, Mapping[str, Any]]:
    """Cases of this run whose records differ so from the usual one; without changes they record nothing."""
    return {case: work_of(record(**changes) if changes else {}) for case in cases}


def test_a_comparison_with_no_saved_run_is_red() -> None:
    ((finding,), _) = compare_findings(SavedRuns(), timed("f::a"), Collected(kept={"f::a"}), ALL)
    assert (finding.expected, finding.got) == ("a saved run", "none")


def test_a_comparison_with_another_machine_is_red_and_with_another_name_of_it_is_not() -> None:
    collected = Collected(kept={"f::a"})
    ((finding,), _) = compare_findings(saved("f::a", cpu="other"), timed("f::a"), collected, ALL)
    assert finding.got == "saved on Linux, x86_64, other, 2"
    assert compare_findings(saved("f::a", node="z"), timed("f::a"), collected, ALL) == ([], [])


def test_a_renamed_case_that_was_compared_with_nothing_is_red_and_a_new_one_is_noted() -> None:
    old, kept, new = (f"{MMLU}[{name}]" for name in ("old", "kept", "new"))
    collected = Collected(kept={kept, new})
    ((finding,), _) = compare_findings(saved(old, kept), timed(kept, new), collected, ALL)
    assert finding.case == new
    assert finding.note == f"it may be the saved {old} under another name"
    assert compare_findings(saved(kept), timed(kept, new), collected, ALL)[0] == []
    narrowed = Collected(kept={kept, new}, deselected={old})
    assert compare_findings(saved(old, kept), timed(kept, new), narrowed, ALL)[0] == []


def test_a_comparison_with_none_of_the_cases_is_red() -> None:
    findings, _ = compare_findings(saved("x::a"), timed(f"{MMLU}[a]"), Collected(kept={f"{MMLU}[a]"}), ALL)
    assert [finding.note for finding in findings] == ["nothing was compared"]


PRINTS = {"data": "d" * 12, "prompts": "p" * 12, "model": "w" * 12}
LOADED = {"device": "cuda:0", "dtype": "bfloat16", "attention": "sdpa", "torch_compile": "off"}


@pytest.mark.parametrize(
    ("was", "now", "told"),
    [
        (record(), record(questions=2), [("questions", 4, 2)]),
        (
            record(),
            record(questions=2, fingerprints=PRINTS | {"data": "e", "prompts": "q"}, counters={"distinct_tokens": 9}),
            [("questions", 4, 2)],
        ),
        (record(), record(fingerprints=PRINTS | {"data": "e", "prompts": "q"}), [("data", "d" * 12, "e")]),
        (record(), record(fingerprints=PRINTS | {"prompts": "q"}), [("prompts", "p" * 12, "q")]),
        (record(), record(fingerprints=PRINTS | {"model": "x"}), [("weights", "w" * 12, "x")]),
        (
            record(),
            record(load_report={"got": LOADED | {"dtype": "float32"}}),
            [("device", "cpu", "cuda"), ("dtype", "bfloat16", "float32")],
        ),
        (
            record(load_report={"got": LOADED}, versions={"device_name": "A"}),
            record(load_report={"got": LOADED | {"device": "cuda:1"}}, versions={"device_name": "B"}),
            [("GPU", "A", "B")],
        ),
        (record(counters={"distinct_tokens": 8}), record(counters={"distinct_tokens": 9}), []),
        (record(tokens=512), record(tokens=2048), [("tokens", 512, 2048)]),
        (record(), {"not_measured": "no room"}, [("measured", "yes", "no: no room")]),
        ({"model": "a"}, {"questions": 4, "model": "a"}, [("questions", None, 4)]),
        ({"counts": {"one": 3.5, "two": 8}}, {"counts": {"one": 2, "two": 9}}, [("questions", 8, 9)]),
        ({"model": "a", "got": LOADED}, {"model": "b", "got": LOADED}, [("model", "a", "b")]),
    ],
    ids=[
        *("questions", "what follows from them", "data", "prompts", "weights", "device and dtype", "GPU"),
        *("tokens computed", "tokens", "not measured", "not recorded", "several ways", "model"),
    ],
)
def test_other_work_is_told_by_what_was_recorded(was: Any, now: Any, told: list[tuple[str, Any, Any]]) -> None:
    assert differences(work_of(was), work_of(now)) == told


def test_fewer_tokens_computed_for_the_same_tokens_are_the_same_work_and_so_is_another_path_to_the_model() -> None:
    faster = record(counters=COUNTERS | {"tokens_computed": 1, "padding_tokens": 0}, model="/elsewhere")
    assert differences(work_of(record()), work_of(faster)) == []
    assert work_of({"fingerprints": 1, "counts": [], "load_report": {"got": None}}) == {}  # another plugin's


def test_a_case_that_did_other_work_is_red_under_a_gate_and_a_line_without_one() -> None:
    same, *cases = (f"{MMLU}[{n}]" for n in range(5))
    runs, now = saved(same, *cases, did=record()), timed(same, questions=4) | timed(*cases, questions=4_000)
    findings, notes = compare_findings(runs, now, Collected(kept=set(now)), ALL)
    assert [finding.case for finding in findings] == cases
    assert (findings[0].expected, findings[0].got) == ("questions 4", "questions 4,000")
    assert findings[0].note == "other work than in the saved run: not comparable"
    assert notes == []
    listed = "; ".join(f"test_mmlu[{n}] (questions 4, now 4,000)" for n in (1, 2, 3))
    assert other_work_lines(runs, now) == [f"other work than in the saved run: {listed}; and 1 more: not comparable"]
    assert other_work_lines(runs, timed(same, questions=4)) == []


def test_of_several_saved_runs_one_of_other_work_is_enough() -> None:
    runs = saved("f::a", did=record())
    runs.add({}, {"machine_info": {}, "benchmarks": [{"fullname": "f::a", "extra_info": record(questions=9)}]})
    assert runs.other_work(timed("f::a", questions=4)) == {"f::a": [("questions", 9, 4)]}


def test_a_floor_of_a_slow_optimisation_may_be_below_one() -> None:
    assert next_floor(None, Gain(ratio=1.3, bound=1.19, rounds=9, paired=True)) == 0.59
    assert next_floor(0.5, None) == 0.5


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=5))
def test_a_bootstrap_interval_lies_within_the_values_and_is_the_same_each_time(values: list[float]) -> None:
    low, high = bootstrap_interval(values)
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9
    assert bootstrap_interval(values) == (low, high)


def test_head_is_red_where_even_the_upper_end_of_its_speed_is_below_the_threshold() -> None:
    base = [{"f::same": 1.0 + n / 10, "f::slower": 1.0, "f::noisy": 1.0, "f::gone": 1.0} for n in range(7)]
    slower = [1.2, 1.22, 1.19, 1.25, 1.2, 1.18, 1.3]
    noisy = [0.5, 2.0, 0.9, 1.6, 0.7, 2.0, 1.0]
    head = [{"f::same": 1.0 + n / 10, "f::slower": slower[n], "f::noisy": noisy[n], "f::fresh": 1.0} for n in range(7)]
    result, speeds = judge_times(base, head, threshold=0.95, against="base")
    assert [finding.case for finding in result.findings] == ["f::slower"]
    assert result.findings[0].note == "slower by 20%"
    assert result.not_compared == {"f::gone": "timed by base alone", "f::fresh": "timed by head alone"}
    assert [speed.case for speed in speeds] == ["f::noisy", "f::same", "f::slower"]


HOSTILE = "<b>`x`</b> | & \x00\x1b[31m \ud800 ]]> \n# head"


@pytest.fixture
def result() -> GateResult:
    return GateResult(
        against="expected.json",
        findings=[
            Finding(case="", what="setting", expected="a", got="b"),
            Finding(case="b/f.py::t[x]", what="answers", expected=HOSTILE, got="c", note="n", details=(HOSTILE,)),
            Finding(case="b/f.py::t[x]", what="verdict", expected="faithful", got="not faithful"),
        ],
        compared=["b/f.py::t[x]", "b/f.py::t[y]"],
        not_compared={"b/f.py::t[z]": HOSTILE},
        notes=[HOSTILE],
    )


def test_junit_xml_counts_what_it_holds_and_keeps_hostile_text_as_text(result: GateResult) -> None:
    suite = ElementTree.fromstring(junit(result)).find("testsuite")
    assert suite is not None
    cases = suite.findall("testcase")
    assert [(case.get("classname"), case.get("name")) for case in cases] == [
        ("gate", "the run"),
        *(("b/f.py", f"t[{name}]") for name in "xyz"),
    ]
    assert [len(case.findall("failure")) for case in cases] == [1, 2, 0, 0]
    assert [len(case.findall("skipped")) for case in cases] == [0, 0, 0, 1]
    counts = {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "4", "failures": "2", "errors": "0", "skipped": "1"}
    assert "<b>`x`</b> | & \\u0000\\u001b[31m \\ud800 ]]>" in (cases[1].findall("failure")[0].text or "")


def test_markdown_is_one_table_and_keeps_hostile_text_as_text(result: GateResult) -> None:
    text = markdown(result)
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == 5
    assert all(line.replace("\\|", "").count("|") == 6 for line in table)
    assert not any(line.startswith("# head") for line in text.splitlines())
    assert "<b>" not in "\n".join(line for line in text.replace("\\<", "").splitlines() if not line.startswith("    "))


@pytest.mark.parametrize("name", ["gate.xml", "gate.md"])
def test_reports_are_written_by_their_suffix(result: GateResult, tmp_path: Path, name: str) -> None:
    write_report(tmp_path / "new" / name, result)
    assert (tmp_path / "new" / name).read_text().startswith("<?xml" if name.endswith("xml") else "## evalsuite gate")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="expected to write it"):
        write_report(tmp_path / "file" / name, result)


OFF = {
    "--gate": False, "--update-expected": False, "--expected": None, "--gate-report": [], "benchmark_disable": False,
    "benchmark_skip": False, "benchmark_compare": None, "benchmark_compare_fail": [],
}  # fmt: skip


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"--gate": True, "--update-expected": True}, "without --update-expected"),
        ({"--expected": "e.json"}, "expected --gate or --update-expected"),
        ({"--gate-report": ["a.md"]}, "expected --gate beside it"),
        ({"--gate": True, "--gate-report": ["a.txt"]}, r"ends in .xml or .md; got .*a.txt"),
        ({"--gate": True, "benchmark_compare": True, "benchmark_disable": True}, "--benchmark-compare: nothing is"),
        ({"--gate": True, "benchmark_compare_fail": ["min:5%"]}, "expected --benchmark-compare beside it"),
        ({"--gate": True, "benchmark_compare_fail": ["min:5%"], "benchmark_skip": True}, "nothing is timed"),
    ],
)  # fmt: skip
def test_options_that_could_only_pass_in_silence_are_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_gate_options((OFF | given).__getitem__, root=ROOT, called_from=ROOT)
