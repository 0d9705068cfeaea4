"""run.py, the two commands of the README: what it passes on, and what it refuses to install."""

import importlib.util
import json
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


@pytest.mark.parametrize(
    ("options", "paths"),
    [
        (["-k", "mmlu", "--data", "/"], ["benchmarks"]),
        (["benchmarks/test_mmlu.py::test_mmlu"], []),
        (["benchmarks/"], []),
    ],
    ids=["no path", "a case", "the folder"],
)
def test_a_path_that_is_given_replaces_the_default_folder(
    script: ModuleType, options: list[str], paths: list[str]
) -> None:
    passed = script._without_default_paths(script.ARGUMENTS["bench"], options)
    assert [argument for argument in passed if argument == "benchmarks"] == paths
    assert "-rs" in passed


@pytest.mark.parametrize(
    ("options", "left_out"), [([], True), (["-k", "compile"], False)], ids=["no options", "options"]
)
def test_the_bare_command_leaves_out_the_optimisations_and_any_option_brings_them_back(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, options: list[str], left_out: bool
) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr(script, "set_up", lambda _: None)
    monkeypatch.setattr(script.subprocess, "run", lambda command, **_: ran.append(command) or Mock(returncode=0))
    assert script.main(["bench", *options]) == 0
    assert "benchmarks" in ran[0]
    for file in ("test_optimisations.py", "test_attention.py", "test_claims.py"):
        assert (f"--ignore=benchmarks/{file}" in ran[0]) is left_out


@pytest.mark.parametrize("options", [["--judge-api-key", "sk-1"], ["--judge-api-key=sk-1"]], ids=["two", "one"])
def test_a_judge_s_key_is_passed_on_and_not_shown(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr(script, "set_up", lambda _: None)
    monkeypatch.setattr(script.subprocess, "run", lambda command, **_: ran.append(command) or Mock(returncode=0))
    script.main(["bench", *options, "-x"])
    assert ran[0][-len(options) - 1 :] == [*options, "-x"]
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
