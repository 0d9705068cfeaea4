"""A judge behind an OpenAI-compatible chat endpoint: many requests at once, through the `openai` client.

The client itself retries what may pass (no connection, timeout, 408, 409, 429, 5xx) with exponential backoff, or after
as long as the server's Retry-After says. What remains is a missing grade with its reason. A server that fails often in
a row, or refuses the key or the model, is asked no further: the rest is missing with that reason.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from evalsuite.errors import JudgeError, first_line
from evalsuite.judge.grading import MAX_TOKENS, OnReply, Reply
from evalsuite.judge.secret import Secret

if TYPE_CHECKING:
    from openai import AsyncOpenAI

FAILURES_IN_A_ROW = 10
"""So many requests, each with all its tries, or as many as run at once: then the server is taken for dead."""
BACKOFF_SECONDS = 8.0
"""The longest that the client waits by itself before another try."""
SHOWN_CHARACTERS = 80
PROBE_RETRIES = 1
PROBE_SECONDS = 20.0
KEYLESS = "EMPTY"
"""The client insists on a key; servers without one ignore it. The word that vLLM's manual uses."""
_REFUSALS = {
    401: "the key is refused; set EVALSUITE_JUDGE_API_KEY to one that this server accepts",
    403: "the key may not use this; set EVALSUITE_JUDGE_API_KEY to one that may",
    404: "no such model or address; name the model that the server serves, and end the address in /v1",
}
"""Answers that every further request would get as well."""

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """One served model and how to ask it. An `evalsuite.judge.grading.Asker`."""

    base_url: str
    model: str
    key: Secret
    timeout_s: float
    """For one try."""
    retries: int
    """Tries after the first."""
    concurrency: int
    """Requests at once."""

    @property
    def name(self) -> str:
        return f"{self.model} at {self.base_url}"

    @property
    def identity(self) -> Mapping[str, str]:
        return {"kind": "endpoint", "model": self.model, "max_tokens": str(MAX_TOKENS)}

    def hide(self, text: str) -> str:
        return self.key.hide(text)

    def ask(self, prompts: Mapping[str, str], on_reply: OnReply) -> None:
        """Ask about every prompt, `concurrency` at a time. Ctrl-C leaves what was replied to."""
        run(self._ask_all(prompts, on_reply))

    async def _ask_all(self, prompts: Mapping[str, str], on_reply: OnReply) -> None:
        breaker = _Breaker(limit=max(FAILURES_IN_A_ROW, self.concurrency))
        waiting = iter(prompts.items())
        async with client(self.base_url, self.key, timeout_s=self.timeout_s, retries=self.retries) as opened:
            workers = (self._work(opened, waiting, breaker, on_reply) for _ in range(self.concurrency))
            await asyncio.gather(*workers)

    async def _work(
        self, opened: AsyncOpenAI, waiting: Iterator[tuple[str, str]], breaker: _Breaker, on_reply: OnReply
    ) -> None:
        for key, prompt in waiting:
            if breaker.reason:
                on_reply(key, Reply(text=None, problem=f"not asked: {breaker.reason}"))
                continue
            try:
                text = await self._ask_once(opened, prompt)
            except _Failure as failure:
                breaker.failed(failure)
                on_reply(key, Reply(text=None, problem=str(failure)))
            else:
                breaker.succeeded()
                on_reply(key, Reply(text=text))

    async def _ask_once(self, opened: AsyncOpenAI, prompt: str) -> str:
        request = opened.chat.completions.create(
            model=self.model,
            messages=[{"role": "user", "content": prompt}],
            temperature=0,
            max_tokens=MAX_TOKENS,
        )
        # The client's timeout is for silence, and a server that sends a byte now and then is never silent.
        deadline = (1 + self.retries) * (self.timeout_s + BACKOFF_SECONDS)
        return _content(await _named(request, self.key, timeout_s=self.timeout_s, deadline_s=deadline), self.key)


@dataclass(frozen=True, kw_only=True, slots=True)
class Served:
    """What a server says of its models."""

    models: tuple[str, ...] = ()
    """Their ids; empty where it gives no list."""
    not_ready: str = ""
    """What it answered in place of a list, where that may pass: it is starting, or busy."""


def served_models(base_url: str, key: Secret, *, timeout_s: float) -> Served:
    """What `GET /models` lists.

    Raises:
        JudgeError: no server there, it does not answer in time, or it refuses the key.
    """
    limit = min(timeout_s, PROBE_SECONDS)

    async def listed() -> Any:
        async with client(base_url, key, timeout_s=limit, retries=PROBE_RETRIES) as opened:
            deadline = (1 + PROBE_RETRIES) * (limit + BACKOFF_SECONDS)
            return await _named(opened.models.list(), key, timeout_s=limit, deadline_s=deadline)

    try:
        page = run(listed())
    except _Failure as failure:
        if failure.status is None or failure.status in (401, 403):
            raise JudgeError(
                f"judge: expected an OpenAI-compatible server at {base_url}, got {failure}. "
                "Start the server, or correct its address"
            ) from None
        return Served(not_ready=str(failure) if failure.server_fails else "")
    data = getattr(page, "data", None)
    return Served(models=tuple(str(model.id) for model in data) if isinstance(data, list) else ())


def client(base_url: str, key: Secret, *, timeout_s: float, retries: int) -> AsyncOpenAI:
    """The client, to be opened in the event loop that uses it."""
    from openai import AsyncOpenAI

    return AsyncOpenAI(base_url=base_url, api_key=key.reveal() or KEYLESS, timeout=timeout_s, max_retries=retries)


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run to the end; in a thread of its own where an event loop runs already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    return _run_apart(work)


def _run_apart(work: Coroutine[Any, Any, Result]) -> Result:
    """Run in a thread, and end there as well when the user ends the waiting for it."""
    end: list[Callable[[], object]] = []

    async def endable() -> Result:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None  # within a coroutine there is one
        end.append(lambda: loop.call_soon_threadsafe(task.cancel))
        return await work

    with ThreadPoolExecutor(1) as executor:
        future = executor.submit(asyncio.run, endable())
        try:
            return future.result()
        except KeyboardInterrupt:
            with contextlib.suppress(RuntimeError):  # the loop is closed: it has just ended by itself
                for cancel in end:
                    cancel()
            raise


class _Failure(Exception):
    """A request without a usable answer. The words before the colon are what it is counted under."""

    def __init__(self, what: str, *, status: int | None = None, server_fails: bool) -> None:
        super().__init__(what)
        self.status = status
        self.server_fails = server_fails
        """False where the server is well and this one request is not."""


@dataclass(kw_only=True, slots=True)
class _Breaker:
    """Whether it is worth asking further."""

    limit: int
    in_a_row: int = field(default=0)
    reason: str = field(default="")
    """Why not; empty while it is."""

    def succeeded(self) -> None:
        self.in_a_row = 0

    def failed(self, failure: _Failure) -> None:
        self.in_a_row = self.in_a_row + 1 if failure.server_fails else 0
        if failure.status in _REFUSALS:
            self.reason = self.reason or f"after {failure}"
        elif self.in_a_row >= self.limit:
            self.reason = self.reason or f"after {self.in_a_row} failures in a row, the last {failure}"


async def _named(request: Awaitable[Any], key: Secret, *, timeout_s: float, deadline_s: float) -> Any:
    """The result of `request`; whatever the client raises becomes a `_Failure` that names it without the key."""
    import openai

    try:
        async with asyncio.timeout(deadline_s):
            return await request
    except openai.APITimeoutError:
        raise _Failure(f"timeout: no answer within {timeout_s:g} s", server_fails=True) from None
    except TimeoutError:
        raise _Failure(f"timeout: not done within {deadline_s:g} s in all", server_fails=True) from None
    except openai.APIConnectionError as error:
        raise _Failure(f"no connection: {_quoted(error.__cause__ or error, key)}", server_fails=True) from None
    except openai.APIStatusError as error:
        raise _status_failure(error.status_code, _quoted(error, key)) from None
    except (openai.OpenAIError, ValueError, TypeError, AttributeError) as error:
        # A page of HTML, or JSON that is none or of another shape: the client stumbles over each in its own way.
        raise _Failure(f"no chat completion: {_quoted(error, key)}", server_fails=True) from None


def _status_failure(status: int, said: str) -> _Failure:
    remedy = _REFUSALS.get(status)
    failing = status >= 500 or status in (408, 429)
    return _Failure(
        f"HTTP {status}: {remedy} ({said})" if remedy else f"HTTP {status}: {said}", status=status, server_fails=failing
    )


def _quoted(error: BaseException, key: Secret) -> str:
    """An error's first line, the key hidden before anything is cut."""
    return first_line(ValueError(key.hide(str(error) or type(error).__name__)))


def _content(completion: Any, key: Secret) -> str:
    """The text of a chat completion; a page of HTML and an empty list of choices are none."""
    try:
        text = completion.choices[0].message.content
    except (AttributeError, IndexError, TypeError):
        shown = key.hide(str(completion))[:SHOWN_CHARACTERS]
        raise _Failure(f"no chat completion: {shown!r}", server_fails=True) from None
    return text if isinstance(text, str) else ""
