"""`evalsuite track`: each checkpoint once, in step order; what is done outlives failures, interrupts and kills."""

from __future__ import annotations

import csv
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from evalsuite.cli import main
from evalsuite.tracking import following
from evalsuite.tracking.evaluating import Evaluated
from tests.track.making import evaluate_here, write_checkpoint

ROOT = Path(__file__).parents[2]
NOISES = {"step_1000": 0.0, "ckpt-500": 0.35, "step_250": 0.6}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The names of evaluated checkpoints. Evaluation happens in this process."""
    called: list[str] = []
    monkeypatch.setattr(following, "evaluate", evaluate_here(called))
    (tmp_path / "benchmarks").mkdir()
    monkeypatch.chdir(tmp_path)
    return called


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, noise in NOISES.items():
        write_checkpoint(tmp_path / "ck", name, noise)
    return tmp_path / "ck"


def track(*options: str) -> int:
    return main(["track", "ck", "--out", "out", *options])


def values() -> dict[str, float]:
    with Path("out/track.csv").open() as file:
        return {row["checkpoint"]: float(row["value"]) for row in csv.DictReader(file) if row["metric"] == "accuracy"}


def test_checkpoints_are_evaluated_in_step_order_and_their_scores_tell_them_apart(
    calls: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert track("--model", "nano") == 0
    assert calls == ["step_250", "ckpt-500", "step_1000"]
    scores = values()
    assert scores["step_250"] < scores["ckpt-500"] < scores["step_1000"] == 1.0
    out = capsys.readouterr().out
    assert re.search(r"step_1000 +1,000 +1\.000 \[0\.\d{3}, 1\.000\]", out)
    for plot in ("track.svg", "test_mmlu-padded-accuracy.svg"):
        svg = Path("out", plot).read_text()
        assert svg.count("<circle") == 3
        assert "<script xlink:href" not in svg and "kozea.github.io" not in svg  # nothing is fetched


def test_a_second_call_evaluates_nothing_and_a_new_or_rewritten_checkpoint_only_itself(
    calls: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    track("--model", "nano")
    calls.clear()
    assert track("--model", "nano") == 0
    assert calls == []
    assert "3 checkpoints in ck, 0 to evaluate" in capsys.readouterr().out
    write_checkpoint(folder, "step_2000", 0.1)
    track("--model", "nano")
    assert calls == ["step_2000"]
    write_checkpoint(folder, "step_250", 0.0)
    track("--model", "nano")
    assert calls == ["step_2000"], "the same weights as step_1000, which is done"
    assert values()["step_250"] == 1.0
    write_checkpoint(folder, "step_250", 0.01)
    track("--model", "nano")
    assert calls == ["step_2000", "step_250"]


def test_other_options_are_another_evaluation_but_not_how_much_pytest_says(calls: list[str], folder: Path) -> None:
    track("--model", "nano")
    track("--model", "nano", "-q")
    assert len(calls) == 3
    track("--model", "nano", "--shots", "2")
    assert len(calls) == 6


def test_a_deleted_checkpoint_keeps_its_score_and_a_deleted_run_is_made_again(calls: list[str], folder: Path) -> None:
    track("--model", "nano")
    shutil.rmtree(folder / "step_250")
    shutil.rmtree("out/runs/3")
    track("--model", "nano")
    assert calls[3:] == ["step_1000"]
    assert sorted(values()) == sorted(NOISES)


def test_whole_checkpoints_need_no_model_and_those_of_weights_alone_do(
    calls: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_checkpoint(tmp_path / "ck", "checkpoint-10", 0.0, whole=True)
    write_checkpoint(tmp_path / "ck", "checkpoint-20/hf", 0.1, whole=True)
    write_checkpoint(tmp_path / "ck", "checkpoint-30", 0.1)
    assert track() == 1
    assert calls == ["checkpoint-10", "checkpoint-20"]
    assert "checkpoint-30: FAILED" in (out := capsys.readouterr().out) and "name the model: --model" in out


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        (["config.json"], "found no config.json beside the weights"),
        (["tokenizer.json"], "found no tokenizer (tokenizer.json or "),
        (["config.json", "tokenizer.json"], "found no config.json and no tokenizer (tokenizer.json or "),
    ],
    ids=["config", "tokenizer", "both"],
)
def test_what_a_checkpoint_lacks_is_named(
    calls: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], gone: list[str], said: str
) -> None:
    directory = write_checkpoint(tmp_path / "ck", "checkpoint-10", 0.0, whole=True)
    for name in gone:
        (directory / name).unlink()
    assert track() == 1
    assert f"checkpoint-10: FAILED: ck/checkpoint-10: {said}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("there", "instead"),
    [
        ([], "nothing that looks like one"),
        (["logs", "samples"], "passed over, neither weights in it nor a step in its name: logs, samples"),
        (["step_500"], "step_500: skipped: no weights in it, or not yet"),
    ],
    ids=["empty", "other folders", "half-written"],
)
def test_a_folder_without_checkpoints_is_refused_by_what_is_looked_for(
    calls: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], there: list[str], instead: str
) -> None:
    (tmp_path / "ck").mkdir()
    for name in there:
        (tmp_path / "ck" / name).mkdir()
    assert track("--model", "nano") == 2
    error = capsys.readouterr().err
    assert f"ck: expected checkpoints to evaluate, found none ({instead}). A checkpoint is a folder named" in error
    assert "or wait for the first one by --watch SECONDS" in error
    assert not Path("out").exists(), "what was asked for by mistake leaves nothing"


def test_torch_is_not_imported_to_find_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "ck" / "logs").mkdir(parents=True)
    (tmp_path / "ck" / "logs" / "events.json").touch()
    code = "import sys; from evalsuite.cli import main; print(main(['track', 'ck']), 'torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert run.stdout == "2 False\n"


def test_a_watched_folder_waits_for_its_first_checkpoint(
    calls: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ck").mkdir()
    monkeypatch.setattr("evalsuite.commands.track.time.sleep", first_then_interrupt(tmp_path / "ck"))
    assert track("--model", "nano", "--watch", "5") == 130
    out = capsys.readouterr().out
    assert "0 checkpoints in ck" in out and "a checkpoint is a folder named step_500, ckpt-1000" in out
    assert out.count("waiting for the first one") == 1
    assert calls == ["step_10"]


def first_then_interrupt(folder: Path) -> Callable[[float], None]:
    """A sleep in which a first checkpoint is written, after one in which nothing is; then Ctrl-C."""
    looks = iter([lambda: None, lambda: write_checkpoint(folder, "step_10", 0.1)])

    def sleep(seconds: float) -> None:
        look: Callable[[], object] | None = next(looks, None)
        if look is None:
            raise KeyboardInterrupt
        look()

    return sleep


def test_scores_of_checkpoints_that_are_all_deleted_are_shown(
    calls: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    track("--model", "nano")
    for name in NOISES:
        shutil.rmtree(folder / name)
    capsys.readouterr()
    assert track("--model", "nano") == 0
    assert re.search(r"step_1000 +1,000 +1\.000", capsys.readouterr().out)
    assert track("--model", "nano", "--shots", "2") == 2, "by these options none was evaluated"


def test_folders_that_are_passed_over_are_named_in_one_line(
    calls: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("final", "logs"):
        (folder / name).mkdir()
    track("--model", "nano")
    out = capsys.readouterr().out
    assert "passed over, neither weights in it nor a step in its name: final, logs\n" in out
    assert "a checkpoint is" not in out


def failing(broken: str, evaluate: Any, error: type[BaseException] | None = None) -> Any:
    def run(name: str, arguments: Sequence[str], out: Path) -> Evaluated:
        if name == broken and error is not None:
            raise error
        if name == broken:
            return Evaluated(run=None, problem="it broke", seconds=1.0)
        result: Evaluated = evaluate(name, arguments, out)
        return result

    return run


def test_a_failed_checkpoint_is_reported_the_rest_goes_on_and_it_is_tried_again(
    calls: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = following.evaluate
    monkeypatch.setattr(following, "evaluate", failing("ckpt-500", real))
    assert track("--model", "nano") == 1
    assert "ckpt-500: FAILED: it broke" in capsys.readouterr().out
    assert sorted(values()) == ["step_1000", "step_250"]
    monkeypatch.setattr(following, "evaluate", real)
    assert track("--model", "nano") == 0
    assert calls == ["step_250", "step_1000", "ckpt-500"]


def test_ctrl_c_keeps_and_shows_what_is_done(
    calls: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = following.evaluate
    monkeypatch.setattr(following, "evaluate", failing("ckpt-500", real, KeyboardInterrupt))
    assert track("--model", "nano") == 130
    assert list(values()) == ["step_250"]
    assert "the next call goes on from there" in capsys.readouterr().out
    monkeypatch.setattr(following, "evaluate", real)
    assert track("--model", "nano") == 0
    assert calls == ["step_250", "ckpt-500", "step_1000"]


def test_a_checkpoint_that_changes_while_it_is_evaluated_is_not_done(
    calls: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = following.evaluate

    def rewriting(name: str, arguments: Sequence[str], out: Path) -> Evaluated:
        result: Evaluated = real(name, arguments, out)
        if name == "step_1000":
            write_checkpoint(folder, name, 0.2)
        return result

    monkeypatch.setattr(following, "evaluate", rewriting)
    assert track("--model", "nano") == 1
    assert sorted(values()) == ["ckpt-500", "step_250"]


def test_watching_evaluates_what_comes_and_tries_no_failure_twice(
    calls: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "evaluate", failing("ckpt-500", following.evaluate))
    looks = iter([lambda: write_checkpoint(folder, "step_2000", 0.1), lambda: None])

    def sleep(seconds: float) -> None:
        look: Callable[[], object] | None = next(looks, None)
        if look is None:
            raise KeyboardInterrupt
        look()

    monkeypatch.setattr("evalsuite.commands.track.time.sleep", sleep)
    assert track("--model", "nano", "--watch", "5") == 130
    assert calls == ["step_250", "step_1000", "step_2000"]


def test_a_torn_last_line_of_what_is_done_costs_only_that_checkpoint(calls: list[str], folder: Path) -> None:
    track("--model", "nano")
    state = Path("out/state/done.jsonl")
    state.write_text(state.read_text()[:-20])
    assert track("--model", "nano") == 0
    assert calls[3:] == ["step_1000"]
    assert len(state.read_text().splitlines()) == 3


def test_two_at_once_in_one_folder_are_refused(
    calls: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    codes = []
    real = following.evaluate
    monkeypatch.setattr(following, "evaluate", lambda *given: (codes.append(track("--model", "nano")), real(*given))[1])
    assert track("--model", "nano") == 0
    assert codes == [2, 2, 2]
    assert "another process works" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--checkpoint", "x"], "--checkpoint: evalsuite track sets this"),
        (["--watch", "0"], "--watch: expected seconds above 0"),
        (["--benchmarks", "nowhere.py"], "found no nowhere.py"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(
    calls: list[str], folder: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    assert track("--model", "nano", *options) == 2
    assert said in capsys.readouterr().err


FAKE_CONFTEST = """
def pytest_addoption(parser):
    parser.addoption("--benchmark-disable", action="store_true")
    for option in ("--results", "--model", "--checkpoint", "--strategy", "--limit"):
        parser.addoption(option)
    parser.addoption("--resume", nargs="?", const="latest")
"""
FAKE_BENCHMARK = """
import json, pathlib, time
import pytest
def test_mmlu(pytestconfig):
    name = pathlib.Path(pytestconfig.getoption("--checkpoint")).name
    pathlib.Path(f"started-{name}").write_text(pytestconfig.getoption("--limit"))
    while name == "step_250" and not pathlib.Path("released").exists():
        time.sleep(0.05)
    run = pathlib.Path(pytestconfig.getoption("--results")) / name
    run.mkdir(parents=True)
    metric = {"name": "accuracy", "value": 0.5, "stderr": 0.1, "count": 40, "group": "overall"}
    faithful = name != "step_100"
    verdict = {"faithful": faithful, "summary": "faithful" if faithful else "NOT FAITHFUL"}
    record = {"task": "mmlu", "score": metric, "metrics": [metric], "verdict": verdict}
    (run / "summary.json").write_text(json.dumps({"run": name, "cases": {"test_mmlu[padded]": record}}))
    assert name != "ckpt-500", "a case that fails"
    if name == "ckpt-700":
        pytest.fail("ModelFilesError: " + "a reason longer than a line, " * 9 + "to its end", pytrace=False)
    assert faithful
"""


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A project whose benchmark needs no model but is run as any other, and the command for it."""
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "test_mmlu.py").write_text(FAKE_BENCHMARK)
    (tmp_path / "conftest.py").write_text(FAKE_CONFTEST)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # quicker, and it needs none
    return ["track", "ck", "--out", "out", "--model", "nano", "-k", "mmlu", "--limit", "7"]


def test_each_checkpoint_has_a_process_of_its_own_which_gets_pytests_options(
    elsewhere: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, noise in (("step_100", 0.1), ("ckpt-500", 0.2)):
        write_checkpoint(tmp_path / "ck", name, noise)
    assert main(elsewhere) == 1
    assert Path("started-step_100").read_text() == "7"
    out = capsys.readouterr().out
    assert "ckpt-500: FAILED: pytest ended with code 1: " in out and "a case that fails" in out
    assert sorted(values()) == ["step_100"]
    assert "step_100: done in" in out and ", but test_mmlu[padded]: NOT FAITHFUL" in out
    assert "[0.352, 0.648] (!)" in out and "(!) step_100: test_mmlu[padded] is NOT FAITHFUL" in out
    write_checkpoint(tmp_path / "ck", "ckpt-600", 0.3)
    assert main([*elsewhere, "-k", "nothing"]) == 2
    assert capsys.readouterr().out.count("...") == 1, "no checkpoint could fare better, so the first ends the call"


def test_a_reason_is_shown_whole(elsewhere: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_checkpoint(tmp_path / "ck", "ckpt-700", 0.1)
    assert main(elsewhere) == 1
    reason = "ModelFilesError: " + "a reason longer than a line, " * 9 + "to its end"
    out = capsys.readouterr().out
    assert f"ckpt-700: FAILED: pytest ended with code 1: {reason} | FAILED benchmarks/test_mmlu.py::test_mmlu (" in out


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a child outlives a parent that is killed")
def test_a_kill_loses_nothing_done_and_leaves_no_child_behind(elsewhere: list[str], tmp_path: Path) -> None:
    for name, noise in (("step_100", 0.1), ("step_250", 0.2)):
        write_checkpoint(tmp_path / "ck", name, noise)
    process = subprocess.Popen([sys.executable, "-m", "evalsuite", *elsewhere], stdout=subprocess.DEVNULL)
    wait_for(Path("started-step_250").exists)
    (child,) = (int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split())
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_for(lambda: not is_running(child))
    Path("started-step_100").unlink()
    Path("released").touch()
    assert main(elsewhere) == 0
    assert not Path("started-step_100").exists(), "it was done before the kill"
    assert sorted(values()) == ["step_100", "step_250"]


def wait_for(happened: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_the_real_thing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """This project's MMLU on one real checkpoint of nano."""
    write_checkpoint(tmp_path, "step_500", 0.35)
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    monkeypatch.delenv("PYTEST_XDIST_WORKER_COUNT", raising=False)
    out = tmp_path / "out"
    options = ["--model", "nano", "--benchmarks", "benchmarks/test_mmlu.py", "--limit", "30", "--reference-limit", "4"]
    assert main(["track", str(tmp_path), "--out", str(out), *options]) == 0
    (row, macro) = csv.DictReader((out / "track.csv").read_text().splitlines())
    assert (row["case"], row["metric"], row["questions"]) == ("test_mmlu[packed]", "accuracy", "30")
    assert 0.25 < float(row["low"]) < float(row["value"]) < 1
    assert macro["metric"] == "accuracy_macro"
