"""Is an optimised path faithful to the reference? The rule, and what it found.

A path is faithful when each of its predictions equals the reference's, except flips whose fp32 margin is
below the noise. Those are counted and listed, never hidden.

The noise belongs to the *reference*: the 99.9th percentile of its own absolute difference in log-probability
between the run's dtype and fp32 on the same questions, capped at 0.25 nats. A path whose own 99th percentile
of differences exceeds twice that, from the reference and from fp32, is not faithful, flips or none: it computes
something else, and has only been lucky. Either will do. A path that repeats the reference's roundings is near the
reference, however coarse the dtype. One that rounds at other places, as a compiled forward does, differs from the
reference by both roundings together, of which the noise holds one; what it may be blamed for is its distance from
fp32, and that is measured as the noise is. (nano in bf16, 32 of 120 questions drawn 400 times: a sound compiled path
was red in 4 to 9 % by its distance from the reference alone, in 0 to 3 % by both; attention scaled by 0.95 in 83 % by
either rule; weights off by 2 %, in 25 instead of 41 %. The fewer the questions, the more the noise is a matter of
which they are.)

The margin of a generated answer is that of the first token that differs. Where the likeliest token is taken, it is the
distance in fp32 between the two tokens' log-probabilities. Where tokens are drawn, both paths have the same draw, and
rounding moves the boundaries of the distribution past it: the margin is how much the log-odds of a boundary must move,
times the temperature, before the draw gives the other token (`generation/reach.py`). For two tokens and a draw in the
middle that is the distance between them, so both are held to one noise. A token that no small change would give has
no margin and is never excused.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from evalsuite.errors import ConfigError
from evalsuite.types import ChoiceScores, Generation

if TYPE_CHECKING:
    from evalsuite.generation.teacher_forcing import TeacherForced

NOISE_PERCENTILE = 99.9
PATH_PERCENTILE = 99.0
NOISE_CAP = 0.25
"""Nats. Above it a dtype is too coarse to tell answers apart, and its flips are not excused."""
NOISE_FLOOR = 1e-4
"""Nats. What fp32 kernels differ by when shapes differ: a reference run in fp32 has no noise of its own to measure."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Flip:
    """One question on which path and reference disagree."""

    id: str
    reference: str
    path: str
    margin: float | None
    """Nats: distance in fp32 log-probability between the reference's choice and the path's; for generation, between
    the first tokens that differ, or, where tokens are drawn, how far the draw is from giving the other one. None where
    no choice of a likely token explains the difference."""
    excused: bool
    """True when `margin` is below the noise: rounding may decide such a question either way."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """The comparison of one path with the reference."""

    faithful: bool
    compared: int
    """Questions on which both were run."""
    total: int
    """Questions on which the path was run."""
    flips: tuple[Flip, ...]
    noise: float
    """Nats; see the module's text."""
    path_difference: float
    """99th percentile of the path's absolute differences in log-probability from the reference, nats."""
    reason: str
    """Why it is not faithful; empty when it is."""
    path_error: float | None = None
    """The same from the reference in fp32. None in records made before it was measured."""
    measured_noise: float = 0.0
    """The same before floor and cap: above the cap, the dtype is too coarse for this model on these questions."""
    reference_flips: int | None = None
    """Questions that the reference itself answers otherwise in fp32: what the dtype costs, which no path is blamed
    for. None for generation, where fp32 is only asked about the answers there are."""

    @property
    def excused(self) -> int:
        return sum(flip.excused for flip in self.flips)

    @property
    def rounds_alike(self) -> bool:
        """Whether rounding explains how far the path's log-probabilities are off; flips are another matter."""
        off = [self.path_difference] if self.path_error is None else [self.path_difference, self.path_error]
        return any(difference <= 2 * self.noise for difference in off)  # NaN is not

    def summary(self) -> str:
        """One line for a table, e.g. `faithful, 256 of 14,042 compared, 1 flip below noise`."""
        parts = ["faithful" if self.faithful else "NOT FAITHFUL", f"{self.compared:,} of {self.total:,} compared"]
        if self.excused:
            parts.append(f"{self.excused} flip{'s' * (self.excused > 1)} below noise")
        if self.reference_flips:
            parts.append(f"{self.reference_flips} answered otherwise by the reference in float32")
        if self.reason:
            parts.append(self.reason)
        return ", ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def compare_choices(
    *,
    reference: Mapping[str, ChoiceScores],
    path: Mapping[str, ChoiceScores],
    reference_fp32: Mapping[str, ChoiceScores],
    total: int | None = None,
    labels: Mapping[str, Sequence[str]] | None = None,
) -> Verdict:
    """Compare a scoring strategy with the reference, by request id.

    Args:
        reference: outcomes of the reference in the run's dtype, on the compared questions.
        path: outcomes of the path; must hold every compared question, may hold more.
        reference_fp32: the reference in fp32 on the same questions (the same mapping, when the run is in fp32).
        total: questions in the path's whole run; its own number when left out.
        labels: request id to what its choices are called in flips, such as A, B, C; their indices when left out.

    Raises:
        ConfigError: nothing to compare, or a compared question that the path or fp32 lacks.
    """
    _require_overlap(reference, path, reference_fp32)
    to_fp32 = [d for id_, s in reference.items() for d in _differences(s.logprobs, reference_fp32[id_].logprobs)]
    noise = reference_noise(to_fp32)
    differences = [d for id_, scores in reference.items() for d in _differences(scores.logprobs, path[id_].logprobs)]
    errors = [d for id_ in reference for d in _differences(path[id_].logprobs, reference_fp32[id_].logprobs)]
    flips = [
        _choice_flip(scores, path[id_], reference_fp32[id_], noise, None if labels is None else labels[id_])
        for id_, scores in reference.items()
        if scores.prediction != path[id_].prediction
    ]
    return _verdict(
        flips,
        differences,
        errors,
        to_fp32,
        compared=len(reference),
        total=len(path) if total is None else total,
        reference_flips=sum(s.prediction != reference_fp32[id_].prediction for id_, s in reference.items()),
    )


def compare_generations(
    *,
    reference: Mapping[str, Generation],
    path: Mapping[str, Generation],
    reference_fp32: Mapping[str, TeacherForced],
    total: int | None = None,
) -> Verdict:
    """Compare a generation strategy with the reference, by request id and by text.

    Args:
        reference_fp32: the reference's own answers, teacher-forced through the fp32 model.

    Other arguments and errors are those of `compare_choices`. Log-probabilities are compared on the tokens up to
    the first that differs; after it the two answer different questions.
    """
    _require_overlap(reference, path, reference_fp32)
    to_fp32 = [d for id_, a in reference.items() for d in _differences(a.logprobs, reference_fp32[id_].logprobs)]
    noise = reference_noise(to_fp32)
    differences: list[float] = []
    errors: list[float] = []
    flips = []
    for id_, answer in reference.items():
        shared = _shared_tokens(answer.token_ids, path[id_].token_ids)
        chosen = path[id_].logprobs[:shared]
        differences += _differences(answer.logprobs[:shared], chosen)
        errors += _differences(chosen, reference_fp32[id_].logprobs[:shared])
        if answer.text != path[id_].text or _ended_elsewhere(answer, path[id_], shared):
            flips.append(_text_flip(answer, path[id_], shared, reference_fp32[id_], noise))
    total = len(path) if total is None else total
    return _verdict(flips, differences, errors, to_fp32, compared=len(reference), total=total)


def _ended_elsewhere(answer: Generation, other: Generation, shared: int) -> bool:
    """Whether one went on where the other ended, though no token differs: not rounding, even if the text is cut to the
    same. Where an end-of-sequence token is in doubt, that token differs."""
    lengths = len(answer.token_ids), len(other.token_ids)
    return lengths[0] != lengths[1] and shared == min(lengths)


def reference_noise(differences: Iterable[float]) -> float:
    """The noise in nats that absolute differences between a dtype and fp32 amount to, within floor and cap."""
    return min(NOISE_CAP, max(NOISE_FLOOR, percentile(list(differences), NOISE_PERCENTILE)))


def percentile(values: Sequence[float], q: float) -> float:
    """The q-th percentile (nearest rank: a value that occurred); 0 for no values, NaN if any is NaN."""
    if not values:
        return 0.0
    if any(math.isnan(value) for value in values):
        return math.nan
    ordered = sorted(values)
    return ordered[max(0, math.ceil(q / 100 * len(ordered)) - 1)]


def _verdict(
    flips: list[Flip],
    differences: list[float],
    errors: list[float],
    to_fp32: list[float],
    *,
    compared: int,
    total: int,
    reference_flips: int | None = None,
) -> Verdict:
    found = Verdict(
        faithful=True,
        compared=compared,
        total=total,
        flips=tuple(flips),
        noise=reference_noise(to_fp32),
        path_difference=percentile(differences, PATH_PERCENTILE),
        path_error=percentile(errors, PATH_PERCENTILE),
        reason="",
        measured_noise=percentile(to_fp32, NOISE_PERCENTILE),
        reference_flips=reference_flips,
    )
    unexcused = len(flips) - found.excused
    reasons = []
    if unexcused:
        reasons.append(f"{unexcused} answer{'s' * (unexcused > 1)} changed")
    if not found.rounds_alike:
        off = f"{found.path_difference:.2g}, from float32 by {found.path_error:.2g}"
        reasons.append(f"log-probabilities differ by {off} (noise {found.noise:.2g})")
    return replace(found, faithful=not reasons, reason=" and ".join(reasons))


def _choice_flip(
    reference: ChoiceScores, path: ChoiceScores, fp32: ChoiceScores, noise: float, labels: Sequence[str] | None
) -> Flip:
    names = labels or [str(index) for index in range(len(reference.logprobs))]
    margin = abs(fp32.logprobs[reference.prediction] - fp32.logprobs[path.prediction])
    return Flip(
        id=reference.id,
        reference=names[reference.prediction],
        path=names[path.prediction],
        margin=margin,
        excused=margin < noise,
    )


def _text_flip(reference: Generation, path: Generation, shared: int, fp32: TeacherForced, noise: float) -> Flip:
    # Past the shorter answer's end no token was chosen otherwise: it was cut, and rounding cannot do that.
    chosen_otherwise = shared < min(len(reference.token_ids), len(path.token_ids))
    tokens = (reference.token_ids[shared], path.token_ids[shared]) if chosen_otherwise else None
    margin = None if tokens is None else fp32.margin(shared, *tokens)
    return Flip(
        id=reference.id,
        reference=reference.text,
        path=path.text,
        margin=margin,
        excused=margin is not None and margin < noise,
    )


def _shared_tokens(left: Sequence[int], right: Sequence[int]) -> int:
    return next((i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right)))


def _differences(left: Sequence[float], right: Sequence[float]) -> list[float]:
    return [abs(a - b) if a != b else 0.0 for a, b in zip(left, right, strict=True)]  # -inf equals itself


def _require_overlap(reference: Mapping[str, object], path: Mapping[str, object], fp32: Mapping[str, object]) -> None:
    if not reference:
        raise ConfigError("nothing to compare: the reference answered no question; look at what --data holds")
    for name, other in (("path", path), ("fp32 reference", fp32)):
        missing = sorted(reference.keys() - other.keys())
        if missing:
            raise ConfigError(
                f"the {name} lacks {len(missing)} of {len(reference)} compared questions, the first is {missing[0]}; "
                "run it on every question that the reference answered"
            )
