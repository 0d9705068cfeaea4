"""A judge in a real server process: nano behind `transformers serve`, asked exactly the text that it was trained on."""

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from evalsuite.config import InferenceConfig
from evalsuite.judge.opening import open_judge
from evalsuite.loading.sources import nano_dir
from tests.judge.fake_server import KEY
from tests.judge.nano_answers import agreement, sample_questions

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("fastapi", "uvicorn")),
    reason="transformers serve lacks its packages: pip install 'transformers[serving]'",
)

PASS_THROUGH = "{% for message in messages %}{{ message.content }}{% endfor %}"
"""nano has no chat template, and a server of chats must have one."""
REPLY = {
    "start_anchor": "\nĐiểm:",
    "defaults": {"role": "assistant"},
    "fields": {"content": {"content": "text", "content_args": {"strip": False}, "close": "<|endoftext|>"}},
}
"""Where the reply begins. transformers serve would look for Qwen3's own marker, and return the prompt as well."""
START_S = 90.0


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """(address, model) of a server process."""
    folder = tmp_path_factory.mktemp("served")
    model = folder / "nano"
    shutil.copytree(nano_dir(), model)
    (model / "chat_template.jinja").write_text(PASS_THROUGH)
    settings = json.loads((model / "tokenizer_config.json").read_text())
    (model / "tokenizer_config.json").write_text(json.dumps(settings | {"response_template": REPLY}))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", model]
    options = ["--host=127.0.0.1", f"--port={port}", "--device=cpu", "--dtype=float32"]
    environment = os.environ | {"HF_HOME": str(folder / "hub"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    log = folder / "log.txt"
    with log.open("wb") as output:
        process = subprocess.Popen([*command, *options], env=environment, stdout=output, stderr=output)
    try:
        _wait(process, port, log)
        yield f"http://127.0.0.1:{port}/v1", model
    finally:
        process.terminate()
        process.wait(10)


def test_a_served_judge_says_what_the_same_model_says_in_this_process(
    served: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    url, model = served
    questions = sample_questions(every=12)
    remote = open_judge(url, model=str(model), api_key=KEY).grade(questions)
    local = open_judge("local:nano", config=InferenceConfig(device="cpu", dtype="float32")).grade(questions)
    assert {id_: _said(grade.reply) for id_, grade in remote.items()} == {
        id_: _said(grade.reply) for id_, grade in local.items()
    }
    assert all(grade.value is not None for grade in remote.values())
    assert agreement(questions, remote) >= 0.8


def _said(reply: str) -> str:
    """In plain text the local judge ends at the end of the line; a chat has no such rule."""
    return reply.split("\n")[0].strip()


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    pytest.fail(f"transformers serve did not start in {START_S:g} s:\n{log.read_text(errors='replace')[-2000:]}")
