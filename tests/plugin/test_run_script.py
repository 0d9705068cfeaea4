"""run.py, the two commands of the README: what it passes on, and what it refuses to install."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from unittest.mock import Mock

import pytest

from tests.plugin.conftest import ROOT


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("evalsuite_run_script", ROOT / "run.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def passed(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """What a command gives to pytest, which is not started."""
    started: list[list[str]] = []

    def start(command: list[str], **_: object) -> Mock:
        started.append(command)
        return Mock(**{"wait.return_value": 0})

    def run(*arguments: str) -> list[str]:
        assert script.main(arguments) == 0
        return started.pop()[3:]

    monkeypatch.setattr(script, "set_up", lambda _: None)
    monkeypatch.setattr(script.subprocess, "Popen", start)
    return run


@pytest.mark.parametrize(
    ("options", "paths"),
    [
        (["-k", "mmlu", "--data", "/"], ["benchmarks"]),
        (["--gate", "--expected", "benchmarks/expected.json"], ["benchmarks"]),
        (["benchmarks/test_mmlu.py::test_mmlu"], ["benchmarks/test_mmlu.py::test_mmlu"]),
        (["benchmarks/"], ["benchmarks/"]),
    ],
    ids=["no path", "an option's file", "a case", "the folder"],
)
def test_a_path_that_is_given_replaces_the_default_folder(
    passed: Callable[..., list[str]], options: list[str], paths: list[str]
) -> None:
    given = passed("bench", *options)
    assert [argument for argument in given if argument in ("benchmarks", *paths)] == paths
    assert "-rs" in given
    assert given[-len(options) :] == options


ON_REQUEST = [f"benchmarks/test_{name}.py" for name in ("optimisations", "attention", "claims", "determinism")]


def left_out(arguments: list[str]) -> list[str]:
    return [argument.removeprefix("--ignore=") for argument in arguments if argument.startswith("--ignore=")]


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--model", "DIR", "--data", "DIR", "--shots", "5"],
        ["--strategy", "padded,unbatched", "--limit", "500"],
        ["--benchmark-disable"],
        ["--gate", "--expected", "benchmarks/expected.json"],
        ["--kv-cache-dtype", "int8"],
    ],
    ids=["none", "a model", "strategies", "no timing", "a file in the folder", "an option with a k"],
)
def test_what_takes_long_is_left_out_whatever_the_options_are(
    passed: Callable[..., list[str]], options: list[str]
) -> None:
    assert left_out(passed("bench", *options)) == ON_REQUEST


@pytest.mark.parametrize(
    "options",
    [
        ["-k", "mmlu or compile"],
        ["--limit", "3", "-kcompile"],
        ["-xk", "compile"],
        ["benchmarks", "--gate"],
        ["benchmarks/", "--update-expected"],
        ["benchmarks/test_attention.py", "--require", "cuda"],
        ["benchmarks/test_optimisations.py::test_dtype[float16]"],
    ],
    ids=["k", "k with its names", "k behind a flag", "the folder", "with a slash", "a file", "a case"],
)
def test_a_path_or_k_asks_for_what_takes_long(passed: Callable[..., list[str]], options: list[str]) -> None:
    assert left_out(passed("bench", *options)) == []


def test_the_tests_leave_nothing_out(passed: Callable[..., list[str]]) -> None:
    assert left_out(passed("test")) == []


def test_a_run_is_gone_on_with_by_the_same_selection(passed: Callable[..., list[str]]) -> None:
    assert passed("bench", "--resume") == [*passed("bench"), "--resume"]
    assert passed("bench", "--limit", "9", "--resume=RUN") == [*passed("bench", "--limit", "9"), "--resume=RUN"]


CLOSING = """#!{python}
import sys, time
try:
    print("started", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    time.sleep(1)
    print("closed", flush=True)
    sys.exit(2)
"""
CALLING = """
import sys
from pathlib import Path
import run
run.set_up = lambda _: None
run.python = lambda: Path(sys.argv[1])
sys.exit(run.main(["bench"]))
"""


def test_ctrl_c_leaves_pytest_the_time_to_close_and_its_exit_code_comes_back(tmp_path: Path) -> None:
    """In place of pytest, something that takes a second to close."""
    stand_in = tmp_path / "python"
    stand_in.write_text(CLOSING.format(python=sys.executable))
    stand_in.chmod(0o755)
    command = [sys.executable, "-c", CALLING, str(stand_in)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, text=True, start_new_session=True, **pipes) as process:
        assert process.stdout
        while "started" not in (line := process.stdout.readline()):
            assert line, "it ended before it started"
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        printed, errors = process.communicate(timeout=30)
    assert (printed, errors, process.returncode) == ("closed\n", "", 2)


@pytest.mark.parametrize("options", [["--judge-api-key", "sk-1"], ["--judge-api-key=sk-1"]], ids=["two", "one"])
def test_a_judge_s_key_is_passed_on_and_not_shown(
    passed: Callable[..., list[str]], capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    assert passed("bench", *options, "-x")[-len(options) - 1 :] == [*options, "-x"]
    shown = capsys.readouterr().out
    assert ("sk-1" in shown, "***" in shown, "-x" in shown) == (False, True, True)


@pytest.mark.parametrize("arguments", [[], ["bnech"]], ids=["nothing", "a typo"])
def test_an_unknown_command_shows_the_two_there_are(
    script: ModuleType, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.main(arguments) == 2
    assert "python3 run.py bench" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("requires", "refused"),
    [(["numpy"], False), (["numpy", "nvidia-cublas; platform_system == 'Linux'"], True), (["cuda-toolkit==13"], True)],
    ids=["cpu", "nvidia", "toolkit"],
)
def test_cuda_packages_are_refused_before_they_come(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, requires: list[str], refused: bool
) -> None:
    report = {"install": [{"metadata": {"version": "2.13.0", "requires_dist": requires}}]}
    monkeypatch.setattr(script, "pip", lambda *_, **__: json.dumps(report))
    if not refused:
        script.refuse_cuda_build([])
        return
    with pytest.raises(SystemExit, match="only with CUDA"):
        script.refuse_cuda_build([])


def test_what_is_set_up_is_not_set_up_again_until_its_files_change(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    installed: list[tuple[str, ...]] = []
    monkeypatch.setattr(script, "ENVIRONMENT", tmp_path)
    monkeypatch.setattr(script, "has_nvidia_gpu", lambda: True)
    monkeypatch.setattr(script.venv, "create", lambda *_, **__: None)
    monkeypatch.setattr(script, "pip", lambda *arguments, **__: installed.append(arguments))
    for extras in ("[dev]", "[dev]", ""):
        script.set_up(extras)
    assert [arguments[-1] for arguments in installed] == [f"{ROOT}[dev]"]
    monkeypatch.setattr(script, "fingerprint", lambda _: "another")
    script.set_up("")
    assert installed[-1][-1] == f"{ROOT}"
