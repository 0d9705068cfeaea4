"""Which questions rounding may decide: those whose margin in fp32 is below the noise of the reference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evalsuite.errors import EvalsuiteError
from evalsuite.types import ChoiceScores, Generation, Outcome

if TYPE_CHECKING:
    from evalsuite.generation.teacher_forcing import TeacherForced
    from evalsuite.harness.case import Case
    from evalsuite.harness.session import EvaluationSession

NEAR_TIES = "evalsuite-gate"
"""Name of the user property that carries them from the case's process to the gate's."""


def near_ties(session: EvaluationSession, case: Case) -> dict[str, Any]:
    """Plain values that travel from a worker to the gate.

    Returns:
        noise: nats; margins: question id to its fp32 margin, of those below the noise; known: ids of the questions
        whose margin is known, which are those that the reference answered, None for all; problem: why none is, if so.
    """
    try:
        outcomes = session.reference(case.reference, case.task).outcomes
        noise = session.verdict(case.reference, case.task, outcomes).noise
        exact = session.in_fp32(case.reference, case.task)
        margins = {id_: _margin(outcomes[id_], in_fp32) for id_, in_fp32 in exact.items()}
    except EvalsuiteError as error:  # such as an fp32 reference that does not fit into memory
        return {"noise": None, "margins": {}, "known": [], "problem": str(error)}
    known = None if len(margins) == len(session.data(case.task).examples) else sorted(margins)
    close = {id_: margin for id_, margin in margins.items() if margin < noise}
    return {"noise": noise, "margins": close, "known": known, "problem": ""}


def _margin(answered: Outcome, in_fp32: ChoiceScores | TeacherForced) -> float:
    if isinstance(in_fp32, ChoiceScores):
        return choice_margin(in_fp32)
    assert isinstance(answered, Generation)
    return generation_margin(answered, in_fp32)


def choice_margin(scores: ChoiceScores) -> float:
    """Nats between the best choice and the next; infinite for a single one."""
    best, *others = sorted(scores.logprobs, reverse=True)
    return best - others[0] if others else float("inf")


def generation_margin(answer: Generation, forced: TeacherForced) -> float:
    """Nats between a token of the answer and its closest rival, where they are closest. `forced` is in fp32."""
    margins = (forced.nearest(position, token) for position, token in enumerate(answer.token_ids))
    return min(margins, default=float("inf"))
