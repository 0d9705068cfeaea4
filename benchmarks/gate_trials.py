"""How far the gate can be trusted: false alarms on unchanged code, and which planted faults it finds.

    python -m benchmarks.gate_trials run FILE --alarms 40 --first 5 --second 2
    python -m benchmarks.gate_trials table FILE ...

Each trial is a run of its own in a temporary worktree of HEAD, with timing and all: what else the machine does is its
background load, to which `--load N` adds N busy processes. FILE gets one JSON line a trial as it ends.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

from evalsuite.gate.trees import Tree, base_tree, repository_root, tree_environment

FIRST, SECOND = "first", "second"
CASES = "test_mmlu and (padded or unbatched)"
TIMED_CASE = "test_mmlu and padded"
"""What the second tier times, fourteen runs a trial."""

_SLOW = """
def pytest_collection_finish():
    import time
    from evalsuite import scoring
    honest = scoring.STRATEGIES["padded"]
    def slow(runner, requests):
        start = time.perf_counter()
        outcomes = list(honest(runner, requests))
        time.sleep({share} * (time.perf_counter() - start))
        yield from outcomes
    scoring.STRATEGIES["padded"] = slow
"""
_EXTRA_FORWARD = """
def pytest_collection_finish():
    import torch
    from evalsuite import scoring
    honest = scoring.STRATEGIES["padded"]
    def twice(runner, requests):
        with torch.inference_mode():
            runner.model(input_ids=torch.zeros((1, 1), dtype=torch.int64), use_cache=False)
        yield from honest(runner, requests)
    scoring.STRATEGIES["padded"] = twice
"""
_MORE_PADDING = """
def pytest_collection_finish():
    from evalsuite.scoring import _padded_rows
    honest = _padded_rows.pad_right
    def wider(rows, *, pad_id, device):
        longest = max(rows, key=len)
        wide, padding = honest([*rows, [*longest, pad_id]], pad_id=pad_id, device=device)
        return wide[:-1], wide[:-1].numel() - sum(map(len, rows))
    _padded_rows.pad_right = wider
"""
_FLIPPED_ANSWER = """
def pytest_collection_finish():
    import dataclasses
    from evalsuite import scoring
    def flipping(honest):
        def score(runner, requests):
            flipped = "{question}"
            for outcome in honest(runner, requests):
                logprobs = list(outcome.logprobs)
                if outcome.id == flipped:
                    best = outcome.prediction
                    other = (best + 1) % len(logprobs)
                    logprobs[best], logprobs[other] = logprobs[other], logprobs[best]
                yield dataclasses.replace(outcome, logprobs=tuple(logprobs))
        return score
    for name, honest in list(scoring.STRATEGIES.items()):
        scoring.STRATEGIES[name] = flipping(honest)
"""
"""In the reference, too: no verdict can see it."""
SLOW_DOWNS: Mapping[str, str] = {
    "10 % slower": _SLOW.format(share=0.1),
    "25 % slower": _SLOW.format(share=0.25),
    "2x slower": _SLOW.format(share=1.0),
}
UNCHANGED = "unchanged"
_BUSY = "import os; parent = os.getppid()\nwhile os.getppid() == parent: sum(range(100_000))"
"""Ends with whoever began it, however that ended."""


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gate_trials")
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run")
    running.add_argument("file", type=Path)
    running.add_argument("--alarms", type=int, default=0, help="runs of unchanged code, first tier")
    running.add_argument("--first", type=int, default=0, help="trials of each planted fault, first tier")
    running.add_argument(
        "--second", type=int, default=0, help="trials of each slow-down and of unchanged code, second tier"
    )
    running.add_argument("--load", type=int, default=0, help="busy processes beside the trials")
    table = commands.add_parser("table")
    table.add_argument("files", type=Path, nargs="+")
    given = parser.parse_args(arguments)
    if given.command == "table":
        trials = [json.loads(line) for file in given.files for line in file.read_text().splitlines()]
        print("\n".join(table_lines(trials)))
        return
    root = repository_root(Path.cwd())
    with base_tree(root, "HEAD") as tree, busy(given.load):
        for trial in trials_of(tree, given):
            with given.file.open("a") as file:
                file.write(json.dumps(trial) + "\n")
            print(json.dumps(trial), flush=True)


def trials_of(tree: Tree, given: argparse.Namespace) -> Iterator[dict[str, object]]:
    """Unchanged code and faults in turns, so that a long spell of load meets them all."""
    expected = tree.path / "expected-by-trials.json"
    if given.alarms or given.first:
        pytest(tree, "--update-expected", f"--expected={expected}")
    faults = (
        {
            **SLOW_DOWNS,
            "an extra forward pass": _EXTRA_FORWARD,
            "one token more padding in each row": _MORE_PADDING,
            "one flipped answer, in the reference too": _FLIPPED_ANSWER.format(question=some_question(expected)),
        }
        if given.first
        else {}
    )
    for number in range(max(given.alarms, given.first)):
        if number < given.alarms:
            yield first_tier(tree, UNCHANGED, "", expected)
        if number < given.first:
            for name, fault in faults.items():
                yield first_tier(tree, name, fault, expected)
    for _ in range(given.second):
        for name, fault in {UNCHANGED: "", **SLOW_DOWNS}.items():
            yield second_tier(tree, name, fault)


def first_tier(tree: Tree, name: str, fault: str, expected: Path) -> dict[str, object]:
    """One run under --gate: its exit code, and what it was red for."""
    report = tree.path / "gate-trial.xml"
    untimed = [] if name in (UNCHANGED, *SLOW_DOWNS) else ["--benchmark-disable"]
    with planted(tree, fault), timed() as trial:
        done = pytest(tree, *untimed, "--gate", f"--expected={expected}", f"--gate-report={report}")
    failures = ElementTree.parse(report).iter("failure")
    reasons = sorted({str(failure.get("type")) for failure in failures})
    return trial | {"tier": FIRST, "fault": name, "exit": done.returncode, "reasons": reasons}


def second_tier(tree: Tree, name: str, fault: str) -> dict[str, object]:
    """HEAD as the base against the same with a fault."""
    command = [sys.executable, "-m", "evalsuite", "gate", "--base", "HEAD", "-k", TIMED_CASE]
    with planted(tree, fault), timed() as trial:
        done = subprocess.run(command, cwd=tree.path, env=tree_environment(tree), capture_output=True, text=True)
    speed = [line for line in done.stdout.splitlines() if line.startswith("test_mmlu[padded]")][:1]
    return trial | {"tier": SECOND, "fault": name, "exit": done.returncode, "reasons": speed}


def pytest(tree: Tree, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "benchmarks", "-k", CASES, "-q", "-p", "no:cacheprovider", *options]
    done = subprocess.run(command, cwd=tree.path, env=tree_environment(tree), capture_output=True, text=True)
    if done.returncode not in (0, 1):
        raise SystemExit(f"pytest ended with code {done.returncode}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done


@contextmanager
def planted(tree: Tree, fault: str) -> Iterator[None]:
    """The fault at the end of the worktree's conftest.py."""
    conftest = tree.path / "conftest.py"
    honest = conftest.read_text()
    conftest.write_text(honest + "\n" + fault)
    try:
        yield
    finally:
        conftest.write_text(honest)


@contextmanager
def timed() -> Iterator[dict[str, object]]:
    trial: dict[str, object] = {"load": round(os.getloadavg()[0], 2)}
    start = time.monotonic()
    yield trial
    trial["seconds"] = round(time.monotonic() - start, 1)


@contextmanager
def busy(count: int) -> Iterator[None]:
    processes = [subprocess.Popen([sys.executable, "-c", _BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def some_question(expected: Path) -> str:
    """The first question that was answered."""
    answers = json.loads(expected.with_suffix(".answers.json").read_text())
    return min(next(iter(answers.values())))


def table_lines(trials: Sequence[Mapping[str, object]]) -> list[str]:
    """Markdown: how often each tier was red, by fault."""
    faults = list(dict.fromkeys(trial["fault"] for trial in trials))
    rows = ["| | first tier: red | second tier: red |", "|---|---|---|"]
    for fault in sorted(faults, key=lambda fault: fault != UNCHANGED):
        cells = []
        for tier in (FIRST, SECOND):
            ran = [trial for trial in trials if (trial["fault"], trial["tier"]) == (fault, tier)]
            red = sum(trial["exit"] == 1 for trial in ran)
            cells.append(f"{red} of {len(ran)}" if ran else "not tried")
        rows.append(f"| {fault} | {' | '.join(cells)} |")
    loads = sorted(float(str(trial["load"])) for trial in trials)
    rows += [
        "",
        f"Load average from {loads[0]} to {loads[-1]}, median {loads[len(loads) // 2]}, {os.cpu_count()} cores.",
    ]
    return rows


if __name__ == "__main__":
    main(sys.argv[1:])
