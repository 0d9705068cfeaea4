"""The closing table and the table of flips, as text."""

import re
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalsuite.faithful import Flip, Verdict
from evalsuite.harness.table import SHOWN_CHARACTERS, closing_lines, flip_lines
from evalsuite.plugin import RECORD, ClosingTable


def record(**changes: Any) -> dict[str, Any]:
    return {
        "case": "test_mmlu[padded]",
        "task": "mmlu",
        "model": "nano",
        "timed": True,
        "score": {"value": 0.8125, "stderr": 0.0244},
        "speed_up": {"ratio": 12.345, "low": 11.5, "high": 13.0, "note": ""},
        "counters": {"tokens_computed": 123456},
        "padding_share": 0.0312,
        "verdict": {"summary": "faithful, 256 of 14,042 compared"},
        "load_report": {"asked": {"attention": "auto", "dtype": "bfloat16"}, "got": {"attention": "sdpa"}},
        "fallbacks": [],
        "truncated": 0,
        "questions": 14042,
        "questions_in_data": 14042,
        "excluded": {},
        "unscored": 0,
        "left_out": 0,
        "results": ".evalsuite/run",
        "prompting": {"shots": 5, "shots_shown": {"5": 14042}, "chat_template": False},
    } | changes


def test_a_case_is_one_row() -> None:
    lines = closing_lines([record()])
    assert lines[0].split("  ")[0] == "case"
    assert " ".join(lines[1].split()) == (
        "test_mmlu[padded] 14,042 0.812 ± 0.024 12.35x [11.50, 13.00] 123,456 3.1% faithful, 256 of 14,042 compared"
    )


def test_what_is_not_known_is_not_made_up() -> None:
    one_round = {"ratio": 2.0, "low": None, "high": None, "note": "timed once: a round takes 300 s"}
    lines = closing_lines([record(score=None, speed_up=None), record(speed_up=one_round)])
    assert " n/a " in lines[1]
    assert " not timed " in lines[1]
    assert " 2.00x " in lines[2]
    assert "test_mmlu[padded]: timed once: a round takes 300 s" in lines


def test_the_reference_gains_nothing_where_nothing_is_timed() -> None:
    itself = {"ratio": 1.0, "low": None, "high": None, "rounds": 1, "note": "the reference itself"}
    reference = {"speed_up": itself, "verdict": {"faithful": True, "summary": "reference"}}
    assert " 1.00x " in closing_lines([record(**reference)])[1]
    assert " not timed " in closing_lines([record(**reference, timed=False)])[1]


def test_why_random_weights_have_no_score_is_told_once() -> None:
    unscored = record(score=None, model="shape:qwen3-4b")
    assert closing_lines([unscored, unscored])[3:].count("random weights: not scored") == 1
    other_reason = [record(score=None), record(model="shape:qwen3-4b")]
    assert not any("random weights" in line for line in closing_lines(other_reason))


@pytest.mark.parametrize(("count", "said"), [(1, "1 batch"), (1200, "1,200 batches")])
def test_batches_of_earlier_processes_are_counted(count: int, said: str) -> None:
    resume = {"batches_recalled": count, "batches_run": 2, "not_used": ""}
    assert f"test_mmlu[padded]: {said} recalled from earlier processes, 2 run" in closing_lines([record(resume=resume)])


def test_steps_down_and_what_was_left_aside_stand_below_once() -> None:
    step = {"what": "dtype", "asked": "bfloat16", "got": "float32", "reason": "this CPU has none"}
    within_auto = {"what": "attention", "asked": "flex_attention", "got": "sdpa", "reason": "no CUDA"}
    odd = record(fallbacks=[step, within_auto], truncated=3, excluded={"needs an image": 25}, unscored=7, left_out=9)
    assert closing_lines([odd, odd])[3:] == [
        "attention: auto took sdpa",
        "step down: dtype: bfloat16 -> float32: this CPU has none",
        "mmlu: 3 of 14,042 prompts cut on the left to the model's window",
        "mmlu: 25 not scored: needs an image",
        "mmlu: 7 predicted but not scored: no published answers",
        "mmlu: 9 left out by --limit",
        "answers and summary: .evalsuite/run",
    ]


def test_fewer_shots_than_asked_for_are_told() -> None:
    lines = closing_lines([record(prompting={"shots": 5, "shots_shown": {"3": 7, "5": 10}, "chat_template": True})])
    assert "mmlu: 7 questions shown 3 shots of 5: their pool holds no more" in lines
    assert "mmlu: prompts go through the chat template" in lines


def test_a_slow_first_run_is_told_apart_from_the_rounds_that_are_timed() -> None:
    lines = closing_lines([record(one_off_seconds=4.9), record(one_off_seconds=41.7), record(one_off_seconds=None)])
    assert [line for line in lines if "first run" in line] == [
        "test_mmlu[padded]: the first run took 42 s more than later ones (compilation, caches): "
        "before the timed rounds, and not in the speed-up"
    ]


def test_workers_that_share_gpus_are_mentioned_once() -> None:
    crowded = [record(worker={"id": f"gw{n}", "workers": 3, "gpus": 2}) for n in range(3)]
    notes = [line for line in closing_lines(crowded) if "share" in line]
    assert notes == [
        "3 workers share 2 GPUs, and load each model several times on one: -n 2 gives every worker a GPU of its own"
    ]


def test_flips_below_the_noise_are_listed_by_question() -> None:
    flip = {"reference": "A", "path": "B", "margin": 0.0123, "excused": True}
    flips = [flip | {"id": f"q/{n}"} for n in range(4)]
    verdict = {"summary": "faithful, 4 flips below noise", "noise": 0.0312, "flips": flips}
    lines = closing_lines([record(verdict=verdict)])
    listed = "; ".join(f"q/{n} 'A' -> 'B' (margin 0.012)" for n in range(3))
    assert f"test_mmlu[padded]: below noise 0.031: {listed}; and 1 more" in lines


def test_flips_that_noise_does_not_excuse_come_first_and_long_lists_are_cut() -> None:
    flips = [Flip(id=f"q/{n}", reference="A", path="B", margin=0.5, excused=n < 6) for n in range(12)]
    verdict = Verdict(
        faithful=False, compared=12, total=12, flips=tuple(flips), noise=0.01, path_difference=0.3, reason="6 flips"
    )
    lines = flip_lines("test_mmlu[padded]", verdict)
    assert lines[0].startswith("test_mmlu[padded] is NOT FAITHFUL, 12 of 12 compared")
    assert [line.split()[0] for line in lines[4:14]] == [f"q/{n}" for n in (6, 7, 8, 9, 10, 11, 0, 1, 2, 3)]
    assert lines[14] == "... and 2 more"


def red(*flips: Flip, measured_noise: float = 0.0) -> Verdict:
    return Verdict(
        faithful=False,
        compared=12,
        total=12,
        flips=flips,
        noise=0.01,
        path_difference=0.3,
        reason="changed",
        measured_noise=measured_noise,
    )


SHARED = "Vào năm 1987, anh rời La Habana "


@pytest.mark.parametrize(
    ("reference", "path", "shown"),
    [
        ("A", "B", ("'A'", "'B'")),
        (
            f"{SHARED}lúc trưa cùng cả gia đình mình.",
            f"{SHARED}vào buổi tối cùng cả gia đình mình.",
            ("...'rời La Habana lúc trưa cùng cả g'...", "...'rời La Habana vào buổi tối cùng '..."),
        ),
        (f"{SHARED}mãi mãi", SHARED, ("...'rời La Habana mãi mãi'", "...'rời La Habana '")),
        ("x" * 60 + "a", "x" * 60 + "b", ("...'" + "x" * 16 + "a'", "...'" + "x" * 16 + "b'")),
        ("a" + "y" * 60, "b" + "y" * 60, ("'a" + "y" * 34 + "'...", "'b" + "y" * 34 + "'...")),
    ],
    ids=["short", "in the middle", "one is longer", "without a blank", "at the beginning"],
)
def test_changed_answers_are_shown_where_they_differ(reference: str, path: str, shown: tuple[str, str]) -> None:
    flip = Flip(id="q/1", reference=reference, path=path, margin=0.5, excused=False)
    row = flip_lines("test_viquad[padded]", red(flip))[-1]
    assert re.split(r"\s{2,}", row) == ["q/1", *shown, "0.5"]
    excused = {"id": "q/1", "reference": reference, "path": path, "margin": 0.001, "excused": True}
    verdict = {"summary": "faithful, 1 flip below noise", "noise": 0.01, "flips": [excused]}
    assert any(f"q/1 {shown[0]} -> {shown[1]} (margin" in line for line in closing_lines([record(verdict=verdict)]))


def test_a_text_that_ended_elsewhere_is_not_shown_as_if_its_words_had_changed() -> None:
    flip = Flip(id="q/1", reference="Huế", path="Huế", margin=None, excused=False)
    assert flip_lines("test_viquad[padded]", red(flip))[-1].endswith("the same text, ended at another token")


@given(st.text(), st.text())
def test_a_changed_answer_takes_no_more_room_than_the_table_has(reference: str, path: str) -> None:
    flip = Flip(id="q", reference=reference, path=path, margin=0.5, excused=False)
    header = flip_lines("test_viquad[padded]", red(flip))[-2]
    assert header.index("fp32 margin") <= len("question") + 2 * (SHOWN_CHARACTERS + 2) + 2


@pytest.mark.parametrize(("measured_noise", "proposed"), [(0.0038, True), (0.0, False), (1e-6, False)])
def test_a_red_verdict_in_16_bits_names_the_test_for_rounding(measured_noise: float, proposed: bool) -> None:
    lines = flip_lines("test_viquad[padded]", red(measured_noise=measured_noise))
    assert any("--dtype float32" in line for line in lines) is proposed


def test_no_cases_no_table() -> None:
    assert closing_lines([]) == []


def test_a_record_that_cannot_be_shown_does_not_crash_the_end_of_the_run() -> None:
    table, terminal = ClosingTable(), Mock()
    table.pytest_runtest_logreport(Mock(when="call", user_properties=[(RECORD, {"case": "broken"}), ("other", 1)]))
    table.pytest_terminal_summary(terminal)
    assert "the table could not be made: KeyError" in terminal.write_line.call_args.args[0]
