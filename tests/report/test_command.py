"""`evalsuite report` on a real run of nano, and the histogram that pytest-benchmark draws beside it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from evalsuite.cli import USAGE_ERROR, main
from tests.report.making import line, record, request, varied_run, write_run

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def nano_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `results/`, one run of two cases in it, and `histogram.svg`."""
    folder = tmp_path_factory.mktemp("nano")
    chosen = ["-k", "test_mmlu and (unbatched or padded)", "--limit", "10", "-p", "no:cacheprovider"]
    kept = ["--results", str(folder / "results"), f"--benchmark-histogram={folder / 'histogram'}"]
    run_pytest("benchmarks/test_mmlu.py", *chosen, *kept)
    return folder


def run_pytest(*arguments: str) -> None:
    # Of the run that these tests are part of: they would make the inner run think that it is a worker.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_real_run_becomes_one_page_with_its_prompts(nano_run, tmp_path, capsys):
    output = tmp_path / "report.html"
    assert main(["report", str(nano_run / "results"), "-o", str(output)]) == 0
    page = output.read_text(encoding="utf-8")
    assert f"{output}: " in capsys.readouterr().out
    assert "test_mmlu[padded]" in page
    assert "Unpacking 10 questions" in page
    assert "prompts is not on this page" not in page
    assert "no ceiling" not in page


def test_the_histogram_of_pytest_benchmark_still_comes(nano_run):
    (histogram,) = nano_run.glob("histogram*.svg")
    assert "<svg" in histogram.read_text(encoding="utf-8")


def test_without_a_run_the_newest_of_the_default_folder_is_shown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    varied_run(tmp_path / ".evalsuite")
    assert main(["report"]) == 0
    assert "test_batch_size[8]" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_without_a_run_all_workers_of_the_newest_are_shown(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder, answers = tmp_path / ".evalsuite", [line(request(0))]
    for pid, case, session in ((1, "other", "before"), (2, "first", "now"), (3, "between", None), (4, "second", "now")):
        write_run(
            folder, {case: record(case, task=case)}, {case: answers}, name=f"20260101-00000{pid}-x", session=session
        )
    assert main(["report", "--without-prompts"]) == 0
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "8 in 2 tasks" in page
    assert "1 run in 2 folders, the newest 20260101-000004-x" in page
    assert capsys.readouterr().err == (
        "evalsuite report: one run of workers: .evalsuite/20260101-000004-x, .evalsuite/20260101-000002-x\n"
    )


def test_a_real_run_of_two_workers_is_shown_whole(tmp_path, monkeypatch):
    chosen = ["-k", "(mmlu or viquad) and padded and not unpadded", "--limit=4", "--reference-limit=2"]
    chosen += ["-n2", "--dist=loadfile", "--benchmark-disable", "--results", str(tmp_path / ".evalsuite")]
    run_pytest("benchmarks/test_mmlu.py", "benchmarks/test_viquad.py", *chosen)
    assert len(list(tmp_path.glob(".evalsuite/*/summary.json"))) == 2
    monkeypatch.chdir(tmp_path)
    assert main(["report"]) == 0
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "8 in 2 tasks" in page
    assert "test_mmlu[padded]" in page and "test_viquad[padded]" in page


def test_runs_without_answers_are_named_in_one_line(tmp_path, capsys):
    varied_run(tmp_path)
    for day in (1, 2):
        write_run(tmp_path, {}, name=f"2026020{day}-000000-x-1")
    assert main(["report", str(tmp_path), "-o", str(tmp_path / "report.html")]) == 0
    said = "evalsuite report: 2 runs without answers, not counted: 20260201-000000-x-1, 20260202-000000-x-1\n"
    assert capsys.readouterr().err == said


def test_without_a_run_those_without_answers_are_passed_over_and_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / ".evalsuite"
    for name in ("20260201-000000-mistyped-1", "20260202-000000-damaged-1", "20260203-000000-killed-1"):
        write_run(folder, {}, name=name)
    (folder / "20260202-000000-damaged-1" / "summary.json").write_text("{")
    (folder / "20260203-000000-killed-1" / "journal").mkdir()
    (folder / "20260203-000000-killed-1" / "journal" / "test_x.0.jsonl").write_text("")
    assert main(["report"]) == USAGE_ERROR
    assert "expected at least one run's folder with answers" in capsys.readouterr().err
    varied_run(folder)
    assert main(["report"]) == 0
    assert "test_batch_size[8]" in (tmp_path / "report.html").read_text(encoding="utf-8")
    said = capsys.readouterr()
    killed, damaged, mistyped = said.err.splitlines()
    assert "killed-1: it is not finished; to finish it" in killed and "--resume=" in killed
    assert "passed over: .evalsuite/20260202-000000-damaged-1/summary.json: expected JSON" in damaged
    assert mistyped.endswith("20260201-000000-mistyped-1: it was ended before its first answer")
    assert re.fullmatch(r"report\.html: [\d.]+ kB\n", said.out)


def test_the_page_s_usual_place_is_no_part_of_the_repository():
    assert "/report.html" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()


def test_prompts_are_left_out_on_request(tmp_path):
    output = tmp_path / "report.html"
    assert main(["report", str(varied_run(tmp_path)), "-o", str(output), "--without-prompts"]) == 0
    assert "The text of 4 prompts is not on this page." in output.read_text(encoding="utf-8")


@pytest.mark.parametrize("by_name", [False, True])
def test_a_damaged_run_is_left_out_with_the_reason_and_the_others_are_shown(tmp_path, capsys, by_name):
    runs = tmp_path / "runs"
    varied_run(runs)
    damaged = write_run(runs, {}, name="20260201-000000-x-1")
    (damaged / "summary.json").write_text('{"run": "x", "ca')
    output = tmp_path / "report.html"
    assert main(["report", *map(str, sorted(runs.iterdir()) if by_name else [runs]), "-o", str(output)]) == 0
    page, said = output.read_text(encoding="utf-8"), capsys.readouterr()
    assert "test_batch_size[8]" in page
    for told in (said.err, page):
        assert f"{damaged / 'summary.json'}: expected JSON as a run writes it; the file is there, but damaged" in told
    assert main(["report", str(damaged), "-o", str(output)]) == USAGE_ERROR


def test_damaged_prompts_say_how_the_page_comes_without_them(tmp_path, capsys):
    run = varied_run(tmp_path)
    (prompts,) = run.glob("prompts-*.gz")
    prompts.write_bytes(prompts.read_bytes()[:-20])
    output = ["-o", str(tmp_path / "report.html")]
    assert main(["report", str(run), *output]) == USAGE_ERROR
    assert "--without-prompts makes the page without them" in capsys.readouterr().err
    assert main(["report", str(run), *output, "--without-prompts"]) == 0


def test_what_is_no_run_and_what_cannot_be_written_are_usage_errors(tmp_path, capsys):
    assert main(["report", str(tmp_path / "gone")]) == USAGE_ERROR
    assert "expected a run's folder" in capsys.readouterr().err
    run = varied_run(tmp_path)
    assert main(["report", str(run), "-o", str(tmp_path / "gone" / "x.html")]) == USAGE_ERROR
    assert "choose another with -o FILE" in capsys.readouterr().err


def test_the_command_starts_without_torch():
    code = "import sys, evalsuite.commands.report; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60).returncode == 0
