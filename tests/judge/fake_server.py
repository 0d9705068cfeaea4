"""A real HTTP server in a thread that answers as a test tells it to, and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from evalsuite.judge.types import JudgeQuestion

MODEL = "fake-judge"
KEY = "sk-very-secret-0123456789"
AT_ONCE = {"retry-after-ms": "5"}
"""Tells the client to try again after 5 ms, in place of its own backoff."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What goes back over the wire."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    after_s: float = 0.0
    """Silence before the answer; ended early when the server is closed."""
    drip_s: float | None = None
    """Seconds between single bytes of the body."""
    cut: bool = False
    """Close the connection instead of answering."""


Respond = Callable[[int, dict[str, Any]], Answer]
"""From the number of the request (from 0) and its JSON body to the answer."""


def says(text: str | None, **how: Any) -> Answer:
    """A chat completion."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    body = {"id": "1", "object": "chat.completion", "created": 0, "model": MODEL, "choices": [choice]}
    return Answer(body=json.dumps(body).encode(), **how)


def fails(status: int, message: str = "no", **how: Any) -> Answer:
    """An error as OpenAI words it."""
    return Answer(status=status, body=json.dumps({"error": {"message": message}}).encode(), **how)


class FakeServer:
    """At `url` until `close`."""

    def __init__(self, respond: Respond, models: Answer) -> None:
        self.respond, self.models = respond, models
        self.bodies: list[dict[str, Any]] = []
        """Of the chat requests, in the order they came."""
        self.keys: list[str | None] = []
        self.probes = 0
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        self._http.block_on_close = False
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}/v1"

    def close(self) -> None:
        self._closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def chat(self, handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        with self._lock:
            number = len(self.bodies)
            self.bodies.append(body)
            self.keys.append(handler.headers.get("Authorization"))
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            self.send(handler, self.respond(number, body))
        finally:
            with self._lock:
                self._at_once -= 1

    def send(self, handler: BaseHTTPRequestHandler, answer: Answer) -> None:
        self._closing.wait(answer.after_s)
        handler.close_connection = True
        if answer.cut:
            return
        handler.send_response(answer.status)
        for name, value in {**answer.headers, "Content-Type": answer.content_type}.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(answer.body)))
        handler.end_headers()
        if answer.drip_s is None:
            handler.wfile.write(answer.body)
            return
        for byte in answer.body:
            handler.wfile.write(bytes([byte]))
            if self._closing.wait(answer.drip_s):
                return


@contextmanager
def serving(respond: Respond, *, models: Answer | None = None) -> Iterator[FakeServer]:
    """A server of one model."""
    server = FakeServer(respond, models or lists(MODEL))
    try:
        yield server
    finally:
        server.close()


def lists(*models: str) -> Answer:
    """The answer to GET /models."""
    data = [{"id": model, "object": "model", "created": 0, "owned_by": "me"} for model in models]
    return Answer(body=json.dumps({"object": "list", "data": data}).encode())


def question(number: int, answer: str | None = None) -> JudgeQuestion:
    """One about reading; each with an answer of its own unless told."""
    return JudgeQuestion(
        id=f"q/{number}",
        task="viquad",
        fields={"context": "Hà Nội là thủ đô của Việt Nam.", "question": "Thủ đô là gì?"},
        gold=("Hà Nội",),
        answer=f"thành phố {number}" if answer is None else answer,
    )


def _handler(server: FakeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.probes += 1
            self._quietly(lambda: server.send(self, server.models))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._quietly(lambda: server.chat(self, body))

        def _quietly(self, answer: Callable[[], None]) -> None:
            try:
                answer()
            except (BrokenPipeError, ConnectionResetError):  # the client has given up: that is what some tests want
                self.close_connection = True

        def log_message(self, *_: object) -> None: ...

    return Handler
