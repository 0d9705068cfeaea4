"""The command line's options about the judge, and the frozen form in which everything else reads them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from evalsuite.judge.address import check_where
from evalsuite.judge.opening import CONCURRENCY, KEY_VARIABLES, MODEL_VARIABLE, TIMEOUT_S
from evalsuite.judge.secret import Secret
from evalsuite.judge.summary import MAX_MISSING


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgeOptions:
    """Which judge, and how it is asked."""

    where: str
    model: str | None
    api_key: Secret | None
    """None for the one of the environment; an empty one for none."""
    timeout_s: float
    concurrency: int
    max_missing: float
    """Most of a case's grades that may be missing, as a share."""


def read_judge_options(option: Callable[[str], Any]) -> JudgeOptions | None:
    """None without --judge. Raises `ConfigError` for a place that is none."""
    where = option("--judge")
    if not where:
        return None
    check_where(where)
    key = option("--judge-api-key")
    return JudgeOptions(
        where=where,
        model=option("--judge-model"),
        api_key=None if key is None else Secret(key),
        timeout_s=option("--judge-timeout"),
        concurrency=option("--judge-concurrency"),
        max_missing=option("--judge-max-missing"),
    )


def _number(text: str, problem: str, fits: Callable[[float], bool]) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not fits(number):
        raise argparse.ArgumentTypeError(f"expected {problem}, got {text!r}")
    return number


def _seconds(text: str) -> float:
    return _number(text, "seconds above 0", lambda number: 0 < number < float("inf"))


def _share(text: str) -> float:
    return _number(text, "a share from 0 to 1", lambda number: 0 <= number <= 1)


def _requests(text: str) -> int:
    return int(_number(text, "a whole number of at least 1", lambda number: number >= 1 and number == int(number)))


JUDGE_OPTIONS: dict[str, dict[str, Any]] = {
    "--judge": {
        "metavar": "WHERE",
        "help": "grade the answers of viquad and vietnews by a language model: http://host:port/v1 (an OpenAI-"
        "compatible server) or local:MODEL (any model that --model takes)",
    },
    "--judge-model": {
        "metavar": "NAME",
        "help": f"which of the server's models (default: {MODEL_VARIABLE}, else the only one that it serves)",
    },
    "--judge-api-key": {
        "metavar": "KEY",
        "help": f"better given by the environment ({KEY_VARIABLES[0]}; else {KEY_VARIABLES[1]}, over https or to this "
        "machine alone): other users of a machine can read command lines. It is written nowhere; '' sends none",
    },
    "--judge-timeout": {
        "type": _seconds,
        "default": TIMEOUT_S,
        "metavar": "SECONDS",
        "help": "how long the server may be silent before a request is given up or tried again (default: %(default)g)",
    },
    "--judge-concurrency": {
        "type": _requests,
        "default": CONCURRENCY,
        "metavar": "N",
        "help": "requests at once (default: %(default)s)",
    },
    "--judge-max-missing": {
        "type": _share,
        "default": MAX_MISSING,
        "metavar": "SHARE",
        "help": "a case fails where more of its grades are missing (default: %(default)g)",
    },
}
