"""Two revisions side by side: a temporary worktree of the base, and benchmarks run in either tree."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from evalsuite.errors import ConfigError, EvalsuiteError
from evalsuite.gate.times import Seconds

NO_TESTS = 5
"""pytest's exit code where nothing was collected."""
SHOWN_LINES = 15
_NOT_INHERITED = ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_CURRENT_TEST")


class RunFailed(EvalsuiteError):
    """A run of one of the two trees failed, so there is nothing to compare."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tree:
    """One revision's files."""

    name: str
    """`base` or `head`."""
    path: Path


def repository_root(folder: Path) -> Path:
    """Raises `ConfigError` outside of a git repository."""
    return Path(_git(folder, "rev-parse", "--show-toplevel"))


@contextmanager
def base_tree(root: Path, revision: str) -> Iterator[Tree]:
    """A worktree of `revision` in a temporary folder, gone afterwards. Raises `ConfigError` for an unknown one."""
    commit = _git(
        root, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}", what=f"a revision, got {revision!r}"
    )
    with tempfile.TemporaryDirectory(prefix="evalsuite-gate-") as folder:
        path = Path(folder) / "base"
        _git(root, "worktree", "add", "--detach", str(path), commit)
        try:
            yield Tree(name="base", path=path)
        finally:
            _git(root, "worktree", "remove", "--force", str(path))


def describe(root: Path, revision: str) -> str:
    """`HEAD~1 (3f1c2ab)`."""
    return f"{revision} ({_git(root, 'rev-parse', '--short', revision)})"


def require_own_code(tree: Tree) -> None:
    """Raises `RunFailed` where a run in this tree would import another tree's evalsuite."""
    code = "import evalsuite; print(evalsuite.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tree.path, env=tree_environment(tree), capture_output=True, text=True
    )
    where = done.stdout.strip()
    if done.returncode or not Path(where).resolve().is_relative_to(tree.path.resolve()):
        raise RunFailed(
            f"{tree.name}: expected to import evalsuite from {tree.path}, got {where or done.stderr[-500:]}"
        )


def time_benchmarks(tree: Tree, arguments: Sequence[str]) -> Seconds:
    """Run `pytest ARGUMENTS` in the tree; each case's fastest round in seconds. Empty where nothing was collected.

    The fastest round, since whatever else the machine does can only slow one down.

    Raises:
        RunFailed: pytest ended with another code than 0 and "no tests".
    """
    with tempfile.TemporaryDirectory(prefix="evalsuite-gate-") as folder:
        saved = Path(folder) / "run.json"
        command = [sys.executable, "-m", "pytest", *arguments, f"--benchmark-json={saved}"]
        command += ["-q", "-p", "no:cacheprovider", "--results", str(Path(folder) / "results")]
        done = subprocess.run(
            command,
            cwd=tree.path,
            env=tree_environment(tree),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        if done.returncode == NO_TESTS:
            return {}
        if done.returncode:
            tail = "\n".join(done.stdout.splitlines()[-SHOWN_LINES:])
            raise RunFailed(f"{tree.name}: pytest {' '.join(arguments)} ended with code {done.returncode}:\n{tail}")
        benchmarks = json.loads(saved.read_text())["benchmarks"] if saved.exists() and saved.stat().st_size else []
    return {benchmark["fullname"]: benchmark["stats"]["min"] for benchmark in benchmarks}


def tree_environment(tree: Tree) -> dict[str, str]:
    """The tree before everything else on the path: an editable install of another tree must not stand in for it."""
    kept = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    further = os.environ.get("PYTHONPATH")
    return kept | {"PYTHONPATH": os.pathsep.join([str(tree.path), *([further] if further else [])])}


def _git(folder: Path, *arguments: str, what: str = "a git repository") -> str:
    """What git prints. Its variables are left out, or a hook's would point it elsewhere."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    except OSError as error:
        raise ConfigError(f"git: expected to run it, got {error.strerror or error}; install git") from error
    if done.returncode:
        said = done.stderr.strip() or f"code {done.returncode}"
        raise ConfigError(f"{folder}: expected {what}; git {arguments[0]}: {said}")
    return done.stdout.strip()
