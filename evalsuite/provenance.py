"""What is needed to run a run again, as its summary says it: command, options, code, versions, hardware.

Data and model are named and hashed in each case's record. A judge's key is nowhere.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import platform
import re
import socket
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalsuite import __version__
from evalsuite.judge.opening import KEY_VARIABLES
from evalsuite.judge.secret import HIDDEN, Secret
from evalsuite.resume.key import code_fingerprint

if TYPE_CHECKING:
    from evalsuite.harness.options import SuiteOptions

KEY_OPTION = "--judge-api-key"
ENVIRONMENT = (
    "PYTEST_ADDOPTS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "CUDA_VISIBLE_DEVICES",
    "CUBLAS_WORKSPACE_CONFIG",
    "NVIDIA_TF32_OVERRIDE",
    "HF_HUB_OFFLINE",
    "EVALSUITE_JUDGE_MODEL",
)
"""Variables that a run's options or numbers depend on. A key is never among them."""
GIT_SECONDS = 10.0
LARGE_BYTES = 1 << 20
"""Of an untracked file: beyond, its size stands for its content."""

_USER_IN_URL = re.compile(r"(?<=://)[^/@\s]+(?=@)")


def provenance(
    options: SuiteOptions, *, arguments: Sequence[str], directory: Path, root: Path, session: str | None = None
) -> dict[str, Any]:
    """The `provenance` of a summary.

    Args:
        arguments: pytest's, as given.
        directory: where it was called.
        root: of the project that holds the benchmarks: whose git state is meant.
        session: what all workers of one call under `-n` have in common; None without workers.
    """
    given = options.judge.api_key if options.judge else None
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": without_secrets(arguments, given),
        "directory": str(directory),
        "environment": {
            name: without_secrets([os.environ[name]], given)[0] for name in ENVIRONMENT if name in os.environ
        },
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "session": session,
        "options": asked(options),
        "evalsuite": __version__,
        "code": code_fingerprint(),
        "python": platform.python_version(),
        "git": git_state(root),
    }


def asked(options: SuiteOptions) -> dict[str, Any]:
    """The options that a result depends on, as JSON values."""
    judge = options.judge
    return {
        "config": dataclasses.asdict(options.config),
        "execution": dataclasses.asdict(options.execution),
        "shots": options.shots,
        "chat_template": options.chat_template,
        "limit": options.limit,
        "reference_limit": options.reference_limit,
        "data": options.data,
        "split": options.split,
        "judge": judge and {"where": _USER_IN_URL.sub(HIDDEN, judge.where), "model": judge.model},
    }


def without_secrets(arguments: Sequence[str], given: Secret | None = None) -> list[str]:
    """Arguments without the judge's key: neither after its option, nor anywhere else, nor the user in an address."""
    keys = [given, *(Secret(os.environ[name]) for name in KEY_VARIABLES if os.environ.get(name))]
    kept: list[str] = []
    skipped = False
    for argument in arguments:
        if skipped or argument.startswith(KEY_OPTION):
            skipped = not skipped and argument == KEY_OPTION
            continue
        for key in filter(None, keys):
            argument = key.hide(argument)
        argument = re.sub(rf"{KEY_OPTION}[= ]\S+", "", argument)  # within PYTEST_ADDOPTS
        kept.append(_USER_IN_URL.sub(HIDDEN, argument))
    return kept


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit, whether anything differs from it, and a hash over what does; None where that is no git checkout."""
    try:
        commit = _git(folder, "rev-parse", "HEAD").decode().strip()
        status = _git(folder, "status", "--porcelain", "-z")
        diff = _git(folder, "diff", "HEAD", "--binary")
        top = Path(_git(folder, "rev-parse", "--show-toplevel").decode().strip())
        untracked = _git(top, "ls-files", "--others", "--exclude-standard", "-z").split(b"\0")
    except (OSError, subprocess.SubprocessError):
        return None
    digest = hashlib.sha256(diff)
    for name in sorted(filter(None, untracked)):
        digest.update(b"\0" + name + b"\0" + _content(top / os.fsdecode(name)))
    return {"commit": commit, "dirty": bool(status), "diff": digest.hexdigest()[:12] if status else None}


def _git(folder: Path, *arguments: str) -> bytes:
    call = ["git", "-C", str(folder), *arguments]
    return subprocess.run(call, check=True, capture_output=True, timeout=GIT_SECONDS).stdout


def _content(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        return path.read_bytes() if size <= LARGE_BYTES and path.is_file() else str(size).encode()
    except OSError:
        return b"unreadable"
