"""One checkpoint evaluated by `pytest benchmarks`, in a process of its own: what it takes is given back at its end."""

from __future__ import annotations

import ctypes
import itertools
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from evalsuite.errors import ConfigError, DataError
from evalsuite.runs import SUMMARY, read_run

TASK_FILES = ("test_mmlu.py", "test_vmlu.py", "test_vnhsge.py", "test_viquad.py", "test_vietnews.py")
DEFAULT_STRATEGY = ("--strategy", "packed,continuous")
"""The quickest for scoring, and for generation."""
RUNS, LOGS = "runs", "logs"
GRACE_SECONDS = 10.0
SHOWN_LINES = 6
_TESTS_FAILED = 1
_USAGE_ERROR, _NOTHING_COLLECTED = 4, 5
"""pytest's exit codes; by a command line that gives one of the last two, no checkpoint can be evaluated."""
_PR_SET_PDEATHSIG = 1
_FAILURE = re.compile(r"_{2,} .+ _{2,}")
_HEADING = re.compile(r"_{2,} .+ _{2,}|={2,} .+ ={2,}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluated:
    """How it ended."""

    run: Path | None
    """The run's folder; None where the checkpoint failed and is to be tried again."""
    problem: str
    """Why it failed, or which of its scores are those of a path that changed answers."""
    seconds: float


def pytest_arguments(paths: Sequence[str], options: Sequence[str]) -> list[str]:
    """The five evaluations by a fast strategy and untimed, unless the caller says otherwise."""
    if not paths:
        files = [f"benchmarks/{name}" for name in TASK_FILES if Path("benchmarks", name).is_file()]
        paths = files or ["benchmarks"]
    if missing := [path for path in paths if not Path(path.split("::")[0]).exists()]:
        raise ConfigError(
            f"expected benchmarks here, found no {missing[0]}; run this where it is, or give --benchmarks PATH"
        )
    timing = any(option.startswith("--benchmark-") for option in options)
    strategy = any(option.split("=")[0] == "--strategy" for option in options)
    return [*paths, *(() if timing else ("--benchmark-disable",)), *(() if strategy else DEFAULT_STRATEGY), *options]


def evaluate(name: str, arguments: Sequence[str], out: Path) -> Evaluated:
    """Run pytest with these arguments and wait. An unfinished run of the same is gone on with.

    Raises:
        ConfigError: pytest refused the command line, or it selects nothing: the next checkpoint would fare no better.
        KeyboardInterrupt: as it came; the child has ended by then.
    """
    runs, log = out / RUNS, out / LOGS / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pytest", *arguments, "--results", str(runs), "--resume"]
    before = _ended(runs)
    start = time.monotonic()
    with log.open("w", encoding="utf-8") as output:
        code = _wait(subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, preexec_fn=_dying_with_us()))
    seconds = time.monotonic() - start
    if code in (_USAGE_ERROR, _NOTHING_COLLECTED):
        raise ConfigError(f"pytest cannot evaluate any checkpoint with these options: {_last_lines(log)}")
    changed = [path for path, changed in _ended(runs).items() if before.get(path) != changed]
    run = changed[0] if len(changed) == 1 else None
    unfaithful = [] if run is None else _unfaithful(run)
    if code == _TESTS_FAILED and run is not None and len(unfaithful) == _failures(log):
        return Evaluated(run=run, problem="; ".join(unfaithful), seconds=seconds)
    problem = ""
    if code != 0:
        problem = f"pytest ended with code {code}" if code > 0 else f"pytest was ended by signal {-code}"
    elif run is None or not read_run(run).cases:
        problem = "no case was evaluated"
    if problem:
        return Evaluated(run=None, problem=f"{problem}: {_last_lines(log)} (all in {log})", seconds=seconds)
    return Evaluated(run=run, problem="", seconds=seconds)


def _unfaithful(run: Path) -> list[str]:
    """Cases that were evaluated whole, and fail for their verdict. It would be the same the next time."""
    verdicts = {name: case.record.get("verdict") or {} for name, case in read_run(run).cases.items()}
    return [f"{name}: {verdict['summary']}" for name, verdict in verdicts.items() if verdict.get("faithful") is False]


def _failures(log: Path) -> int:
    """How many tests pytest says to have failed."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return sum(line.startswith(("FAILED ", "ERROR ")) for line in lines)


def _ended(runs: Path) -> dict[Path, int]:
    """When each run's summary was written last, ns."""
    return {summary.parent: summary.stat().st_mtime_ns for summary in runs.glob(f"*/{SUMMARY}")}


def _wait(child: subprocess.Popen[bytes]) -> int:
    """Ctrl-C reaches parent and child alike; the child gets time to close what it holds."""
    try:
        return child.wait()
    except KeyboardInterrupt:
        for stop in (None, child.terminate, child.kill):
            if stop is not None:
                stop()
            try:
                child.wait(timeout=GRACE_SECONDS)
                break
            except subprocess.TimeoutExpired:
                continue
        raise


def _dying_with_us() -> Callable[[], object] | None:
    """On Linux, a child that ends when its parent is killed, so that the next call finds memory and folder free."""
    if sys.platform != "linux":
        return None
    libc, parent = ctypes.CDLL(None), os.getpid()

    def in_child() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it was killed before the line above
            os._exit(1)

    return in_child


def _last_lines(log: Path) -> str:
    """What a person looks for at the end of pytest's output: its errors, else its last lines.

    pytest cuts the lines of its summary (`FAILED test - reason`) to the terminal's width, so reasons are taken from
    where it shows each failure by itself.
    """
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    raised = list(_reasons(lines))
    summary = [line for line in lines if line.startswith(("ERROR", "FAILED"))]
    if raised:
        summary = [line.split(" - ")[0] for line in summary]
    errors = list(dict.fromkeys(raised))[-SHOWN_LINES:] + list(dict.fromkeys(summary))[-SHOWN_LINES:]
    if not lines:
        raise DataError(f"{log}: expected pytest's output, found none")
    return " | ".join(errors or lines[-SHOWN_LINES:])


def _reasons(lines: Sequence[str]) -> Iterator[str]:
    """What was raised, below each heading `____ test ____`: lines `E   reason`; where there is none, the first line."""
    for number, line in enumerate(lines):
        if not _FAILURE.fullmatch(line):
            continue
        body = list(itertools.takewhile(lambda one: not _HEADING.fullmatch(one), lines[number + 1 :]))
        raised = [one.removeprefix("E ").strip() for one in body if one.startswith("E  ")]
        yield from raised or body[:1]
