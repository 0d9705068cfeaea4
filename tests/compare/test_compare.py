"""`evalsuite compare`: the same questions are paired and tested, everything else is left out aloud or refused."""

from __future__ import annotations

import json
import random
import re
import statistics
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from evalsuite.cli import main
from evalsuite.compare.comparing import Comparison, compare
from evalsuite.compare.opening import open_side
from evalsuite.compare.settings import subject
from evalsuite.config import ExecutionOptions
from evalsuite.errors import DataError
from evalsuite.measure.timing import timing_subset
from tests.compare.making import answers, question, write_run

MMLU = "test_mmlu[padded]"


def compared(a: Path, b: Path, **settings: Any) -> Comparison:
    return compare(open_side(str(a)), open_side(str(b)), **settings)


def two(tmp_path: Path, a: Any, b: Any, record_b: Any = None, record_a: Any = None) -> tuple[Path, Path]:
    """Two runs of one case."""
    one = write_run(tmp_path / "a", {MMLU: a}, {MMLU: record_a or {}})
    return one, write_run(tmp_path / "b", {MMLU: b}, {MMLU: record_b or {}})


def test_right_and_wrong_answers_are_tested_by_mcnemar_and_each_change_is_listed(tmp_path: Path) -> None:
    case = compared(*two(tmp_path, answers("A" * 12 + "BBBC"), answers("B" * 10 + "AAABBD"))).cases[0]
    row = case.rows[0]
    assert (row.metric, row.questions, row.a, row.b) == ("accuracy", 16, 12 / 16, 3 / 16)
    assert row.effect.value == pytest.approx(-9 / 16)
    assert row.effect.p == pytest.approx(2 * (1 + 11) / 2**11)  # 1 of 11 discordant questions was won
    assert [case.count(outcome) for outcome in ("won", "lost", "even")] == [1, 10, 1]
    assert [(c.id, c.a, c.b, c.outcome) for c in case.changes][-2:] == [
        ("q/12", "B", "A", "won"),
        ("q/15", "C", "D", "even"),
    ]


def test_a_run_against_itself_differs_in_nothing(tmp_path: Path) -> None:
    run, _ = two(tmp_path, answers("ABAB"), answers(""))
    comparison = compared(run, run)
    (row,) = comparison.cases[0].rows
    assert (row.effect.value, row.effect.p, row.p_holm) == (0.0, 1.0, 1.0)
    assert comparison.cases[0].changes == ()
    assert comparison.worse == []


def test_an_option_that_an_older_run_does_not_name_was_at_its_default(tmp_path: Path) -> None:
    now = asdict(ExecutionOptions(temperature=0.8))
    pair = two(tmp_path, answers("AB"), answers("AA"), record_b={"execution": now})
    assert subject(*(open_side(str(run)).cases[MMLU] for run in pair)) == {"temperature": (0.0, 0.8)}


def test_graded_answers_and_a_judge_are_bootstrapped_and_missing_grades_left_out(tmp_path: Path) -> None:
    def line(number: int, f1: float, judge: float | None) -> dict[str, Any]:
        scores = {"exact_match": float(f1 == 1), "f1": f1}
        return question(number, f"answer {f1}", metric="exact_match", scores=scores, judge=judge)

    a = [line(n, 1.0, 0.9) for n in range(8)]
    b = [line(n, 0.5, None if n < 3 else 0.4) for n in range(8)]
    rows = {row.metric: row for row in compared(*two(tmp_path, a, b)).cases[0].rows}
    assert list(rows) == ["exact_match", "f1", "judge"]  # the task's own first
    assert [row.effect.method.split()[0] for row in rows.values()] == ["McNemar", "paired", "paired"]
    assert rows["f1"].effect.value == pytest.approx(-0.5)
    assert (rows["judge"].questions, rows["judge"].missing) == (5, 3)


def test_grades_of_another_judge_are_not_compared(tmp_path: Path) -> None:
    lines = [question(n, "A", judge=0.5) for n in range(3)]
    judges = [{"judge": {"name": name, "prompt": {"version": 1, "hash": "h"}}} for name in ("one", "other")]
    case = compared(*two(tmp_path, lines, lines, *reversed(judges))).cases[0]
    assert [row.metric for row in case.rows] == ["accuracy"]
    assert any(note.startswith("OTHER JUDGES") and "one" in note and "other" in note for note in case.notes)


def test_questions_shown_in_other_words_or_graded_otherwise_are_left_out_and_counted(tmp_path: Path) -> None:
    a = [question(n, "A") for n in range(6)]
    b = [question(0, "A", prompt="other"), question(1, "A", gold="B"), *(question(n, "A") for n in (2, 3, 9))]
    case = compared(*two(tmp_path, a, b)).cases[0]
    assert case.questions == 2
    assert "LEFT OUT: 1 shown in other words, 1 another published answer, 2 in A only, 1 in B only" in case.notes


def test_nothing_in_common_is_refused_with_what_differs(tmp_path: Path) -> None:
    other = {"prompting": {"shots": 5, "chat_template": True}, "fingerprints": {"data": "e"}}
    a, b = two(tmp_path, answers("AB"), [question(n, "A", prompt=f"p{n}") for n in range(2)], other)
    with pytest.raises(DataError, match=r"2 shown in other words; shots 0 / 5, chat template off / on, data d / e"):
        compared(a, b)
    case = compared(a, b, other_prompts=True).cases[0]
    assert case.questions == 2
    assert [note.split(":")[0] for note in case.notes] == ["NOT SET UP ALIKE", "OTHER PROMPTS"]


def test_one_refused_case_does_not_hide_the_others_but_is_no_success(tmp_path: Path) -> None:
    a = write_run(tmp_path / "a", {MMLU: answers("AB"), "test_vmlu[padded]": answers("A")})
    b = write_run(tmp_path / "b", {MMLU: answers("AB"), "test_vmlu[padded]": [question(0, "A", prompt="p")]})
    comparison = compared(a, b)
    assert [bool(case.refused) for case in comparison.cases] == [False, True]
    assert len(comparison.worse) == 1 and "test_vmlu[padded]: not compared" in comparison.worse[0]


def test_answers_without_a_published_gold_are_compared_but_not_scored(tmp_path: Path) -> None:
    a, b = ([question(n, letter, gold=None) for n in range(3)] for letter in "AB")
    case = compared(*two(tmp_path, a, b)).cases[0]
    assert (case.rows, len(case.changes)) == ((), 3)
    assert any("no published answer" in note for note in case.notes)


def test_several_rows_are_adjusted_together_and_paths_that_answer_alike_count_once(tmp_path: Path) -> None:
    same = {MMLU: answers("A" * 7), "test_mmlu[packed]": answers("A" * 7)}
    worse = {MMLU: answers("B" * 7), "test_mmlu[packed]": answers("B" * 7)}
    rows = [case.rows[0] for case in compared(write_run(tmp_path / "a", same), write_run(tmp_path / "b", worse)).cases]
    assert [row.p_holm for row in rows] == pytest.approx([2 / 2**7] * 2)
    other = {"test_vmlu[padded]": answers("AAAB")}
    three = compared(write_run(tmp_path / "c", same | other), write_run(tmp_path / "d", worse | other))
    assert [case.rows[0].p_holm for case in three.cases] == pytest.approx([4 / 2**7, 4 / 2**7, 1.0])


def test_two_strategies_of_one_run_and_what_they_are_named_by(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = {MMLU: answers("AAB"), "test_mmlu[packed]": answers("ABB"), "test_vmlu[padded]": answers("A")}
    run = write_run(tmp_path / "run", cases, {"test_mmlu[packed]": {"strategy": "packed"}})
    for call in ([f"{run}:{MMLU}", f"{run}/summary.json:packed"], [str(run), "--cases", MMLU, "packed"]):
        assert main(["compare", *call]) == 0
        out = capsys.readouterr().out
        assert "test_mmlu[padded] / test_mmlu[packed]" in out and "strategy padded / packed" in out
    assert main(["compare", str(run), "--cases", "padded", "packed"]) == 2
    assert "expected one case 'padded', found several" in capsys.readouterr().err
    assert main(["compare", str(run)]) == 2


def test_cases_of_other_names_are_paired_by_task_where_that_is_clear_and_said_alone_where_not(tmp_path: Path) -> None:
    a = write_run(tmp_path / "a", {MMLU: answers("A"), "test_vmlu[padded]": answers("A")})
    b = write_run(tmp_path / "b", {"test_mmlu[packed]": answers("A"), "test_viquad[padded]": answers("A")})
    comparison = compared(a, b)
    assert [case.name for case in comparison.cases] == ["test_mmlu[padded] / test_mmlu[packed]"]
    assert comparison.alone == ("test_vmlu[padded] is in A only", "test_viquad[padded] is in B only")
    assert comparison.worse == ["test_vmlu[padded] is in A only"]


def test_cases_alone_are_one_line_a_side_shortened_unless_all_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = [f"test_vmlu[{number}]" for number in range(14)]
    a = write_run(tmp_path / "a", {MMLU: answers("A"), **dict.fromkeys(alone, answers("A"))})
    b = write_run(tmp_path / "b", {MMLU: answers("A"), "test_viquad[x]": answers("A")})
    assert main(["compare", str(a), str(b)]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "not compared" in line]
    assert lines == [
        f"not compared, in A only (14): {', '.join(alone[:5])} and 9 more (--all shows them)",
        "not compared, in B only (1): test_viquad[x]",
    ]
    assert main(["compare", str(a), str(b), "--all"]) == 0
    assert f"not compared, in A only (14): {', '.join(alone)}\n" in capsys.readouterr().out


def test_cases_timed_on_one_side_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cases = {MMLU: answers("A"), "test_vmlu[padded]": answers("A")}
    a, b = write_run(tmp_path / "a", cases, dict.fromkeys(cases, TIMED)), write_run(tmp_path / "b", cases)
    assert main(["compare", str(a), str(b)]) == 0
    assert f"no speed, B not timed: {', '.join(cases)}\n" in capsys.readouterr().out


TIMED = {
    "timed": True,
    "questions_per_s": 1.0,
    "versions": {"processor": "p", "device": "cpu"},
    "verdict": {"compared": 10},
    "speed_up": {
        "low": 1.0,
        "path_questions": 10,
        "baseline_questions": 5,
        "baseline": {"strategy": "unbatched"},
        "path_seconds": [1.0, 1.1, 0.9],
        "baseline_seconds": [4.0, 4.4, 3.6],
    },
}


def speed_of(tmp_path: Path, record_b: Any) -> Any:
    return compared(*two(tmp_path, answers("A"), answers("A"), record_b, TIMED)).cases[0].speed


def test_speed_of_rounds_timed_with_one_baseline_is_compared_through_it(tmp_path: Path) -> None:
    """B ran while the machine was slower by half: path and baseline alike, which cancels out."""
    slowed = {k: [1.5 * s for s in TIMED["speed_up"][k]] for k in ("path_seconds", "baseline_seconds")}  # type: ignore[index]
    speed = speed_of(tmp_path, TIMED | {"speed_up": TIMED["speed_up"] | slowed})  # type: ignore[operator]
    assert speed.ratio == pytest.approx(1.0)
    assert speed.low == pytest.approx(1.0) and speed.high == pytest.approx(1.0)


def test_speed_of_other_rounds_is_compared_with_a_warning_and_an_interval(tmp_path: Path) -> None:
    other = TIMED["speed_up"] | {"path_seconds": [0.5, 0.55, 0.45], "baseline": {"strategy": "another"}}  # type: ignore[operator]
    speed = speed_of(tmp_path, TIMED | {"speed_up": other})
    assert speed.ratio == pytest.approx(2.0)
    assert 1 < speed.low < 2 < speed.high
    assert not speed.over_baseline
    assert "not timed in turns with one baseline (other baselines)" in speed.note


def test_a_speed_up_s_baseline_may_have_answered_another_number_of_the_same_questions(tmp_path: Path) -> None:
    """The number follows from how quick the baseline was while warming up. 6 questions took 6/5 of what 5 took."""
    more = {"baseline_questions": 6, "baseline_seconds": [s * 6 / 5 for s in TIMED["speed_up"]["baseline_seconds"]]}  # type: ignore[index]
    speed = speed_of(tmp_path, TIMED | {"speed_up": TIMED["speed_up"] | more})  # type: ignore[operator]
    assert speed.over_baseline
    assert speed.ratio == pytest.approx(1.0)
    assert speed.note == "of speed-ups over the baseline (unbatched), timed on 5 and 6 questions"


@pytest.mark.parametrize(
    ("record", "why"),
    [
        ({"new_tokens_per_s": 9.0}, "baselines that generate, timed on 5 and 6 questions"),
        ({"verdict": {"compared": 8}}, "baselines timed on some of 10 and of 8 questions"),
        ({"verdict": {"faithful": None}}, "baselines timed on some of 10 and of unknown questions"),
    ],
)
def test_baselines_whose_questions_may_cost_more_than_each_other_s_are_not_one(
    tmp_path: Path, record: dict[str, Any], why: str
) -> None:
    speed = speed_of(tmp_path, TIMED | record | {"speed_up": TIMED["speed_up"] | {"baseline_questions": 6}})  # type: ignore[operator]
    assert (speed.over_baseline, speed.ratio) == (False, pytest.approx(1.0))
    assert speed.note.startswith(f"not timed in turns with one baseline ({why})")


def test_what_a_ratio_of_speed_ups_is_is_said_below_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, other, said in (("one", TIMED, 1), ("none", TIMED | {"verdict": {}}, 0)):
        a, b = two(tmp_path / name, answers("A"), answers("A"), other, other)
        assert main(["compare", str(a), str(b)]) == 0
        out = capsys.readouterr().out
        assert out.count("of speed-ups over the baseline (unbatched)") == said
        assert out.count("B over A of speed-ups: ") == said


@pytest.mark.parametrize(
    ("b", "counts"),
    [
        (answers("AB"), "4 and 2, 2 shown alike"),
        ([question(number, "A") for number in range(2, 6)], "4 and 4, 2 shown alike"),
        ([question(number, "A", prompt="other" * (number == 0)) for number in range(4)], "4 and 4, 3 shown alike"),
    ],
)
def test_no_speed_is_claimed_across_questions(tmp_path: Path, b: Any, counts: str) -> None:
    speed = compared(*two(tmp_path, answers("ABAB"), b, TIMED, TIMED)).cases[0].speed
    assert speed is not None
    assert (speed.ratio, speed.note) == (None, f"no ratio: other questions ({counts})")
    assert speed.both_timed


def test_another_published_answer_makes_no_other_work(tmp_path: Path) -> None:
    b = [question(0, "A", gold="B"), question(1, "A")]
    case = compared(*two(tmp_path, answers("AA"), b, TIMED, TIMED)).cases[0]
    assert case.speed is not None and case.speed.ratio is not None
    assert case.questions == 1


@pytest.mark.parametrize("versions", [{"processor": "q", "device": "cpu"}, {"processor": "p", "device": "cuda"}])
def test_no_speed_is_claimed_across_machines(tmp_path: Path, versions: dict[str, str]) -> None:
    speed = speed_of(tmp_path, TIMED | {"versions": versions})
    assert speed.ratio is None
    assert speed.note.startswith("no ratio: timed on other machines (")


def test_no_speed_is_claimed_where_a_side_was_not_timed(tmp_path: Path) -> None:
    speed = speed_of(tmp_path, {"timed": False})
    assert (speed.ratio, speed.b_seconds, speed.note) == (None, None, "B not timed")


def test_what_is_shown_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = two(tmp_path, answers("A" * 20), answers("B" * 15 + "A" * 5), {"config": {"model": "|<b>*"}})
    page, data = tmp_path / "page.md", tmp_path / "data.json"
    assert main(["compare", str(a), str(b), "--markdown", str(page), "--json", str(data)]) == 0
    out = capsys.readouterr().out
    assert re.search(r"-0\.750 \[-0\.\d{3}, -0\.\d{3}\] +6e-05 +6e-05 +0 +15 +B worse", out)
    assert out.count("LOST") == 10
    assert "5 more questions were answered otherwise: --all shows them" in out
    assert "model nano / |<b>*" in out
    assert "&#124;&lt;b&gt;\\*" in page.read_text() and "<b>" not in page.read_text()
    document = json.loads(data.read_text())
    assert document["cases"][0]["rows"][0]["worse"] is True
    assert len(document["cases"][0]["changes"]) == 15


def test_fail_if_worse_is_1_for_worse_and_0_for_better(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = two(tmp_path, answers("A" * 20), answers("B" * 20))
    assert main(["compare", str(a), str(b), "--fail-if-worse"]) == 1
    assert "accuracy is worse by 1.000" in capsys.readouterr().err
    assert main(["compare", str(b), str(a), "--fail-if-worse", "--all"]) == 0
    assert capsys.readouterr().out.count("won") == 21


def test_what_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, _ = two(tmp_path, answers("A"), answers("A"))
    assert main(["compare", str(a), str(tmp_path / "nowhere")]) == 2
    assert "expected a run's folder, its summary.json, or a sample log" in capsys.readouterr().err
    twice = write_run(tmp_path / "twice", {MMLU: [question(0, "A"), question(0, "B")]})
    assert main(["compare", str(a), str(twice)]) == 2
    assert "expected one answer a question, got several for 'q/0'" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["compare", "export"])
def test_a_run_that_was_killed_is_said_to_be_unfinished(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    killed = write_run(tmp_path / "killed", {})
    (killed / "journal").mkdir()
    (killed / "journal" / "test_mmlu-padded.0.jsonl").touch()
    assert main([command, str(killed), *([str(killed)] if command == "compare" else [])]) == 2
    assert f"it is not finished; to finish it, give its options anew, with --resume={killed}" in capsys.readouterr().err


def test_two_samples_of_a_baseline_cost_alike() -> None:
    """So baselines of choices may have been timed on 16 and on 17 questions: a choice costs what its prompt does."""

    def apart(left: list[int], right: list[int]) -> float:
        return abs(statistics.mean(left) / statistics.mean(right) - 1)

    spread, as_they_come = [], []
    for seed in range(20):
        drawn = random.Random(seed)
        lengths = {f"{i:03}": round(100 * drawn.lognormvariate(0, 0.7)) for i in range(200)}
        few, more = ([lengths[id_] for id_ in timing_subset(lengths, count)] for count in (16, 17))
        spread.append(apart(few, more))
        in_order = list(lengths.values())
        as_they_come.append(apart(in_order[:16], in_order[-17:]))
    assert max(spread) < 0.05
    assert statistics.mean(spread) < 0.02
    assert statistics.mean(as_they_come) > 0.1, "what is not spread would not do"
