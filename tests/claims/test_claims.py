"""A claim's verdict follows from its record and its bounds, and the README says nothing else."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.claims import __main__ as command
from benchmarks.claims import loads
from benchmarks.claims.catalogue import CATALOGUE, Claim, Part
from benchmarks.claims.records import Record, RecordError, read_record, trim
from benchmarks.claims.table import MARKER, claims_table, verdict_on
from benchmarks.claims.turns import in_turns
from benchmarks.claims.verdicts import Bounds, Figure, together
from benchmarks.marked import placed


@pytest.fixture
def records() -> list[Record]:
    """Two rounds of a path that is thrice as fast, on both machines."""
    case = {
        "speed_up": {
            **{"baseline_seconds": [3.0, 6.2], "path_seconds": [1.0, 2.0], "low": 1.0},
            **{"baseline_questions": 4, "path_questions": 4},
        }
    }
    turns = {"seconds": {"slow": [2.0], "fast": [1.0]}, "counts": {"slow": 1, "fast": 4}}
    return [Record(machine=name, cases={"a": case, "turns": turns}) for name in ("h200", "cpu")]


def a_claim(bounds: Bounds | None = None, **fields: object) -> Claim:
    part = Part(what="it", measure=lambda record: record.ratio("a"), bounds=bounds or Bounds(at_least=0.1))
    return replace(Claim(words="three times", parts=(part,), tests="-k a"), **fields)  # type: ignore[arg-type]


def test_the_readme_s_table_is_the_one_that_the_committed_records_make() -> None:
    text = command.README.read_text(encoding="utf-8")
    table = claims_table([read_record(file) for file in command.RECORDS])
    assert text == placed(text, MARKER, table), "run: python -m benchmarks.claims --write"


def test_every_claim_of_the_guide_stands_in_the_catalogue() -> None:
    words = " | ".join(claim.words for claim in CATALOGUE)
    for claimed in (
        *("bf16 is about 2x", "half the memory", "FlashAttention makes attention 2-4x", "10-30 % after warm-up"),
        *("little CPU memory", "loading is 2x faster", "four choices of a question in one forward are 3-4x"),
        *("ViQuAD is 2-8x faster at batch 8, and at 16-32", "VietNews is 2-8x faster at batch 4, and at 8-16"),
        *("KV cache gains 20-50 %", "MMLU falls from 2-3 h to 30-45 min", "ViQuAD falls from 1-2 h to 15-30 min"),
        *("4B model runs in 16 GB", "32B model runs in 40 GB"),
    ):
        assert claimed in words


def test_no_claim_is_left_unmeasured_on_the_gpu() -> None:
    assert not [claim.words for claim in CATALOGUE if "h200" in claim.not_on]


def test_every_command_names_benchmarks_that_exist() -> None:
    names = {path for claim in CATALOGUE for path in re.findall(r"benchmarks/\S+\.py", claim.tests)}
    assert names and all((command.ROOT / name).is_file() for name in names)


@pytest.mark.parametrize(
    ("figure", "bounds", "verdict"),
    [
        (Figure(value=3, low=2.5, high=3.5), Bounds(at_least=2), "kept"),
        (Figure(value=3, low=1.9, high=4.9), Bounds(at_least=2), "open"),
        (Figure(value=1.5, low=1.2, high=1.9), Bounds(at_least=2), "refuted"),
        (Figure(value=65.5), Bounds(at_most=40), "refuted"),
        (Figure(value=9.1), Bounds(at_most=16), "kept"),
        (Figure(value=25), Bounds(at_least=120, at_most=180), "refuted"),
        (Figure(value=150), Bounds(at_least=120, at_most=180), "kept"),
    ],
)
def test_a_figure_is_judged_by_its_whole_interval(figure: Figure, bounds: Bounds, verdict: str) -> None:
    assert bounds.judge(figure) == verdict


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        (["kept", "kept"], "kept"),
        (["kept", "refuted"], "partly kept"),
        (["kept", "open"], "partly kept"),
        (["open", "refuted"], "refuted"),
        (["open"], "open"),
    ],
)
def test_a_claim_of_several_parts_is_kept_only_if_all_of_them_are(parts: list[str], whole: str) -> None:
    assert together(parts) == whole  # type: ignore[arg-type]


def test_more_than_was_promised_is_said_and_is_no_breach(records: list[Record]) -> None:
    claim = a_claim(Bounds(at_least=2, expected_most=2.4))
    assert verdict_on(claim, records[0]) == "kept"
    assert "more than promised" in claims_table(records, [claim])


def test_speed_ups_are_computed_from_the_seconds_of_the_record(records: list[Record]) -> None:
    figure = records[0].ratio("a")
    assert figure.value == pytest.approx(math.sqrt(3.0 * 3.1))
    assert figure.low is not None and figure.low < figure.value
    assert records[0].ratio("turns", path="fast", baseline="slow").value == pytest.approx(8.0)


def test_a_record_that_lacks_a_claim_is_an_error(records: list[Record]) -> None:
    empty = replace(records[1], cases={})
    with pytest.raises(RecordError, match=r"claims-cpu\.json lacks a"):
        claims_table([records[0], empty], [a_claim()])
    with pytest.raises(RecordError, match="one record each"):
        claims_table(records[:1], [a_claim()])


def test_a_refuted_claim_stands_with_its_reason_or_not_at_all(records: list[Record]) -> None:
    refuted = a_claim(Bounds(at_least=50))
    with pytest.raises(RecordError, match="refuted on the H200; give its reason"):
        claims_table(records, [refuted])
    table = claims_table(records, [replace(refuted, reasons=dict.fromkeys(("h200", "cpu"), "it is three"))])
    assert "**refuted**: it 3.05x" in table
    assert "- three times (the H200 and the CPU): it is three." in table


def test_a_machine_that_cannot_measure_a_claim_says_why(records: list[Record]) -> None:
    table = claims_table([records[0], replace(records[1], cases={})], [a_claim(not_on={"cpu": "needs a GPU"})])
    assert "| needs a GPU |" in table


def test_a_record_keeps_what_the_table_needs_and_no_paths() -> None:
    case = {
        **{"case": "a", "speed_up": None, "results": "/home/me", "metrics": [1], "versions": {"torch": "2"}},
        "load_report": {"got": {"dtype": "bfloat16"}, "parameters": 7, "asked": {}},
        "verdict": {"summary": "faithful", "noise": 0.1, "flips": [1, 2]},
    }
    turns = {"seconds": {"x": [1.0]}, "counts": {"x": 1}, "versions": {"torch": "3"}, "results": "/home/me"}
    record = trim([{"cases": {"a": case}}, {"benchmarks": [{"name": "b", "extra_info": turns}]}])
    assert record["versions"] == {"torch": "2"}
    assert record["cases"]["a"]["verdict"] == "faithful"
    assert record["cases"]["b"] == {"seconds": {"x": [1.0]}, "counts": {"x": 1}, "versions": {"torch": "3"}}
    assert "/home/me" not in json.dumps(record)


def test_a_benchmark_in_two_runs_or_one_that_could_not_run_makes_no_record() -> None:
    turns = {"seconds": {}, "counts": {}, "versions": {}}
    with pytest.raises(RecordError, match="in two runs"):
        trim([{"cases": {"b": turns}}, {"cases": {"b": turns}}])
    with pytest.raises(RecordError, match="got none"):
        trim([{"cases": {}}])
    with pytest.raises(RecordError, match="no compiler"):
        trim([{"cases": {"b": turns | {"not_measured": "no compiler"}}}])


class Timed:
    """As much of pytest-benchmark's fixture as turns need."""

    enabled = True

    def __init__(self) -> None:
        self.extra_info: dict[str, object] = {}

    def pedantic(self, run: Callable[[], object], setup: Callable[[], object], rounds: int) -> None:
        for _ in range(rounds):
            setup()
            run()


def test_what_is_broken_off_is_kept_and_recorded_up_to_its_last_whole_round() -> None:
    def until_the_third(turn: int) -> float:
        if turn == 2:
            raise KeyboardInterrupt
        return 1.0 + turn

    timed, kept = Timed(), []
    ways = {"first": lambda turn: 9.0 + turn, "second": until_the_third}
    with pytest.raises(KeyboardInterrupt):
        in_turns(
            timed,
            ways,
            counts=dict.fromkeys(ways, 1),
            rounds=3,
            keep=lambda: kept.append(json.loads(json.dumps(timed.extra_info))),
        )
    assert [[len(taken) for taken in info["seconds"].values()] for info in kept] == [
        *([1, 0], [1, 1], [2, 1], [2, 2], [3, 2])
    ]
    (case,) = trim([{"cases": {"b": kept[-1]}}])["cases"].values()
    assert case["seconds"] == {"first": [9.0, 10.0], "second": [1.0, 2.0]}
    assert case["unfinished"] == "2 of 3 rounds"
    for too_early in (kept[0], {"model": "m", "costs": {}}):
        with pytest.raises(RecordError, match="b was broken off in its first round"):
            trim([{"cases": {"b": too_early}}])


def test_what_is_finished_does_not_say_that_it_is_not() -> None:
    timed = Timed()
    in_turns(timed, {"only": lambda turn: 1.0}, counts={"only": 1}, rounds=2)
    assert "unfinished" not in timed.extra_info


def test_answers_that_were_timed_and_not_judged_say_so(records: list[Record]) -> None:
    (claim,) = (claim for claim in CATALOGUE if claim.words.startswith("batched VietNews"))
    assert {
        part.note(replace(records[0], cases={"test_batched_generation[articles]": {}})) for part in claim.parts
    } == {" (not judged)"}


def test_loads_start_from_nothing_where_a_fork_cannot_have_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    methods = []

    def submit(self: loads.FreshProcesses, *given: str) -> str:
        methods.append(self._method)
        if self._method == "forkserver":
            raise loads.NoCudaAfterFork("initialization error")
        return "cost"

    monkeypatch.setattr(loads.forkserver, "ensure_running", lambda: methods.append(os.environ[loads.ASKS_THE_DRIVER]))
    monkeypatch.setattr(loads.FreshProcesses, "_submit", submit)
    monkeypatch.delenv(loads.ASKS_THE_DRIVER, raising=False)
    processes = loads.FreshProcesses("cuda:0")
    assert [processes.load("dir", "as loaded", "bfloat16") for _ in range(2)] == ["cost", "cost"]
    assert methods == ["1", "forkserver", "spawn", "spawn"]
    assert loads.ASKS_THE_DRIVER not in os.environ, "it is for the server alone"


def test_a_file_that_is_no_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "claims-cpu.json").write_text("[]")
    with pytest.raises(RecordError, match=r"claims-cpu\.json: expected a record"):
        read_record(tmp_path / "claims-cpu.json")
