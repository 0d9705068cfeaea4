"""A judge behind HTTP, against a server that is well, slow, rude, rate-limiting, dying, dead or suspicious."""

import asyncio
import json
import logging
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evalsuite.judge import endpoint
from evalsuite.judge.grading import MAX_TOKENS, AskingJudge
from evalsuite.judge.opening import open_judge
from evalsuite.judge.prompts import render
from evalsuite.judge.summary import reason
from evalsuite.judge.types import Judge, JudgeGrade
from tests.judge.fake_server import AT_ONCE, KEY, MODEL, Answer, FakeServer, fails, question, says, serving

Respond = Callable[[int, dict[str, Any]], Answer]


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def judge_at(server: FakeServer, *, grades: Path | None = None, **settings: Any) -> Judge:
    return open_judge(
        server.url, api_key=KEY, grades=grades, **({"timeout_s": 5, "retries": 2, "concurrency": 4} | settings)
    )


def grade(server: FakeServer, count: int = 1, **settings: Any) -> list[JudgeGrade]:
    return list(judge_at(server, **settings).grade([question(n) for n in range(count)]).values())


def test_a_question_is_one_user_message_and_the_reply_one_grade() -> None:
    with serving(lambda n, body: says("Điểm: 0,8")) as server:
        (only,) = grade(server)
        prompt = render("viquad", question(0).fields, question(0).gold, question(0).answer)
        assert only == JudgeGrade(id="q/0", value=0.8, reply="Điểm: 0,8")
        assert server.bodies == [
            {
                "model": MODEL,
                "messages": [{"role": "user", "content": prompt}],
                "temperature": 0,
                "max_tokens": MAX_TOKENS,
            }
        ]
        assert server.keys == [f"Bearer {KEY}"]


def test_a_slow_server_is_asked_several_questions_at_once_and_never_more_than_set() -> None:
    with serving(lambda n, body: says("1", after_s=0.1)) as server:
        start = time.perf_counter()
        assert [g.value for g in grade(server, 16, concurrency=8)] == [1.0] * 16
        assert time.perf_counter() - start < 16 * 0.1
        assert 1 < server.most_at_once <= 8


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503])
def test_what_may_pass_is_tried_again(status: int) -> None:
    with serving(lambda n, body: fails(status, headers=AT_ONCE) if n < 2 else says("1")) as server:
        assert [g.value for g in grade(server)] == [1.0]
        assert len(server.bodies) == 3


def test_a_rate_limit_is_waited_out_as_long_as_the_server_says() -> None:
    times: list[float] = []

    def limits(n: int, body: dict[str, Any]) -> Answer:
        times.append(time.perf_counter())
        return fails(429, headers={"Retry-After": "0.3"}) if n == 0 else says("1")

    with serving(limits) as server:
        assert [g.value for g in grade(server)] == [1.0]
    assert times[1] - times[0] >= 0.3


def test_a_connection_that_is_cut_is_tried_again() -> None:
    with serving(lambda n, body: Answer(cut=True) if n == 0 else says("1")) as server:
        assert [g.value for g in grade(server)] == [1.0]


HTML = b"<html><body>It works!</body></html>"
RUDE: dict[str, tuple[Answer, str]] = {
    "error": (fails(500, "out of cheese", headers=AT_ONCE), "HTTP 500: "),
    "html error": (Answer(status=502, body=HTML, content_type="text/html", headers=AT_ONCE), "HTTP 502: "),
    "too long": (fails(400, "maximum context length is 4096 tokens"), "HTTP 400: Error code: 400 - "),
    "html": (Answer(body=HTML, content_type="text/html"), "no chat completion: '<html>"),
    "no json": (Answer(body=b"{oops"), "no chat completion: "),
    "nothing": (Answer(body=b""), "no chat completion: "),
    "a list": (Answer(body=b"[]"), "no chat completion: "),
    "a number": (Answer(body=b"0.8"), "no chat completion: "),
    "no choices": (Answer(body=json.dumps({"choices": []}).encode()), "no chat completion: "),
    "null choices": (Answer(body=json.dumps({"choices": None}).encode()), "no chat completion: "),
    "an error for 200": (Answer(body=json.dumps({"error": "no"}).encode()), "no chat completion: "),
    "null text": (says(None), "no number in [0, 1]: ''"),
    "words": (says("Câu trả lời này tốt, tôi cho 8/10."), "no number in [0, 1]: 'Câu trả lời"),
    "bytes": (Answer(body=b'{"choices": [\xff'), "no chat completion: "),
}


@pytest.mark.parametrize("answer", RUDE)
def test_a_rude_answer_is_a_missing_grade_with_its_reason(answer: str) -> None:
    with serving(lambda n, body: RUDE[answer][0]) as server:
        (only,) = grade(server, retries=1)
    assert only.value is None
    assert only.problem.startswith(RUDE[answer][1])
    assert len(only.problem) <= 200


def test_a_server_that_hangs_is_given_up_after_the_timeout() -> None:
    with serving(lambda n, body: says("1", after_s=30)) as server:
        (only,) = grade(server, timeout_s=0.2, retries=0)
    assert (only.value, reason(only.problem)) == (None, "timeout")


def test_a_server_that_drips_is_given_up_although_it_is_never_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "BACKOFF_SECONDS", 0.0)
    with serving(lambda n, body: says("1", drip_s=0.05)) as server:
        (only,) = grade(server, timeout_s=0.4, retries=0)
    assert only.problem == "timeout: not done within 0.4 s in all"


def test_one_bad_question_does_not_spoil_the_others() -> None:
    with serving(lambda n, body: fails(400) if "phố 3" in str(body) else says("1")) as server:
        assert [g.value for g in grade(server, 6)] == [1.0, 1.0, 1.0, None, 1.0, 1.0]


def test_a_server_that_dies_halfway_is_asked_no_further_and_what_it_graded_is_kept(tmp_path: Path) -> None:
    with serving(lambda n, body: says("1") if n < 20 else Answer(cut=True)) as server:
        grades = grade(server, 100, grades=tmp_path, retries=0)
        assert len(server.bodies) <= 20 + endpoint.FAILURES_IN_A_ROW + 4
    assert [g.value for g in grades].count(1.0) == 20
    problems = {reason(g.problem) for g in grades if g.value is None}
    assert problems == {"no connection", "not asked"}
    assert "10 failures in a row, the last no connection" in grades[-1].problem

    with serving(lambda n, body: says("1")) as revived:
        again = grade(revived, 100, grades=tmp_path)
        assert ([g.value for g in again].count(1.0), len(revived.bodies)) == (100, 80)
    assert [g.reused for g in again].count(True) == 20


def test_failures_that_are_not_in_a_row_stop_nothing() -> None:
    with serving(lambda n, body: says("1") if n % 5 == 0 else fails(500)) as server:
        grades = grade(server, 40, retries=0, concurrency=1)
        assert len(server.bodies) == 40
    assert [g.value for g in grades].count(1.0) == 8


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_in_the_middle_ends_the_asking_at_once(status: int) -> None:
    with serving(lambda n, body: says("1") if n < 8 else fails(status)) as server:
        grades = grade(server, 100)
        assert len(server.bodies) <= 8 + 4
    assert grades[-1].problem.startswith(f"not asked: after HTTP {status}: ")


def test_the_key_is_shown_nowhere_even_by_a_server_that_repeats_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    rude = [
        fails(500, f"bad key {KEY}", headers=AT_ONCE),
        fails(400, "x" * 280 + KEY),
        says(f"khoá {KEY}"),
        says("y" * 190 + KEY),
        Answer(body=f"<p>{'z' * 70}{KEY}".encode(), content_type="text/html"),
        Answer(body=KEY.encode()),
        says(f"<think>{KEY}</think>0.5"),
        Answer(cut=True),
    ]
    with serving(lambda n, body: rude[n % len(rude)]) as server:
        judge = judge_at(server, grades=tmp_path, retries=0, concurrency=1)
        grades = judge.grade([question(n) for n in range(len(rude))])
        assert KEY in str(server.keys)
    assert isinstance(judge, AskingJudge)
    kept = "".join(path.name + path.read_text() for path in tmp_path.iterdir())
    shown = [caplog.text, kept, repr(judge), repr(judge._asker), judge.name, str(list(grades.values()))]
    assert KEY[:8] not in "".join(shown)
    assert "***" in kept


def in_a_cell(work: Callable[[], Any]) -> None:
    """Within an event loop that leaves Ctrl-C to Python, as a notebook's does."""

    async def cell() -> None:
        work()

    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(cell())
    finally:
        loop.close()


@pytest.mark.parametrize("start", [lambda work: work(), in_a_cell], ids=["script", "notebook"])
def test_ctrl_c_loses_no_grade_that_was_given(tmp_path: Path, start: Callable[..., None]) -> None:
    given: list[JudgeGrade] = []

    def interrupt_at_the_fifth(grade: JudgeGrade) -> None:
        given.append(grade)
        if len(given) == 5:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    with serving(lambda n, body: says("1", after_s=0.02)) as server:
        judge = judge_at(server, grades=tmp_path, concurrency=2)
        with pytest.raises(KeyboardInterrupt):
            start(lambda: judge.grade([question(n) for n in range(40)], on_grade=interrupt_at_the_fifth))
        assert len(server.bodies) < 20
        again = grade(server, 40, grades=tmp_path)
    assert [g.reused for g in again].count(True) == len(given) >= 5


def test_a_judge_can_be_asked_from_within_an_event_loop_as_in_a_notebook() -> None:
    async def cell() -> list[JudgeGrade]:
        return grade(server, 3)

    with serving(lambda n, body: says("1")) as server:
        assert [g.value for g in asyncio.run(cell())] == [1.0] * 3


def test_a_disk_that_is_full_is_an_error_and_not_a_missing_grade(tmp_path: Path) -> None:
    def full(_: JudgeGrade) -> None:
        raise OSError(28, "No space left on device")

    with serving(lambda n, body: says("1")) as server, pytest.raises(OSError, match="No space left"):
        judge_at(server).grade([question(n) for n in range(20)], on_grade=full)
