"""How fast B was beside A, from the rounds in their records; no ratio where it would mean nothing."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evalsuite.compare.pairing import QuestionPairs
from evalsuite.measure.stats import STUDENT_T

_MACHINE = ("processor", "platform", "device", "device_name", "threads")


@dataclass(frozen=True, kw_only=True, slots=True)
class Speed:
    """Seconds a question on either side, and B's speed over A's."""

    a_seconds: float | None
    """Geometric mean over rounds; None where the side was not timed."""
    b_seconds: float | None
    ratio: float | None = None
    """Above 1, B is faster. None with the reason in `note`."""
    low: float | None = None
    """Lower end of the 95 % interval; None where a side has a single round."""
    high: float | None = None
    over_baseline: bool = False
    """Whether `ratio` is B's speed-up over the baseline by A's; else it is A's seconds by B's."""
    note: str = ""

    @property
    def timed(self) -> bool:
        """Whether either side was."""
        return self.a_seconds is not None or self.b_seconds is not None

    @property
    def both_timed(self) -> bool:
        return self.a_seconds is not None and self.b_seconds is not None


def compare_speed(a: Mapping[str, Any], b: Mapping[str, Any], questions: QuestionPairs) -> Speed:
    """From two records, and what they answered.

    There is no ratio where a side answered questions that the other did not, or was shown in other words: that is
    other work, and fixed costs and batches are shared by more or by fewer.

    Where both were timed in turns with the same baseline, each round counts as its ratio to that, so that a slow spell
    of the machine cancels out. Else rounds of other minutes are compared, and the interval does not know what else
    the machine did in them. Welch's interval on logarithms, with the smaller side's degrees of freedom.
    """
    rounds_a, rounds_b = _rounds(a), _rounds(b)
    seconds_a, seconds_b = _typical(rounds_a), _typical(rounds_b)
    if not rounds_a or not rounds_b:
        untimed = " and ".join(side for side, rounds in (("A", rounds_a), ("B", rounds_b)) if not rounds)
        return Speed(a_seconds=seconds_a, b_seconds=seconds_b, note=f"{untimed} not timed")
    if differing := _other_questions(questions):
        return Speed(a_seconds=seconds_a, b_seconds=seconds_b, note=f"no ratio: other questions ({differing})")
    if differing := _other_machine(a, b):
        return Speed(a_seconds=seconds_a, b_seconds=seconds_b, note=f"no ratio: timed on other machines ({differing})")
    unpaired = _no_common_baseline(a, b)
    paired = not unpaired
    logs_a, logs_b = (_relative(a), _relative(b)) if paired else (_logs(rounds_a), _logs(rounds_b))
    centre, half = statistics.fmean(logs_a) - statistics.fmean(logs_b), _half_width(logs_a, logs_b)
    return Speed(
        a_seconds=seconds_a,
        b_seconds=seconds_b,
        ratio=math.exp(centre),
        low=None if half is None else math.exp(centre - half),
        high=None if half is None else math.exp(centre + half),
        over_baseline=paired,
        note=_over_baseline(a, b)
        if paired
        else f"not timed in turns with one baseline ({unpaired}): what else the machine did is not in the interval",
    )


def _rounds(record: Mapping[str, Any]) -> list[float]:
    """Seconds a question of each round. The reference keeps its fastest only."""
    if not record.get("timed"):
        return []
    speed_up = record.get("speed_up") or {}
    if "path_seconds" in speed_up:
        return [seconds / speed_up["path_questions"] for seconds in speed_up["path_seconds"]]
    return [1 / record["questions_per_s"]]


def _typical(rounds: Sequence[float]) -> float | None:
    return math.exp(statistics.fmean(_logs(rounds))) if rounds else None


def _logs(rounds: Sequence[float]) -> list[float]:
    return [math.log(seconds) for seconds in rounds]


def _other_questions(questions: QuestionPairs) -> str:
    """How many each side answered, where they are not the same. By prompts and not the data's fingerprint: that also
    covers the published answers, which cost no time."""
    a, b, alike = questions.a_questions, questions.b_questions, questions.shown_alike
    return "" if a == b == alike else f"{a:,} and {b:,}, {alike:,} shown alike"


def _other_machine(a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    one, other = a.get("versions", {}), b.get("versions", {})
    facts = {name: (one.get(name), other.get(name)) for name in _MACHINE}
    facts["loaded on"] = (_loaded_on(a), _loaded_on(b))
    return ", ".join(f"{name} {x} / {y}" for name, (x, y) in facts.items() if x != y)


def _loaded_on(record: Mapping[str, Any]) -> object:
    return record.get("load_report", {}).get("got", {}).get("device")


def _no_common_baseline(a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    """Why the two cannot be compared by their ratios to a baseline; empty where they can. Both answered the same.

    How many questions the baseline answers follows from how quick it was while warming up, so equal runs differ in it.
    They are spread evenly over the prompts' lengths (`measure.timing.timing_subset`). A choice costs what its prompt
    does, so the mean costs of two such samples are alike. A generation also costs what its answer does, over which
    nothing is spread: two samples differ in it, in every round alike, and the interval would not know.
    """
    one, other = a.get("speed_up") or {}, b.get("speed_up") or {}
    # An interval is recorded only for rounds timed in turns.
    if one.get("low") is None or other.get("low") is None:
        return "a side without an interval"
    if one["baseline"] != other["baseline"]:
        return "other baselines"
    drawn_from = _sample(a), _sample(b)
    if None in drawn_from or drawn_from[0] != drawn_from[1]:
        return f"baselines timed on some of {_known(drawn_from[0])} and of {_known(drawn_from[1])} questions"
    if one["baseline_questions"] != other["baseline_questions"] and (_generates(a) or _generates(b)):
        return f"baselines that generate, timed on {_baseline_questions(a, b)}"
    return ""


def _sample(record: Mapping[str, Any]) -> int | None:
    """How many questions the baseline's were drawn from: those that the verdict compared, by --reference-limit."""
    compared: int | None = (record.get("verdict") or {}).get("compared")
    return compared


def _known(count: int | None) -> str:
    return "unknown" if count is None else f"{count:,}"


def _generates(record: Mapping[str, Any]) -> bool:
    return "new_tokens_per_s" in record


def _over_baseline(a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    over = f"of speed-ups over the baseline ({a['speed_up']['baseline']['strategy']})"
    same = a["speed_up"]["baseline_questions"] == b["speed_up"]["baseline_questions"]
    return over if same else f"{over}, timed on {_baseline_questions(a, b)}"


def _baseline_questions(a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    return f"{a['speed_up']['baseline_questions']:,} and {b['speed_up']['baseline_questions']:,} questions"


def _relative(record: Mapping[str, Any]) -> list[float]:
    speed_up = record["speed_up"]
    scale = speed_up["baseline_questions"] / speed_up["path_questions"]
    rounds = zip(speed_up["path_seconds"], speed_up["baseline_seconds"], strict=True)
    return [math.log(scale * path / baseline) for path, baseline in rounds]


def _half_width(one: Sequence[float], other: Sequence[float]) -> float | None:
    fewest = min(len(one), len(other))
    if fewest < 2:
        return None
    variance = statistics.variance(one) / len(one) + statistics.variance(other) / len(other)
    return STUDENT_T[min(fewest - 1, len(STUDENT_T)) - 1] * math.sqrt(variance)
