"""Compiled code is kept in the user's cache directory, where another process finds it; a place that was named stays."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from evalsuite.loading.artefacts import FOLDER_VARIABLE, INDUCTOR_VARIABLE, TRITON_VARIABLE, keep_artefacts

ROOT = Path(__file__).parents[2]
VARIABLES = (FOLDER_VARIABLE, INDUCTOR_VARIABLE, TRITON_VARIABLE, "XDG_CACHE_HOME")
COMPILE_SOMETHING = """
import json, warnings
warnings.simplefilter("ignore")
import torch
from torch._dynamo.utils import counters  # imports the compiler, which names a folder of its own at once
from evalsuite.loading.artefacts import keep_artefacts
keep_artefacts()
with torch.inference_mode():
    torch.compile(lambda x: x @ x)(torch.ones(8, 8))  # needs no C++ compiler, which would take most of the time
print(json.dumps(counters["aot_autograd"]))
"""


@pytest.fixture(autouse=True)
def _nothing_is_named(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in VARIABLES}
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    yield
    for name, value in before.items():  # what `keep_artefacts` set, monkeypatch does not know of
        os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def named() -> tuple[str | None, str | None]:
    return os.environ.get(INDUCTOR_VARIABLE), os.environ.get(TRITON_VARIABLE)


def in_folder(folder: Path) -> tuple[str, str]:
    return str(folder / "inductor"), str(folder / "triton")


def test_the_users_cache_directory_holds_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    keep_artefacts()
    assert named() == in_folder(tmp_path / "evalsuite" / "compiled")


@pytest.mark.parametrize("xdg", [None, "", "relative"], ids=["unset", "empty", "relative"])
def test_without_one_that_counts_it_is_in_the_home_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, xdg: str | None
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    if xdg is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", xdg)
    keep_artefacts()
    assert named() == in_folder(tmp_path / ".cache" / "evalsuite" / "compiled")


def test_a_variable_moves_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "here"))
    keep_artefacts()
    assert named() == in_folder(tmp_path / "here")
    assert not (tmp_path / "elsewhere").exists()


def test_what_the_user_named_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv(INDUCTOR_VARIABLE, "/the/users/own")
    keep_artefacts()
    assert named() == ("/the/users/own", None)
    monkeypatch.delenv(INDUCTOR_VARIABLE)
    monkeypatch.setenv(TRITON_VARIABLE, "/the/users/own")
    keep_artefacts()
    assert named() == (in_folder(tmp_path / "evalsuite" / "compiled")[0], "/the/users/own")


def test_the_folder_is_the_users_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "here"))
    keep_artefacts()
    assert stat.S_IMODE((tmp_path / "here").stat().st_mode) == 0o700


def test_a_folder_that_cannot_be_made_leaves_torchs_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "file" / "below"))
    keep_artefacts()
    assert named() == (None, None)


def test_a_second_process_compiles_nothing_anew(tmp_path: Path) -> None:
    first, second = compile_in_a_process(tmp_path), compile_in_a_process(tmp_path)
    assert (first.get("autograd_cache_hit", 0), first["autograd_cache_miss"]) == (0, 1)
    assert (second["autograd_cache_hit"], second.get("autograd_cache_miss", 0)) == (1, 0)


def compile_in_a_process(cache: Path) -> Mapping[str, int]:
    """What the compiler's caches did in a process of its own."""
    kept = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    done = subprocess.run(
        [sys.executable, "-c", COMPILE_SOMETHING],
        cwd=ROOT,
        # One graph needs no further processes to compile in, each of which would import torch.
        env=kept | {"XDG_CACHE_HOME": str(cache), "TORCHINDUCTOR_COMPILE_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    counts: Mapping[str, int] = json.loads(done.stdout.splitlines()[-1])
    return counts
