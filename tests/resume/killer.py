"""Runs benchmarks once, and then again and again, killing them by SIGKILL at random moments until one gets through.

    python tests/resume/killer.py RESULTS KILLS SEED MOST_BYTES pytest arguments...

A run is killed when its journals have grown by a random share of MOST_BYTES, and a random moment after that; some are
killed at any time, while they begin or recall what others did.

The runs go into RESULTS/whole and RESULTS/killed. Heavy imports are made once, here; each run is a fork of this
process that calls pytest by itself. Prints one JSON object: the exit code of the unbroken run, how many were killed,
and the exit code of the last.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

import datasets  # noqa: F401
import pytest
import torch  # noqa: F401
import transformers  # noqa: F401

ANY_TIME, ANY_TIME_SECONDS = 0.2, 3.0
"""The share of runs that are killed at any time, and within how many seconds."""
BATCH_SECONDS = 0.05


def begin(results: Path, arguments: list[str]) -> int:
    """The pid of a run in a process of its own."""
    if (pid := os.fork()) == 0:
        with (results / "output.txt").open("ab") as output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
        code = 99
        try:
            quiet = "-Wignore::pytest.PytestAssertRewriteWarning"  # of what was imported above
            code = pytest.main([*arguments, quiet, "--results", str(results / "runs"), "--resume"])
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return pid


def ended(pid: int, *, wait: bool = False) -> int | None:
    """The exit code, negative for a signal; None while it runs."""
    if pid not in _codes:
        done, status = os.waitpid(pid, 0 if wait else os.WNOHANG)
        if not done:
            return None
        _codes[pid] = os.waitstatus_to_exitcode(status)
    return _codes[pid]


_codes: dict[int, int] = {}


def kept_bytes(results: Path) -> int:
    return sum(file.stat().st_size for file in results.glob("runs/*/journal/*.jsonl"))


def kill_at_random(results: Path, pid: int, draw: random.Random, most_bytes: int) -> int | None:
    """Wait until the run has kept a random amount more, or now and then just for a moment, and kill it: its code."""
    before, share = kept_bytes(results), draw.random()
    if share > 1 - ANY_TIME:
        time.sleep(draw.uniform(0, ANY_TIME_SECONDS))
    while share <= 1 - ANY_TIME and kept_bytes(results) <= before + share * most_bytes and ended(pid) is None:
        time.sleep(0.001)
    time.sleep(draw.uniform(0, BATCH_SECONDS))
    if ended(pid) is None:
        os.kill(pid, signal.SIGKILL)
    return ended(pid, wait=True)


def main() -> None:
    results, kills, seed, most_bytes = Path(sys.argv[1]), *map(int, sys.argv[2:5])
    arguments, draw = sys.argv[5:], random.Random(seed)
    whole, results = results / "whole", results / "killed"
    for folder in (whole, results):
        folder.mkdir(parents=True)
    unbroken = ended(begin(whole, arguments), wait=True)
    killed, code = 0, -signal.SIGKILL
    while code == -signal.SIGKILL:
        pid = begin(results, arguments)
        code = kill_at_random(results, pid, draw, most_bytes) if killed < kills else ended(pid, wait=True)
        killed += code == -signal.SIGKILL
    print(json.dumps({"unbroken": unbroken, "killed": killed, "code": code}))


if __name__ == "__main__":
    main()
