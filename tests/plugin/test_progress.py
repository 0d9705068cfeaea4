"""Bars go to the terminal that they are given, and to nothing else."""

import pytest

from evalsuite.harness import progress
from evalsuite.harness.progress import Progress


class Screen:
    def __init__(self) -> None:
        self.text = ""

    def write(self, msg: str, *, flush: bool = False) -> None:
        assert flush
        self.text += msg

    def flush(self) -> None: ...


def test_long_work_shows_a_bar_on_the_terminal_only(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "DELAY_SECONDS", 0)
    screen = Screen()
    with Progress(screen).bar("test_mmlu[padded]", 2) as tick:
        tick()
        tick()
    assert "test_mmlu[padded]" in screen.text
    assert capfd.readouterr() == ("", "")


def test_short_work_and_work_without_a_terminal_show_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    for bars in (Progress(screen), Progress(None)):
        with bars.bar("mmlu reference", 1) as tick:
            tick()
    assert screen.text.strip("\r ") == ""
    assert capfd.readouterr() == ("", "")
