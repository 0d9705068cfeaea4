"""Evaluate the checkpoints of a training run that are not yet evaluated, and plot each benchmark against the step.

DIR holds them, one directory each: step_500, ckpt-1000, checkpoint-1500, epoch_3. Every option that is not listed here
goes to pytest: evalsuite track DIR --model Qwen/Qwen3-4B -k mmlu --data DATA --limit 500
"""

from __future__ import annotations

import argparse
import hashlib
import signal
import time
from pathlib import Path
from types import FrameType

from evalsuite.errors import ConfigError
from evalsuite.results import DEFAULT_FOLDER, file_stem
from evalsuite.tracking.following import Plan, follow

PASSES_ON = True
"""Unknown options are no error: they are in `arguments.passed_on`."""
FAILED, INTERRUPTED = 1, 130
_OURS = ("--checkpoint", "--results", "--resume")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="DIR", help="the folder of checkpoints; before pytest's options")
    parser.add_argument(
        "--model", help="what they are checkpoints of (default: each holds its own config.json and tokenizer)"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="for plots and runs (default: one for DIR in .evalsuite)"
    )
    parser.add_argument(
        "--benchmarks",
        action="append",
        default=[],
        metavar="PATH",
        help="what pytest runs; repeatable (default: the five evaluations in benchmarks/)",
    )
    parser.add_argument("--watch", type=float, metavar="SECONDS", help="look again so often, until Ctrl-C")


def run(arguments: argparse.Namespace) -> int:
    """0; 1 where a checkpoint failed; 130 after Ctrl-C or a termination, with all that was done on disk.

    Raises:
        ConfigError: options that cannot be meant; no such folder, or one without a checkpoint that is not watched.
    """
    if arguments.watch is not None and arguments.watch <= 0:
        raise ConfigError(f"--watch: expected seconds above 0, got {arguments.watch:g}")
    for option in arguments.passed_on:
        if option.split("=")[0] in _OURS:
            raise ConfigError(f"{option}: evalsuite track sets this for each checkpoint; leave it out")
    plan = Plan(
        folder=arguments.folder,
        out=arguments.out or _default_out(arguments.folder),
        model=arguments.model,
        paths=tuple(arguments.benchmarks),
        options=tuple(arguments.passed_on),
        watched=arguments.watch is not None,
    )
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        return FAILED if _look(plan, arguments.watch) else 0
    except KeyboardInterrupt:
        _say("interrupted: what is done is kept, and the next call goes on from there")
        return INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, before)


def _look(plan: Plan, every_seconds: float | None) -> frozenset[str]:
    """The fingerprints of checkpoints that failed. Watching, such a one is not tried again until it changes."""
    failed = follow(plan, _say)
    while every_seconds is not None:
        time.sleep(every_seconds)
        failed |= follow(plan, _say, given_up=failed, again=True)
    return failed


def _default_out(folder: Path) -> Path:
    """By name for people, and by place, since many training runs call their folder `checkpoints`."""
    place = folder.resolve()
    return Path(
        DEFAULT_FOLDER, "track", f"{file_stem(place.name)}-{hashlib.sha256(str(place).encode()).hexdigest()[:6]}"
    )


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _say(text: str) -> None:
    print(text, flush=True)
