"""The command measures every candidate; a mistake in what it is asked ends it with one line before it measures any."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from benchmarks.decoding import __main__ as command
from benchmarks.decoding.candidates import CANDIDATES
from benchmarks.decoding.interface import Candidate, Prepared, Unavailable
from benchmarks.decoding.timing import Timing, measure
from benchmarks.decoding.workloads import Case, case_of
from tests.attention.pooled_cases import CUDA
from tests.decoding.made import SHAPE, clock

WORKLOAD = "even:4:50:2:20"
PLAIN = CANDIDATES["sdpa, static cache, grouped queries"]


@pytest.mark.skipif(CUDA, reason="there is a CUDA device")
@pytest.mark.parametrize(
    ("device", "reason"),
    [("cuda", "(torch finds no CUDA device|this torch is built without CUDA)"), ("cpu", "cpu is none")],
)
def test_without_cuda_it_ends_with_one_line(device: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=f"^python -m benchmarks.decoding: error: needs a CUDA device, and {reason}$"):
        command.main(["--device", device, "--out", str(tmp_path / "record.json")])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("option", "value", "line"),
    [
        ("--model", "qwen3-5b", r"model: expected shape: and one of .*; got 'qwen3-5b'"),
        ("--device", "card", r"device: expected .*, got 'card'"),
        ("--out", "none/record.json", r"--out: there is no folder none: make it, or name a file in another"),
        ("--out", "there", r"--out: expected a file to write, got the folder there: name a file in it"),
    ],
    ids=["model", "device", "no folder", "a folder"],
)
def test_a_mistake_ends_it_with_one_line_that_says_what_to_do(
    option: str, value: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On any machine, since the card is looked for last."""
    monkeypatch.chdir(tmp_path)
    Path("there").mkdir()
    with pytest.raises(SystemExit, match=rf"^python -m benchmarks.decoding: error: {line}$"):
        command.main(["--out", "record.json", option, value])


def test_the_help_says_what_every_option_is_and_names_every_candidate(capsys: pytest.CaptureFixture[str]) -> None:
    assert [action.dest for action in command._parser()._actions if not action.help] == []
    with pytest.raises(SystemExit):
        command.main(["--help"])
    listed = capsys.readouterr().out.split("candidates, in the order in which they are measured:\n")[1]
    assert [line.strip() for line in listed.splitlines()] == list(CANDIDATES)


@pytest.fixture
def on_a_card(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """The command as on a card, with candidates and a clock that stand for its."""
    monkeypatch.setattr(command, "device_reason", lambda device: None)
    monkeypatch.setattr(command, "get_shape", lambda model: SHAPE)
    monkeypatch.setattr(command, "case_of", lambda *a, **k: case_of(*a, **k | {"device": "cpu"}))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(L2_cache_size=7))

    def run(candidates: dict[str, Candidate], clock: Callable[..., Timing], *arguments: str) -> None:
        monkeypatch.setattr(command, "CANDIDATES", candidates)
        monkeypatch.setattr(command, "measure", lambda *a, **k: measure(*a, **k, clock=clock))
        command.main(["--workload", WORKLOAD, "--dtype", "float32", *arguments])

    return run


def test_the_record_has_every_candidate_and_the_wrong_end_the_run(
    on_a_card: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(case: Case) -> Prepared:
        raise Unavailable("needs another card")

    candidates = {
        "ours": lambda case: Prepared(PLAIN(case).call, 100),
        "other": PLAIN,
        "missing": missing,
        "wrong": lambda case: Prepared(lambda: case.query),
    }
    slower = {"not_replayed": "no graph", "seconds": 6e-3}

    def slower_after_the_first(call: Callable[[], torch.Tensor], device: torch.device) -> Timing:
        timing = clock(call, device)
        clocked.append(timing)
        return timing if len(clocked) == 1 else replace(timing, **slower)  # type: ignore[arg-type]

    clocked: list[Timing] = []
    out = tmp_path / "record.json"
    with pytest.raises(SystemExit, match=r"^python -m benchmarks.decoding: error: not attention: wrong$"):
        on_a_card(candidates, slower_after_the_first, "--out", str(out))
    record = json.loads(out.read_text())
    assert record["workloads"][WORKLOAD]["needed_bytes"] == 4 * 50 * 2 * 2 * 32 * 4
    assert (record["cache_bytes"], record["arguments"]["workload"]) == (7, [WORKLOAD])
    got = {entry["candidate"]: entry for entry in record["results"]}
    assert list(got) == list(candidates)
    assert (got["ours"]["times_ours"], got["other"]["times_ours"]) == (1.0, pytest.approx(3.0))
    assert got["ours"]["bytes_planned"] == 100 * 2 * 2 * 32 * 4
    assert got["missing"].keys() == {"candidate", "workload", "failed"}
    shown = capsys.readouterr().out.splitlines()
    assert f"other, {WORKLOAD}: no graph" in shown
    assert f"missing, {WORKLOAD}: needs another card" in shown
    assert any(line.startswith(f"wrong, {WORKLOAD}: WRONG: a head is ") for line in shown)
    row = next(line for line in shown if "  ours  " in line).split()
    assert row == [WORKLOAD, "ours", "4", "200", "2,000.0", "0", "0", "1.00", "graph"]


def test_candidates_asked_for_in_any_order_are_compared_with_ours(
    on_a_card: Callable[..., None], tmp_path: Path
) -> None:
    out = tmp_path / "record.json"
    candidates = dict.fromkeys(["ours", "first", "left out", "second"], PLAIN)
    on_a_card(candidates, clock, "--out", str(out), "--candidates", "second", "ours", "first")
    results = json.loads(out.read_text())["results"]
    assert [(entry["candidate"], entry["times_ours"]) for entry in results] == [
        ("ours", 1.0),
        ("first", 1.0),
        ("second", 1.0),
    ]
