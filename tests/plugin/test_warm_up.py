"""What a path costs once, such as compiling, is told from what it costs each time."""

from typing import Any

import pytest

from evalsuite.harness import running
from tests.plugin.test_evaluation import workload


class Costly:
    """A clock, and an engine's answering that it measures: much the first time, and some for each question."""

    def __init__(self, first_seconds: float, seconds_per_question: float) -> None:
        self.now = 0.0
        self.first_seconds = first_seconds
        self.seconds_per_question = seconds_per_question
        self.asked: list[int] = []

    def answer(self, engine: object, questions: Any, strategy: str) -> None:
        self.now += self.seconds_per_question * len(questions) + (0.0 if self.asked else self.first_seconds)
        self.asked.append(len(questions))


@pytest.mark.parametrize(
    ("first_seconds", "per_question", "asked"), [(30.0, 0.02, [8, 8, 20, 20]), (0.0, 1.0, [8, 8])], ids=["once", "slow"]
)
def test_the_first_run_is_what_it_takes_longer_than_the_second(
    monkeypatch: pytest.MonkeyPatch, first_seconds: float, per_question: float, asked: list[int]
) -> None:
    costly = Costly(first_seconds, per_question)
    monkeypatch.setattr(running, "CLOCK", lambda: costly.now)
    monkeypatch.setattr(running, "answer", costly.answer)
    questions = workload(*(f"q{number}" for number in range(20)))
    warm = running._warm_up(None, questions, "padded")  # type: ignore[arg-type]  # the engine is not looked at
    assert costly.asked == asked
    assert warm.one_off_seconds == pytest.approx(first_seconds, abs=1e-6)
    assert warm.expected_seconds == pytest.approx(20 * per_question)
